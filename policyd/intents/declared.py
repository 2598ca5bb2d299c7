"""What the models declare at a place of a document: the fields that are known there, the words that are allowed."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from policyd.intents.kind import Part
from policyd.intents.place import Step
from policyd.intents.units import shown


def part_at(model: type[BaseModel], path: tuple[Step, ...]) -> type[Part] | None:
    """The model of the mapping at `path`; the first where there is a choice."""
    return next((part for part in _models(_annotation(model, path)) if issubclass(part, Part)), None)


def fields_at(model: type[BaseModel], path: tuple[Step, ...]) -> Mapping[str, FieldInfo]:
    """The fields of the mapping at `path`, by the name that the file uses."""
    part = part_at(model, path)
    return {} if part is None else {field.alias or name: field for name, field in part.model_fields.items()}


def words_at(model: type[BaseModel], path: tuple[Step, ...]) -> list[str]:
    """The words that are allowed at `path`, where these are listed."""
    choices = _alternatives(_annotation(model, path))
    return [shown(word) for choice in choices if get_origin(choice) is Literal for word in get_args(choice)]


def _annotation(model: type[BaseModel], path: tuple[Step, ...]) -> Any:
    current: Any = model
    for step in path:
        models = list(_models(current))
        fields = (field for one in models for name, field in one.model_fields.items() if step in {name, field.alias})
        current = next((field.annotation for field in fields), None) if models else _inside(current)
    return current


def _inside(annotation: Any) -> Any:
    """The type of a list's items or of a mapping's values."""
    for choice in _alternatives(annotation):
        arguments = get_args(choice)
        if get_origin(choice) is tuple:
            return arguments[0]
        if len(arguments) == 2:
            return arguments[1]
    return None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    for choice in _alternatives(annotation):
        if isinstance(choice, type) and issubclass(choice, BaseModel):
            yield choice


def _alternatives(annotation: Any) -> Iterator[Any]:
    """The types that a value may have, without the annotations around them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _alternatives(get_args(annotation)[0])
    elif origin in {Union, types.UnionType}:
        for argument in get_args(annotation):
            yield from _alternatives(argument)
    else:
        yield annotation
