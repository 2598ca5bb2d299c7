"""The files of one commit, as the loader sees them: paths to blob ids, and bytes on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Protocol


class FileTree(Protocol):
    """A read-only tree. A blob id names its bytes by content, so it keys every cache."""

    @property
    def files(self) -> Mapping[str, str]:
        """Blob id by path; paths are relative, with `/`."""
        ...

    def read(self, blob_id: str) -> bytes:
        """The bytes of a blob."""
        ...


class MemoryTree:
    """A tree that is held in memory; blob ids are Git's own."""

    def __init__(self, contents: Mapping[str, bytes | str]) -> None:
        bodies = {path: body.encode() if isinstance(body, str) else body for path, body in contents.items()}
        self._files = {path: blob_id(body) for path, body in bodies.items()}
        self._blobs = {self._files[path]: body for path, body in bodies.items()}

    @property
    def files(self) -> Mapping[str, str]:
        """Blob id by path."""
        return self._files

    def read(self, blob_id: str) -> bytes:
        """The bytes of a blob. Raises `KeyError` for an id that is not in the tree."""
        return self._blobs[blob_id]


def blob_id(body: bytes) -> str:
    """The id that Git gives to these bytes: SHA-1 over `blob <size>`, NUL, and the bytes."""
    return hashlib.sha1(b"blob %d\x00" % len(body) + body, usedforsecurity=False).hexdigest()
