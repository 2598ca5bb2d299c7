"""`Snapshot`: one commit as the stages after `source` see it, a map from path to blob id and a way to read blobs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from policyd.base.diagnostics import Finding, Location, Severity

SUFFIXES = frozenset({".yaml", ".yml", ".rego", ".json"})
"""What policyd reads from a repository; every other file is somebody else's."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one commit may cost. A repository beyond them is a finding, never a full disk or a stuck loop."""

    files: int = 20_000
    file_bytes: int = 1 << 20
    total_bytes: int = 32 << 20
    listing_bytes: int = 32 << 20
    """What Git may say about all files together, watched or not: some 300,000 of them."""
    command_s: float = 60.0
    """Longest time that one Git command may take, in seconds."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The watched folder at one commit.

    `files` are paths relative to the watched folder; equal blob ids are equal bytes, so later stages key their
    caches by them. `findings` say what was left out (symbolic links, submodules, files over the limits).
    """

    commit: str
    parent: str | None
    author: str
    files: Mapping[str, str]
    blob: Callable[[str], bytes] = field(repr=False, compare=False)
    subject: str = ""
    findings: tuple[Finding, ...] = ()
    seen_at: datetime | None = None
    """When policyd learnt that the branch had moved; where commit-to-acknowledged starts."""

    def read(self, blob_id: str) -> bytes:
        """The bytes of a blob. Raises `Retry` where the object store does not answer."""
        return self.blob(blob_id)


def is_watched(path: str) -> bool:
    """Whether policyd reads this path: a YAML, Rego or JSON file with no hidden folder above it."""
    parts = path.split("/")
    if any(part.startswith(".") for part in parts):
        return False
    return PurePosixPath(parts[-1]).suffix in SUFFIXES


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a tree: a Git file mode, the object's id and its size in bytes (0 for submodules)."""

    path: str
    mode: int
    blob_id: str
    size: int


LONGEST_PATH = 1_024
"""Bytes; a longer one can hardly be checked out (`PATH_MAX` of Linux is 4,096, with the folders above)."""
SYMLINK = 0o120000
SUBMODULE = 0o160000


def select(entries: list[Entry], limits: Limits) -> tuple[dict[str, str], tuple[Finding, ...]]:
    """The files that policyd reads, sorted by path, and what it refuses to read."""
    files: dict[str, str] = {}
    findings: list[Finding] = []
    total = 0
    for entry in sorted(entries, key=lambda entry: entry.path):
        refusal = _refusal(entry, limits)
        if refusal is not None:
            findings.append(refusal)
        elif is_watched(entry.path) and entry.mode not in (SYMLINK, SUBMODULE):
            files[entry.path] = entry.blob_id
            total += entry.size
    if len(files) > limits.files:
        return {}, (too_large(f"{len(files):,} files, more than the {limits.files:,} that are read"),)
    if total > limits.total_bytes:
        return {}, (too_large(f"{total:,} bytes, more than the {limits.total_bytes:,} that are read"),)
    return files, tuple(findings)


def _refusal(entry: Entry, limits: Limits) -> Finding | None:
    if any(part.startswith(".") for part in entry.path.split("/")):
        return None
    shown = visible(entry.path)
    if entry.mode == SYMLINK:
        message, code, hint = "is a symbolic link", "PD3001", "put the file itself into the folder"
    elif entry.mode == SUBMODULE:
        message, code, hint = "is a submodule", "PD3002", "copy its files into the folder, or watch its repository"
    elif not is_watched(entry.path):
        return None
    elif entry.size > limits.file_bytes:
        message, code = f"has {entry.size:,} bytes, more than the {limits.file_bytes:,} that are read", "PD3003"
        hint = "split the file: one service in a file reads best"
    elif _undecodable(entry.path):
        message, code, hint = "has a name that is not UTF-8", "PD3005", "rename the file"
    elif not entry.path.isprintable():
        message, code, hint = "has a name with characters that cannot be seen", "PD3006", "rename the file"
    elif len(entry.path.encode()) > LONGEST_PATH:
        message, code, hint = f"has a path of more than {LONGEST_PATH:,} bytes", "PD3007", "nest folders less deep"
        shown = f"{shown[:40]}...{shown[-40:]}"
    else:
        return None
    return Finding(code, Severity.ERROR, f"`{shown}` {message}", Location(shown), hint)


def visible(text: str) -> str:
    """The text with every character that cannot be seen, or that a terminal might obey, as its escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def _undecodable(path: str) -> bool:
    return any("\udc80" <= character <= "\udcff" for character in path)


def too_large(what: str) -> Finding:
    """The finding for a folder that is not read at all."""
    hint = "watch a folder with intents only"
    return Finding("PD3004", Severity.ERROR, f"the watched folder has {what}", Location("."), hint)
