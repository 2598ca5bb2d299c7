"""Where each sidecar's admin interface is: the settings' template, filled in from the node's id."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping

from policyd.base.errors import UsageError

_FIELDS = ("namespace", "service", "version", "address")
_HINT = "fields are " + ", ".join(f"`{{{field}}}`" for field in _FIELDS)


class AdminAddresses(Mapping[str, str]):
    """Node id to address. Knows every id that has the shape of one, and lists none: nodes come and go.

    Raises `UsageError` for a template with other fields than `{namespace} {service} {version} {address}`, and for
    one that is neither `unix:` nor `http:`.
    """

    def __init__(self, template: str) -> None:
        self._template = template
        if not template.startswith(("unix:", "http://")):
            raise UsageError(f"`admin: {template}` is no address", hint="write `unix:PATH` or `http://HOST:PORT`")
        try:
            # A field alone: no attribute of it, no conversion, no format.
            other = [parts[1:] for parts in string.Formatter().parse(template) if not _is_plain(*parts[1:])]
        except ValueError as error:
            raise UsageError(f"`admin: {template}` cannot be filled in: {error}", hint=_HINT) from error
        if other:
            raise UsageError(f"`admin: {template}` has a field that no node has: `{other[0][0]}`", hint=_HINT)

    def __getitem__(self, node_id: str) -> str:
        parts = node_id.split("/")
        if len(parts) != len(_FIELDS):
            raise KeyError(node_id)
        return self._template.format(**dict(zip(_FIELDS, parts, strict=True)))

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _is_plain(field: str | None, form: str | None, conversion: str | None) -> bool:
    return field is None or (field in _FIELDS and not form and not conversion)
