"""Validation errors in the user's words: what is wrong, where, and what was probably meant."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from rapidfuzz import fuzz, process

from policyd.base.diagnostics import Finding
from policyd.intents.declared import fields_at, part_at, words_at
from policyd.intents.events import RawDocument
from policyd.intents.kind import Part
from policyd.intents.place import Source, Step, find, find_key
from policyd.intents.taught import taught
from policyd.intents.units import shown

Words = tuple[str, str, str]
"""Code, message and hint of a finding."""

_SHAPES = {
    "string_type": ("text", "write it in quotes"),
    "int_type": ("a whole number", ""),
    "float_type": ("a number", ""),
    "bool_type": ("`true` or `false`", ""),
    "tuple_type": ("a list", "write `[...]`, or one item a line after `-`"),
    "model_type": ("a mapping", "write `{...}`, or one field a line"),
    "dict_type": ("a mapping", "write `{...}`, or one field a line"),
    "mapping_type": ("a mapping", "write `{...}`, or one field a line"),
}
_BOUNDS = {
    "greater_than": "must be above {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be below {lt}",
    "less_than_equal": "must be at most {le}",
    "too_short": "needs at least {min_length}",
    "too_long": "takes at most {max_length}",
    "string_too_short": "must not be empty",
    "string_too_long": "takes at most {max_length} characters",
}
_PROBABLY_MEANT = 60.0
"""From this likeness on, of 100: half of the letters or more, in their order."""
_BARE = re.compile(r"[A-Za-z0-9./][A-Za-z0-9./*_-]*")


def translate(errors: ValidationError, model: type[BaseModel], source: Source, raw: RawDocument) -> Iterator[Finding]:
    """Findings for every error of one document."""
    for error in errors.errors(include_url=False):
        if error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]:
            continue  # the items are there, but bad: each has a finding of its own
        path, at_key = _path(error["loc"], raw.value)
        words = _BY_TYPE.get(error["type"], _unread)
        code, message, hint = words(error, path, model)
        at_key = at_key or error["type"] == "extra_forbidden"
        where = find_key(raw.place, path) if at_key else find(raw.place, path)
        yield source.finding(code, message, where, hint=hint)


def nearest(word: object, known: Sequence[str], *, most: int = 12) -> str:
    """The hint for a word that is not known: the one that was probably meant, and what there is (`most` of it).

    A commit that renames much asks this thousands of times, of thousands of names each.
    """
    close = process.extractOne(str(word), known, scorer=fuzz.ratio, processor=str.lower, score_cutoff=_PROBABLY_MEANT)
    meant = f"did you mean `{close[0]}`?" if close else ""
    if not known or len(known) > most or (close and len(known) == 1):
        return meant
    return f"{meant} known here: {', '.join(f'`{name}`' for name in known)}".strip()


def _path(loc: tuple[str | int, ...], value: Any) -> tuple[tuple[Step, ...], bool]:
    """The steps of `loc` that lead through the document, and whether a key is meant.

    Other steps name branches of the model, which no user has heard of.
    """
    path: list[Step] = []
    for number, step in enumerate(loc):
        if step == "[key]":
            return tuple(path), True
        if isinstance(value, list):
            if not isinstance(step, int):
                continue
            value = value[step]
        elif isinstance(value, dict) and step in value:
            value = value[step]
        elif number < len(loc) - 1 or not isinstance(value, dict):
            continue
        path.append(step)
    return tuple(path), False


def _ours(error: ErrorDetails, _path: tuple[Step, ...], _model: type[BaseModel]) -> Words:
    context = error["ctx"]
    return context["code"], context["message"], context["hint"]


def _missing(_error: ErrorDetails, path: tuple[Step, ...], model: type[BaseModel]) -> Words:
    name = str(path[-1])
    return "PD1104", f"`{_named(path[:-1])}` needs `{name}`", _teach(part_at(model, path[:-1]), name)


def _unknown(_error: ErrorDetails, path: tuple[Step, ...], model: type[BaseModel]) -> Words:
    name, part = str(path[-1]), part_at(model, path[:-1])
    hint = part.unknown_hints.get(name, "") if part is not None else ""
    hint = hint or nearest(name, list(fields_at(model, path[:-1])))
    return "PD1103", f"unknown field `{shown(name)}` in `{_named(path[:-1])}`", hint


def _not_listed(error: ErrorDetails, path: tuple[Step, ...], model: type[BaseModel]) -> Words:
    said = error["input"]
    return "PD1106", f"`{shown(said)}` is not a value of `{_named(path)}`", nearest(said, words_at(model, path))


def _shape(error: ErrorDetails, path: tuple[Step, ...], _model: type[BaseModel]) -> Words:
    shape, hint = _SHAPES[error["type"]]
    if error["type"] == "bool_type" and isinstance(error["input"], str):
        hint = f"`{shown(error['input'])}` is text in YAML 1.2: write `true` or `false`"
    return "PD1105", f"`{_named(path)}` must be {shape}", hint


def _bound(error: ErrorDetails, path: tuple[Step, ...], _model: type[BaseModel]) -> Words:
    return "PD1109", f"`{_named(path)}` {_BOUNDS[error['type']].format(**error['ctx'])}", ""


def _unread(_error: ErrorDetails, path: tuple[Step, ...], _model: type[BaseModel]) -> Words:
    return "PD1105", f"`{_named(path)}` cannot be read", ""


_BY_TYPE: Mapping[str, Callable[[ErrorDetails, tuple[Step, ...], type[BaseModel]], Words]] = {
    "policyd": _ours,
    "missing": _missing,
    "extra_forbidden": _unknown,
    "literal_error": _not_listed,
    **dict.fromkeys(_SHAPES, _shape),
    **dict.fromkeys(_BOUNDS, _bound),
}


def _named(path: tuple[Step, ...]) -> str:
    """What people call the value at `path`: an item of a list goes by the list's name."""
    return shown(next((step for step in reversed(path) if isinstance(step, str)), "document"))


def _teach(part: type[Part] | None, name: str) -> str:
    """What to write for a missing field: its example, else what it is."""
    fields = {} if part is None else part.model_fields
    key = next((key for key, field in fields.items() if name in {field.alias, key}), None)
    if part is None or key is None:
        return ""
    field = fields[key]
    if field.examples:
        return f"`{name}: {_flow(field.examples[0])}`"
    text = taught(part).get(key, "").replace("\n", " ")
    return f"`{name}`: {text[:1].lower()}{text[1:].removesuffix('.')}" if text else ""


def _flow(value: Any) -> str:
    """A value as YAML in one line."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and not _BARE.fullmatch(value):
        return f'"{value}"'
    return str(value)
