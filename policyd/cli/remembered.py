"""The rules' verdicts from run to run: a file in the user's cache, which is believed only where it is whole and ours.

A check asks the engine only about what it does not find here. Whatever is odd about the file, it is as if there were
none: a verdict that is lost costs time, one that is wrong would let something pass.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from policyd.base.content import digest
from policyd.base.files import write_whole
from policyd.guardrails.memory import Verdict
from policyd.guardrails.verdict import Report

FORMAT = 1
"""Changes whenever an engine's answer would be read, or a question be asked, in another way."""
KEPT = 20_000
"""Verdicts in the file; those that were used last are kept."""
_MAX_BYTES = 64 << 20
_CHECKSUM = hashlib.blake2b().digest_size


def file_for(engine: str, environment: Mapping[str, str] = os.environ) -> Path:
    """Where the verdicts of an engine are; `engine` is its `fingerprint`."""
    base = environment.get("XDG_CACHE_HOME", "")
    folder = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return folder / "policyd" / "verdicts" / f"{digest((FORMAT, engine))}.json"


def read(path: Path) -> dict[str, Verdict]:
    """The verdicts by key; none where the file is missing, broken, too large, or could be somebody else's."""
    try:
        body = _own_bytes(path)
    except OSError:
        return {}
    checksum, content = body[:_CHECKSUM], body[_CHECKSUM:]
    if hashlib.blake2b(content).digest() != checksum:
        return {}
    try:
        return {key: tuple(_report(said) for said in some) for key, some in orjson.loads(content).items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def write(path: Path, verdicts: Mapping[str, Verdict]) -> None:
    """Keep the verdicts, all at once or not at all. A disk that is full or read-only costs only the memory."""
    newest = list(verdicts)[-KEPT:]
    with contextlib.suppress(OSError, TypeError):  # a report with a lone surrogate is not worth a file
        content = orjson.dumps({key: [_plain(report) for report in verdicts[key]] for key in newest})
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_whole(path, hashlib.blake2b(content).digest() + content)


def _own_bytes(path: Path) -> bytes:
    """The bytes of a regular file that only we can write. Raises `OSError` for any other."""
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        about = os.fstat(file.fileno())
        ours = about.st_uid == os.geteuid() and not about.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
        if not (stat.S_ISREG(about.st_mode) and ours and about.st_size <= _MAX_BYTES):
            raise PermissionError(f"{path} is not a file of ours alone")
        return file.read()


def _plain(report: Report) -> list[Any]:
    return [report.package, report.warns, report.message, list(report.path), report.hint]


def _report(said: Any) -> Report:
    package, warns, message, path, hint = said
    texts = (package, message, hint)
    if not (isinstance(warns, bool) and all(isinstance(text, str) for text in texts) and isinstance(path, list)):
        raise TypeError("not a report")
    if not all(isinstance(step, str | int) for step in path):
        raise TypeError("not a path")
    return Report(package, warns, message, 0, tuple(path), hint)
