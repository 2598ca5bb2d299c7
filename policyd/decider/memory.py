"""Remembers the number of the newest bundle over restarts, so that an older one is no way to open what was closed.

FILE    {"key": SHA-256 of the public key, "serial": the number}

The number of another key's bundles says nothing about these, so that a new controller begins anew.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import orjson
import structlog

from policyd.base.errors import UsageError
from policyd.identity.private_file import write_over

SUFFIX = ".newest"


class Memory:
    """The number in a file; without a path nothing outlives the process. Not for two threads at once."""

    def __init__(self, path: Path | None, key: bytes, *, accept_older: bool = False) -> None:
        """Raises `UsageError` where the file is damaged: nobody knows then what was closed.

        `accept_older` is a person's word that whatever comes first is taken.
        """
        self._path = path
        self._key = hashlib.sha256(key).hexdigest()
        self.highest = 0 if accept_older or path is None else _read(path, self._key)
        """What is lower was replaced before this process began."""
        self._kept = self.highest
        self._trouble = ""

    def keep(self, serial: int) -> None:
        """Remember that the bundle of this number is in force. Where that fails it is logged, and asked again."""
        if self._path is None or serial == self._kept:
            return
        try:
            write_over(self._path, orjson.dumps({"key": self._key, "serial": serial}))
        except OSError as error:  # a read-only folder, a full disk: what is closed now has to be closed all the same
            if (words := error.strerror or str(error)) != self._trouble:
                self._trouble = words
                structlog.get_logger("decide").warning(
                    "the newest bundle is not remembered: a restart takes an older one",
                    file=str(self._path),
                    error=words,
                )
        else:
            self._kept, self._trouble = serial, ""


def memory_of(source: str, remember: str) -> Path | None:
    """Where to remember: as it was said, else beside a bundle that is a file; `None` for a URL."""
    if remember:
        return Path(remember)
    return None if source.startswith(("http://", "https://")) else Path(source + SUFFIX)


def _read(path: Path, key: str) -> int:
    try:
        said = orjson.loads(path.read_bytes())
        whose, serial = str(said["key"]), int(said["serial"])
    except FileNotFoundError:
        return 0
    except (OSError, ValueError, TypeError, LookupError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is damaged"
        raise UsageError(
            f"`{path}` says which bundle was the newest, and cannot be read: {words}",
            hint="`--accept-older` takes the bundle that is there now, and writes the file anew",
        ) from error
    return serial if whose == key else 0
