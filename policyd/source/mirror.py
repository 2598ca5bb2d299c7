"""The bare mirror of one branch: fetch it, and read what it points to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from policyd.base.errors import Retry, Stalled, UsageError
from policyd.source.clean_git import PROTOCOLS, CleanRepo, refuse_misleading_environment
from policyd.source.objects import Failed, Objects
from policyd.source.snapshot import Limits, Snapshot

HEAD = "refs/policyd/head"
"""Where the mirror keeps the watched branch; no other ref of the remote is fetched."""

_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://[^\s\x00-\x1f]+")
_SCP = re.compile(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:(?!:)[^\s\x00-\x1f]+")
_COMMIT = re.compile(r"[0-9a-f]{7,40}")
_BAD_IN_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(/|$)|/$|\.$|^[/.-]|/\.")
RETRY_S = 5.0
AT_ONCE_S = 0.1
LOOSE_OBJECTS = 2_000
"""How many of them make packing worth its time; a commit brings three or more."""


class Mirror:
    """A bare repository in `folder` that follows `branch` of `url` (a path, `file://`, `https://`, `ssh://`).

    `subdirectory` is the watched folder inside the repository. `environment` is all that Git gets from the
    machine, for example `SSH_AUTH_SOCK`. Raises `UsageError` for an address or branch that is never valid.

    The folder belongs to this process alone (the daemon locks its state), so that every lock of Git in it that no
    command of ours holds was left by one that was killed.
    """

    def __init__(
        self,
        folder: Path,
        url: str,
        branch: str = "main",
        *,
        subdirectory: str = "",
        limits: Limits | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.url = _checked_url(url)
        self.branch = _checked_branch(branch)
        self.subdirectory = _checked_subdirectory(subdirectory)
        refuse_misleading_environment()
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        _take_locks_away(folder)
        repo = CleanRepo.init(folder, bare=True)
        assert isinstance(repo, CleanRepo)
        self._objects = Objects(repo, limits or Limits(), environment)

    @property
    def local(self) -> Path | None:
        """The path of a repository on this machine, which can be watched instead of polled."""
        if self.url.startswith("file://"):
            return Path(self.url.removeprefix("file://"))
        return Path(self.url) if self.url.startswith("/") else None

    def fetch(self) -> str:
        """Bring the branch up to date and name its commit.

        Raises `Retry` where the repository or the branch cannot be had now: what was fetched before stays.
        """
        refspec = f"+refs/heads/{self.branch}:{HEAD}"
        try:
            self._objects.run(
                "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules",
                "--no-auto-maintenance", "--end-of-options", self.url, refspec,
            )  # fmt: skip
        except Failed as error:
            if "File exists" in error.words and (left := _take_locks_away(self._folder)):
                names = ", ".join(f"`{name}`" for name in left)
                raise Retry(f"a Git that was killed had left {names} in the mirror", after=AT_ONCE_S) from error
            raise _in_words(error, self.url, self.branch) from error
        return self._objects.tip(HEAD)

    def snapshot(self, commit: str) -> Snapshot:
        """The watched folder at a commit that was fetched."""
        return self._objects.snapshot(commit, self.subdirectory)

    def resolve(self, revision: str) -> str:
        """The commit that a person means: `HEAD` is the branch as it was fetched, all else begins a commit's id.

        Raises `UsageError` for what is neither, `Retry` before anything was fetched.
        """
        if revision == "HEAD":
            return self._objects.tip(HEAD)
        if not _COMMIT.fullmatch(revision):
            raise UsageError(
                f"`{revision}` is not the id of a commit", hint="`HEAD`, or seven hex digits at least: `git log`"
            )
        try:
            return self._objects.resolve(revision)
        except UsageError as error:
            raise UsageError(
                f"no commit `{revision}` has been fetched", hint=f"one of branch `{self.branch}` is meant"
            ) from error

    def history(self, last: int) -> tuple[str, ...]:
        """The newest commits of the branch by their first parents, newest first. Raises `Retry`."""
        return self._objects.history(self._objects.tip(HEAD), last)

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether the branch only grew from `old` to `new`."""
        return self._objects.is_ancestor(old, new)

    def tidy(self) -> None:
        """Pack loose objects, once there are many, and drop what nothing has referred to for two weeks.

        Milliseconds mostly, and seconds once in some hundred commits; for idle times. Raises `Retry`.
        """
        try:
            self._objects.run(
                "-c", f"gc.auto={LOOSE_OBJECTS}", "-c", "gc.autoDetach=false", "gc", "--auto", "--quiet"
            )
        except Failed as error:
            _take_locks_away(self._folder)
            raise Retry(f"the mirror could not be packed: {error.words}", after=RETRY_S) from error

    def close(self) -> None:
        """End the long-lived Git processes."""
        self._objects.close()


def _take_locks_away(folder: Path) -> tuple[str, ...]:
    """What a killed Git has left: it would keep every later one from writing, for ever."""
    left = [*folder.glob("*.lock"), *(folder / "refs").rglob("*.lock")]
    for lock in left:
        lock.unlink(missing_ok=True)
    return tuple(sorted(str(lock.relative_to(folder)) for lock in left))


def _in_words(error: Failed, url: str, branch: str) -> Retry | Stalled:
    said = error.words
    if error.timed_out:
        return Retry(f"`{url}` did not answer in time", after=RETRY_S)
    if "couldn't find remote ref" in said:
        return Retry(
            f"`{url}` has no branch `{branch}`",
            after=RETRY_S,
            hint="push the branch; what is live stays live meanwhile",
        )
    if "does not appear to be a git repository" in said or "not found" in said:
        return Retry(f"`{url}` is not a Git repository", after=RETRY_S, hint="what is live stays live meanwhile")
    if "dubious ownership" in said:
        return Retry(
            f"`{url}` belongs to another user", after=RETRY_S, hint="run policyd as the owner of the repository"
        )
    malformed = re.search(r"error: object [0-9a-f]+: (?P<what>.*)", said)
    if malformed:
        return Retry(
            f"`{url}` has a malformed object, which is not fetched: {malformed['what']}",
            after=RETRY_S,
            hint="`git fsck` names it; what is live stays live until the branch is made anew without it",
        )
    last = said.splitlines()[-1] if said else "git gave no reason"
    return Retry(f"`{url}` cannot be fetched: {last}", after=RETRY_S)


def _checked_url(url: str) -> str:
    if url.startswith("/") and not re.search(r"[\x00-\x1f]", url):
        return url
    matched = _URL.fullmatch(url)
    if (matched and matched["scheme"] in PROTOCOLS) or _SCP.fullmatch(url):
        return url
    raise UsageError(
        f"`{url}` is not an address that policyd fetches from",
        hint=f"an absolute path, or one of {', '.join(f'{name}://' for name in PROTOCOLS)}",
    )


def _checked_branch(branch: str) -> str:
    if not branch or branch == "@" or _BAD_IN_REF.search(branch):
        raise UsageError(f"`{branch}` is not the name of a branch", hint="for example `main`")
    return branch


def _checked_subdirectory(subdirectory: str) -> str:
    cleaned = subdirectory.strip("/")
    if cleaned in {"", "."}:
        return ""
    parts = cleaned.split("/")
    if any(part in {"", ".", "..", ".git"} for part in parts) or re.search(r"[\x00-\x1f]", cleaned):
        raise UsageError(f"`{subdirectory}` is not a folder inside a repository", hint="for example `policies`")
    return cleaned
