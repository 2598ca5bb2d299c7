"""Settings files, read as strictly as intents: one YAML mapping, every mistake with its line and column."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from policyd.base.diagnostics import Finding, in_order
from policyd.base.errors import UsageError
from policyd.intents.kind import Part
from policyd.intents.place import find
from policyd.intents.reader import read
from policyd.intents.translate import translate
from policyd.intents.units import shown, unreadable

Model = TypeVar("Model", bound=BaseModel)


def _address(value: object) -> str:
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    if not colon or not port.isascii() or not port.isdigit() or len(port) > 5 or int(port) > 65_535:
        raise unreadable(f"`{shown(value)}` is not `address:port`", hint="for example `127.0.0.1:15010`")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise unreadable(f"`{shown(host)}` is not an IP address", hint="for example `127.0.0.1:15010`") from None
    return f"{host}:{port}"


def path_value(value: object) -> Path:
    """A path, as a setting says it."""
    if not isinstance(value, str | Path) or not str(value):
        raise unreadable(f"`{shown(value)}` is not a path", hint="for example `/var/lib/policyd`")
    return Path(value)


ListenAddress = Annotated[str, PlainValidator(_address)]
"""`address:port`, an IP address; port 0 lets the kernel choose."""


Seconds = Annotated[float, Field(ge=0.01, le=86_400)]
"""What a process can wait for without spinning, and a person without wondering."""


class Section(Part):
    """Base of the sections of a settings file."""

    # Fields are written as they are called here.
    model_config = ConfigDict(alias_generator=None, validate_by_name=True)


def read_settings_file(path: Path, model: type[Model], *, least: str) -> Model:
    """The settings in `path`; `least` tells who wrote too little what there has to be.

    Raises `UsageError` with every mistake in the file.
    """
    try:
        body = path.read_bytes()
    except OSError as error:
        raise UsageError(f"`{path}` cannot be read: {error.strerror}") from error
    raw = read(str(path), body)
    documents = [document for document in raw.documents if document.value is not None]
    if raw.findings:
        raise _refused(path, raw.findings)
    if not documents:
        raise UsageError(f"`{path}` is empty", hint=least)
    if len(documents) > 1 or not isinstance(documents[0].value, dict):
        place = find(documents[-1].place, ())
        raise _refused(path, [raw.source.finding("PD1105", "settings are one mapping", place, hint=least)])
    try:
        return model.model_validate(documents[0].value)
    except ValidationError as errors:
        raise _refused(path, tuple(translate(errors, model, raw.source, documents[0]))) from errors


def _refused(path: Path, findings: Sequence[Finding]) -> UsageError:
    """Every finding on a line of its own, as an editor or a terminal takes it to the place."""
    lines = (
        f"  {each.location}: {each.code}: {each.message}{f'; {each.hint}' if each.hint else ''}"
        for each in in_order(findings)
    )
    return UsageError("\n".join((f"`{path}` is not in order", *lines)))
