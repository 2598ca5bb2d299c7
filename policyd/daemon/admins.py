"""Where each sidecar's admin interface is: the settings' template, filled in from the node's id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from policyd.base.errors import UsageError

_FIELDS = ("namespace", "service", "version", "address")


class AdminAddresses(Mapping[str, str]):
    """Node id to address. Knows every id that has the shape of one, and lists none: nodes come and go.

    Raises `UsageError` for a template with other fields than `{namespace} {service} {version} {address}`.
    """

    def __init__(self, template: str) -> None:
        self._template = template
        try:
            template.format(**dict.fromkeys(_FIELDS, ""))
        except (KeyError, IndexError, ValueError) as error:
            raise UsageError(
                f"`admin: {template}` has a field that no node has: {error}",
                hint="fields are " + ", ".join(f"`{{{field}}}`" for field in _FIELDS),
            ) from error

    def __getitem__(self, node_id: str) -> str:
        parts = node_id.split("/")
        if len(parts) != len(_FIELDS):
            raise KeyError(node_id)
        return self._template.format(**dict(zip(_FIELDS, parts, strict=True)))

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
