"""The number of each bundle, higher than that of every one before: who follows bundles takes none that is older.

folder/serial.json   {"content": digest of the last bundle, "serial": its number}

A signature says who made a bundle, not when. An older one, signed as well, would open what has been closed since: a
caller who was cut off, a rule that was taken away.
"""

from __future__ import annotations

import json
from pathlib import Path

import structlog

from policyd.base.clock import Clock
from policyd.base.files import write_whole

_FILE = "serial.json"


class Serials:
    """Numbers in a file beside the key. Not for two threads at once."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._path = folder / _FILE
        self._clock = clock
        self._content, self._last = _read(self._path)
        self._written = True

    def of(self, content: str) -> int:
        """The number of the bundle with that content: the last one's if it is the same, else a higher one.

        It is at least the clock's milliseconds, so that a file that was lost, or could not be written, leads back to
        no number that was given before; and more than the last, so that a clock that was set back does not either.
        """
        if content != self._content:
            self._last = max(self._last + 1, int(self._clock.now().timestamp() * 1000))
            self._content, self._written = content, False
        if not self._written:
            try:
                write_whole(self._path, json.dumps({"content": self._content, "serial": self._last}).encode())
                self._written = True
            except OSError as error:  # what is closed has to be published on a full disk, too
                structlog.get_logger("bundle").warning("serial not written", error=str(error))
        return self._last


def _read(path: Path) -> tuple[str, int]:
    """The last content and its number; nothing and 0 where they cannot be read, the clock then leads on."""
    try:
        said = json.loads(path.read_bytes())
        return str(said["content"]), int(said["serial"])
    except (OSError, ValueError, KeyError, TypeError):
        return "", 0
