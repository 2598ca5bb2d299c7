"""Files that only their owner may read, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


def write_over(path: Path, content: bytes) -> None:
    """Write `path` whole, for its owner only, in place of what was there."""
    with _written(path, content) as temporary:
        temporary.replace(path)
        _settle(path.parent)


def write_once(path: Path, content: bytes) -> None:
    """Write `path` whole, for its owner only, unless another process was first: then that one's file stands."""
    with _written(path, content) as temporary:
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        _settle(path.parent)


@contextlib.contextmanager
def _written(path: Path, content: bytes) -> Iterator[Path]:
    """A file beside `path` that holds `content`, on disk; it is gone afterwards under its own name."""
    descriptor, name = tempfile.mkstemp(prefix=".root-", dir=path.parent)  # mkstemp makes it 0600
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _settle(folder: Path) -> None:
    """Let the names in the folder outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
