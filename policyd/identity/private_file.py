"""Files that only their owner may read, written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_over(path: Path, content: bytes) -> None:
    """Write `path` whole, for its owner only, in place of what was there."""
    descriptor, temporary = tempfile.mkstemp(prefix=".root-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    _settle(path.parent)


def write_once(path: Path, content: bytes) -> None:
    """Write `path` whole, for its owner only, unless another process was first: then that one's file stands."""
    descriptor, temporary = tempfile.mkstemp(prefix=".root-", dir=path.parent)  # mkstemp makes it 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(temporary, path)
        except FileExistsError:
            return
        _settle(path.parent)
    finally:
        Path(temporary).unlink()


def _settle(folder: Path) -> None:
    """Let the names in the folder outlive a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
