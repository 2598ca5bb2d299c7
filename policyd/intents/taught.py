"""What the docstring below a field says, for hints and for the schema that editors read.

    a model -> the source of its module -> the words for each field

Read when somebody asks. pydantic can do it as each model is made (`use_attribute_docstrings`), which parses every
source once more: a seventh of what any `policyd` costs before it does anything, for words that few of them say.
"""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Mapping
from functools import cache
from itertools import pairwise

from pydantic import BaseModel


@cache
def taught(model: type[BaseModel]) -> Mapping[str, str]:
    """The words for the fields of `model` that have any, by the field's name in Python.

    A field has the words of the class that declares it; where a subclass narrows it, those are its own or none.
    """
    words: dict[str, str] = {}
    for name in model.model_fields:
        declares = next((part for part in model.__mro__ if name in inspect.get_annotations(part)), model)
        text = _written(declares.__module__).get(declares.__qualname__, {}).get(name)
        if text is not None:
            words[name] = text
    return words


@cache
def _written(module: str) -> Mapping[str, Mapping[str, str]]:
    """The docstrings below the fields of each class at the top of `module`."""
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {one.name: dict(_below(one)) for one in tree.body if isinstance(one, ast.ClassDef)}


def _below(one: ast.ClassDef) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for field, after in pairwise(one.body):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found.append((name, inspect.cleandoc(text)))
    return found
