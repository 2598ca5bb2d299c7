"""Which release a person means: `r7`, or the name of what it changes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from policyd.base.errors import UsageError
from policyd.cli.client import Client
from policyd.cli.render_releases import over

_ID = re.compile(r"r?\d+")


def meant(client: Client, text: str) -> str:
    """The id of the release in flight of that name, else of the newest. Raises `UsageError` for none or several."""
    if _ID.fullmatch(text):
        return text if text.startswith("r") else f"r{text}"
    records = client.get("/v1/releases")["releases"]
    found = _named(records, text)
    moving = _only_one([record for record in found if not over(record)], text)
    if moving is not None:
        return str(moving["id"])
    if found:
        return str(found[-1]["id"])
    known = ", ".join(f"`{record['id']}` ({record['name']})" for record in records[-5:])
    raise UsageError(f"no release is meant by `{text}`", hint=f"the latest are {known}" if known else "there is none")


class Ours:
    """Tells the events of the release that a person named, even if it has not begun yet."""

    def __init__(self, client: Client, text: str) -> None:
        """Raises `UsageError` for an id that does not exist, or a name that several releases in flight have."""
        self._client = client
        self._text = text
        self._others: set[str] = set()
        self.record: dict[str, Any] | None = None
        """The release, once it is known; its state is that of the moment when it was found."""
        if _ID.fullmatch(text):
            self.record = client.get(f"/v1/releases/{meant(client, text)}")
        else:
            found = _named(client.get("/v1/releases")["releases"], text)
            self.record = _only_one([record for record in found if not over(record)], text)

    def concerns(self, event: dict[str, Any]) -> bool:
        """Whether an event is about it."""
        release = event["release"]
        if self.record is None and release and release not in self._others:
            record = self._client.get(f"/v1/releases/{release}")
            if _named([record], self._text):
                self.record = record
            self._others.add(release)
        return self.record is not None and release == self.record["id"]


def _named(records: Sequence[dict[str, Any]], text: str) -> list[dict[str, Any]]:
    return [record for record in records if text in {record["name"], record["name"].rpartition("/")[2]}]


def _only_one(records: Sequence[dict[str, Any]], text: str) -> dict[str, Any] | None:
    if len(records) > 1:
        shown = ", ".join(f"`{record['id']}` ({record['title']})" for record in records)
        raise UsageError(f"`{text}` is changed by {len(records)} releases now", hint=f"name one: {shown}")
    return records[0] if records else None
