"""Trees for the command line: the files as they lie on disk, and the same folder at a revision."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from policyd.base.diagnostics import Finding
from policyd.base.errors import UsageError
from policyd.intents.tree import blob_id
from policyd.source.clean_git import CleanRepo
from policyd.source.objects import Objects
from policyd.source.snapshot import SYMLINK, Entry, Limits, Snapshot, is_watched, select


class DirectoryTree:
    """The intents in a folder, saved or not, committed or not; read once, when the tree is made."""

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        """Read the folder. Raises `UsageError` where `root` is not a folder that can be read."""
        if not root.is_dir():
            raise UsageError(f"`{root}` is not a folder", hint="name the folder that holds the intents")
        self._bodies: dict[str, bytes] = {}
        limits = limits or Limits()
        files, findings = select(self._entries(root, limits), limits)
        self.files: Mapping[str, str] = files
        self.findings: tuple[Finding, ...] = findings

    def read(self, blob_id: str) -> bytes:
        """The bytes of a file by blob id. Raises `KeyError` for an id that is not in `files`."""
        return self._bodies[blob_id]

    def _entries(self, root: Path, limits: Limits) -> list[Entry]:
        entries: list[Entry] = []
        for folder, folders, names in os.walk(root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted([*names, *folders]):
                path = Path(folder, name)
                inside = path.relative_to(root).as_posix()
                if path.is_symlink():
                    entries.append(Entry(inside, SYMLINK, "", 0))
                elif is_watched(inside) and path.is_file():
                    entries.append(self._entry(path, inside, limits))
        return entries

    def _entry(self, path: Path, inside: str, limits: Limits) -> Entry:
        size = path.stat().st_size
        if size > limits.file_bytes:
            return Entry(inside, 0o100644, "", size)
        try:
            body = path.read_bytes()
        except OSError as error:
            raise UsageError(f"`{path}` cannot be read: {error.strerror}") from error
        name = blob_id(body)
        self._bodies[name] = body
        return Entry(inside, 0o100644, name, len(body))


@contextlib.contextmanager
def tree_at(root: Path, revision: str, limits: Limits | None = None, *, subdirectory: str = "") -> Iterator[Snapshot]:
    """The folder `root` as it was at a revision of the repository that it lies in; readable inside the `with`.

    A bare repository has no folders on disk: name the one that is meant as `subdirectory`. Raises `UsageError` for
    a folder outside any repository and for a revision that does not exist.
    """
    if not root.is_dir():
        raise UsageError(f"`{root}` is not a folder", hint="name the folder that holds the intents")
    objects, inside = Objects.open(root, limits)
    within = (inside / subdirectory).as_posix().strip("/")
    with contextlib.closing(objects):
        yield objects.snapshot(objects.resolve(revision), "" if within == "." else within)


def repository_root(folder: Path) -> Path | None:
    """The root of the repository that a folder lies in, or would lie in once it is made; `None` outside of any."""
    whole = folder.resolve()
    return next((place for place in (whole, *whole.parents) if (place / ".git").exists()), None)


def begin_repository(folder: Path) -> None:
    """Make an empty repository with the branch `main`; nothing is committed."""
    CleanRepo.init(folder, initial_branch="main").close()


def first_parent(root: Path) -> str | None:
    """What the checked-out commit was put on top of, or merged into; `None` for the first commit of all.

    Raises `UsageError` outside of a repository, and where the clone is too shallow to hold it.
    """
    objects, _ = Objects.open(root)
    with contextlib.closing(objects):
        return objects.parent(objects.resolve("HEAD"))
