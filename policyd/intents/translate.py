"""Validation errors in the user's words: what is wrong, where, and what was probably meant."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from policyd.base.diagnostics import Finding
from policyd.intents.kind import Part
from policyd.intents.place import Source, Step
from policyd.intents.reader import RawDocument
from policyd.intents.units import shown

_SHAPES = {
    "string_type": ("text", "write it in quotes"),
    "int_type": ("a whole number", ""),
    "float_type": ("a number", ""),
    "bool_type": ("`true` or `false`", ""),
    "tuple_type": ("a list", "write `[...]`, or one item a line after `-`"),
    "model_type": ("a mapping", ""),
    "dict_type": ("a mapping", ""),
    "mapping_type": ("a mapping", ""),
}
_BOUNDS = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "needs at least {min_length} of them",
    "too_long": "takes at most {max_length} of them",
    "string_too_short": "must not be empty",
    "string_too_long": "takes at most {max_length} characters",
}


def translate(errors: ValidationError, model: type[BaseModel], source: Source, raw: RawDocument) -> Iterator[Finding]:
    """Findings for every error of one document."""
    for error in errors.errors(include_url=False):
        if error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]:
            continue  # the items are there, but bad: each has a finding of its own
        path, at_key = _path(error["loc"], raw.value)
        code, message, hint = _words(error, path, model)
        where = raw.place.find_key(path) if at_key or error["type"] == "extra_forbidden" else raw.place.find(path)
        yield source.finding(code, message, where, hint=hint)


def nearest(word: object, known: Sequence[str]) -> str:
    """The hint for a word that is not known: the one that was probably meant, and what there is."""
    listed = ", ".join(f"`{name}`" for name in known)
    close = difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)
    if not close:
        folded = {name.lower(): name for name in known}
        close = [folded[match] for match in difflib.get_close_matches(str(word).lower(), list(folded), n=1)]
    if not close:
        return f"known here: {listed}"
    return f"did you mean `{close[0]}`?" + (f" known here: {listed}" if len(known) > 1 else "")


def _path(loc: tuple[int | str, ...], value: Any) -> tuple[tuple[Step, ...], bool]:
    """The steps of `loc` that lead through the document; others name branches of the model."""
    path: list[Step] = []
    for number, step in enumerate(loc):
        if step == "[key]":
            return tuple(path), True
        last = number == len(loc) - 1
        inside = (isinstance(value, dict) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        )
        if inside:
            path.append(step)
            value = value[step]
        elif last and isinstance(value, dict):
            path.append(step)
    return tuple(path), False


def _words(error: ErrorDetails, path: tuple[Step, ...], model: type[BaseModel]) -> tuple[str, str, str]:
    kind, context = error["type"], error.get("ctx", {})
    field = _field_name(path)
    if kind == "policyd":
        return context["code"], context["message"], context["hint"]
    if kind == "missing":
        around = _fields(model, path[:-1])
        return "PD1104", f"`{_around(path)}` needs `{field}`", _teach(around.get(str(path[-1])), str(path[-1]))
    if kind == "extra_forbidden":
        owner = _part(model, path[:-1])
        hint = owner.unknown_hints.get(str(path[-1]), "") if owner is not None else ""
        return (
            "PD1103",
            f"unknown field `{field}` in `{_around(path)}`",
            hint or nearest(field, [*_fields(model, path[:-1])]),
        )
    if kind == "literal_error":
        known = _literals(_annotation(model, path))
        return "PD1106", f"`{shown(error['input'])}` is not a value of `{field}`", nearest(error["input"], known)
    if kind in _SHAPES:
        shape, hint = _SHAPES[kind]
        if kind == "bool_type" and isinstance(error["input"], str):
            hint = f"`{shown(error['input'])}` is text in YAML 1.2"
        return "PD1105", f"`{field}` must be {shape}", hint
    if kind in _BOUNDS:
        return "PD1109", f"`{field}` {_BOUNDS[kind].format(**context)}", ""
    return "PD1105", f"`{field}` cannot be read", ""


def _field_name(path: tuple[Step, ...]) -> str:
    """The last named step: an item of a list is called by the list's name."""
    for step in reversed(path):
        if isinstance(step, str):
            return step
    return "document"


def _around(path: tuple[Step, ...]) -> str:
    return _field_name(path[:-1])


def _teach(field: FieldInfo | None, name: str) -> str:
    """What to write for a missing field: its example, else its description."""
    if field is None:
        return ""
    if field.examples:
        return f"`{name}: {json.dumps(field.examples[0])}`"
    return (field.description or "").replace("\n", " ")


def _part(model: type[BaseModel], path: Iterable[Step]) -> type[Part] | None:
    found = next(_models(_annotation(model, tuple(path))), None)
    return found if found is not None and issubclass(found, Part) else None


def _fields(model: type[BaseModel], path: Iterable[Step]) -> Mapping[str, FieldInfo]:
    """The fields that are known at a path, by the name that the file uses."""
    part = _part(model, path)
    if part is None:
        return {}
    return {field.alias or name: field for name, field in part.model_fields.items()}


def _annotation(model: type[BaseModel], path: tuple[Step, ...]) -> Any:
    """The declared type at a path of the document."""
    current: Any = model
    for step in path:
        found = next(_models(current), None)
        if found is not None:
            by_alias = {field.alias or name: field.annotation for name, field in found.model_fields.items()}
            current = by_alias.get(str(step))
        else:
            current = _inside(current)
    return current


def _inside(annotation: Any) -> Any:
    """The type of a list's items or a mapping's values."""
    return next(
        (
            arguments[-1 if len(arguments) == 2 and arguments[1] is not Ellipsis else 0]
            for arguments in _containers(annotation)
        ),
        None,
    )


def _containers(annotation: Any) -> Iterator[tuple[Any, ...]]:
    origin = get_origin(annotation)
    if origin in {Union, types.UnionType} or hasattr(annotation, "__metadata__"):
        for argument in get_args(annotation)[: 1 if hasattr(annotation, "__metadata__") else None]:
            yield from _containers(argument)
    elif origin is not None and get_args(annotation):
        yield get_args(annotation)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in {Union, types.UnionType}:
        for argument in get_args(annotation):
            yield from _models(argument)
    elif hasattr(annotation, "__metadata__"):
        yield from _models(get_args(annotation)[0])


def _literals(annotation: Any) -> list[str]:
    if hasattr(annotation, "__metadata__"):
        return _literals(get_args(annotation)[0])
    if get_origin(annotation) in {Union, types.UnionType}:
        return [value for argument in get_args(annotation) for value in _literals(argument)]
    return [str(argument) for argument in get_args(annotation) if isinstance(argument, str | bool)]
