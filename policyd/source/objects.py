"""Reads a repository's objects by id: revisions, trees and blobs, never a working tree."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path

import git

from policyd.base.errors import Retry, Stalled, UsageError
from policyd.source.clean_git import CleanGit, CleanRepo, refuse_misleading_environment
from policyd.source.snapshot import Entry, Limits, Snapshot, select, too_large, visible

_OBJECT_ID = re.compile(r"[0-9a-f]{40}")
_LS_TREE = re.compile(rb"(\d{6}) (\w+) ([0-9a-f]{40}) +(\d+|-)\t(.*)", re.DOTALL)
_BLOB: tuple[object, ...] = ("blob", b"blob")  # GitPython says `str` and gives bytes
RETRY_S = 2.0


class Failed(Exception):
    """A Git command that ended badly: what it said, and whether it ran out of time."""

    def __init__(self, words: str, *, timed_out: bool) -> None:
        super().__init__(words)
        self.words = words
        self.timed_out = timed_out


class Objects:
    """The object store of one repository. Its methods may be called from several threads.

    Only the readings that go through GitPython's objects and its long-lived `cat-file` wait for one another; a fetch
    that hangs keeps nobody from reading what was fetched before.
    """

    def __init__(self, repo: CleanRepo, limits: Limits, environment: Mapping[str, str] | None = None) -> None:
        self._repo = repo
        self._limits = limits
        self._lock = threading.Lock()
        assert isinstance(repo.git, CleanGit)
        self._git: CleanGit = repo.git
        self._git.extra_environment = dict(environment or {})

    @classmethod
    def open(cls, path: Path, limits: Limits | None = None) -> tuple[Objects, Path]:
        """The repository that `path` lies in, and `path` relative to its root.

        Raises `UsageError` where there is none.
        """
        refuse_misleading_environment()
        try:
            repo = CleanRepo(path, search_parent_directories=True)
        except (git.InvalidGitRepositoryError, git.NoSuchPathError) as error:
            raise UsageError(
                f"`{path}` is not in a Git repository", hint="name a folder inside a clone, or run `git init`"
            ) from error
        root = Path(repo.working_tree_dir) if repo.working_tree_dir else Path(repo.git_dir)
        return cls(repo, limits or Limits()), path.resolve().relative_to(root.resolve())

    def run(self, *words: str) -> bytes:
        """Output of one Git command, given as separate words. Raises `Failed`."""
        status, out, err = self._git.execute(
            self._command(*words),
            with_extended_output=True,
            with_exceptions=False,
            stdout_as_string=False,
            strip_newline_in_stdout=False,
            kill_after_timeout=self._limits.command_s,
        )
        if status != 0:
            said = str(err.decode(errors="replace") if hasattr(err, "decode") else err).strip()
            raise Failed(said, timed_out=said.startswith("Timeout:"))
        return bytes(out)

    def resolve(self, revision: str) -> str:
        """The 40 hex digits of the commit that a person's words name. Raises `UsageError` for none."""
        try:
            out = self.run("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        except Failed as error:
            raise UsageError(
                f"no commit `{revision}` in `{self._repo.git_dir}`", hint="a branch, a tag or a commit id is meant"
            ) from error
        commit = out.decode().strip()
        if not _OBJECT_ID.fullmatch(commit):
            raise Stalled(f"`{revision}` is not a SHA-1 commit", hint="repositories in SHA-256 form are not read")
        return commit

    def snapshot(self, commit: str, subdirectory: str = "") -> Snapshot:
        """The folder `subdirectory` at a commit given by id. A commit without that folder has no files.

        Raises `Retry` where the object store does not answer.
        """
        if not _OBJECT_ID.fullmatch(commit):
            raise ValueError(f"not a commit id: {commit!r}")
        with self._reading(f"commit {commit[:12]}"):
            about = self._repo.commit(commit)
            parent = about.parents[0].hexsha if about.parents else None
            author = f"{about.author.name} <{about.author.email}>"
            subject = str(about.summary)
        entries = self._entries(commit, subdirectory)
        endless = too_large("more files below it, or deeper ones, than can be listed")
        files, findings = ({}, (endless,)) if entries is None else select(entries, self._limits)
        return Snapshot(commit, parent, visible(author), files, self.read, visible(subject), findings)

    def read(self, blob_id: str) -> bytes:
        """The bytes of a blob. Raises `Retry` where the object cannot be had, `ValueError` for other text."""
        if not _OBJECT_ID.fullmatch(blob_id):
            raise ValueError(f"not an object id: {blob_id!r}")
        with self._reading(f"object {blob_id[:12]}"):
            _, kind, size, body = self._git.get_object_data(blob_id)
        if kind not in _BLOB or size > self._limits.file_bytes:
            raise ValueError(f"{blob_id[:12]} is not a blob within the limits")
        return body

    def parent(self, commit: str) -> str | None:
        """The first parent of a commit, if it has one. Raises `UsageError` where that one is not in this clone."""
        with self._reading(f"commit {commit[:12]}"):
            parents = self._repo.commit(commit).parents
        if not parents:
            return None
        try:
            self.run("cat-file", "-e", "--end-of-options", parents[0].hexsha)
        except Failed as error:
            raise UsageError(
                f"`{parents[0].hexsha[:12]}`, the commit before `{commit[:12]}`, is not in this clone",
                hint="fetch two commits at the least: `fetch-depth: 2`, or `git fetch --deepen 1`",
            ) from error
        return parents[0].hexsha

    def history(self, commit: str, last: int) -> tuple[str, ...]:
        """A commit and those before it by first parents, newest first, `last` at the most. Raises `Retry`."""
        try:
            out = self.run("rev-list", "--first-parent", f"--max-count={last}", "--end-of-options", commit)
        except Failed as error:
            raise Retry(f"the history of {commit[:12]} cannot be read: {error.words}", after=RETRY_S) from error
        return tuple(out.decode().split())

    def is_ancestor(self, old: str, new: str) -> bool:
        """Whether `old` is in the history of `new`; False also for a commit that is not there any more."""
        try:
            self.run("merge-base", "--is-ancestor", "--end-of-options", old, new)
        except Failed:
            return False
        return True

    def tip(self, ref: str) -> str:
        """The commit that a ref (its full name) points to; read by ourselves, a process takes longer.

        Raises `Retry` where it cannot be had.
        """
        with self._reading(f"`{ref}`"):
            return git.Reference(self._repo, ref, check_path=False).commit.hexsha

    @contextlib.contextmanager
    def _reading(self, what: str) -> Iterator[None]:
        """Alone with GitPython, whose errors for a damaged object, or an encoding that nobody knows, are many."""
        with self._lock:
            try:
                yield
            except (git.GitError, git.exc.ODBError, ValueError, LookupError, OSError) as error:
                self._git.clear_cache()  # the long-lived `cat-file` may be gone: the next read starts another
                raise Retry(f"{what} cannot be read: {error}", after=RETRY_S) from error

    def close(self) -> None:
        """End the long-lived Git processes."""
        with self._lock:
            self._repo.close()

    def _entries(self, commit: str, subdirectory: str) -> list[Entry] | None:
        """Every entry below a folder; `None` where there are more than anyone can have meant."""
        tree = f"{commit}:{subdirectory}"
        try:
            listing = self._head_of(
                self._limits.listing_bytes, "ls-tree", "-r", "-z", "-l", "--full-tree", "--end-of-options", tree
            )
        except Failed as error:
            if "maximum allowed tree depth" in error.words:
                return None
            if not self._exists(tree):
                return []
            raise Retry(f"the tree of {commit[:12]} cannot be read: {error.words}", after=RETRY_S) from error
        return None if listing is None else [_entry(record) for record in listing.split(b"\0") if record]

    def _head_of(self, limit: int, *words: str) -> bytes | None:
        """Output of one Git command, or `None` as soon as it is longer than `limit` bytes. Raises `Failed`.

        A few small trees that name each other over and over list billions of files: the output has to be bounded
        while it is read, not after.
        """
        running = self._git.execute(self._command(*words), as_process=True)  # ends the process when dropped
        with running.proc as process:
            patience = threading.Timer(self._limits.command_s, process.kill)
            patience.start()
            try:
                out = process.stdout.read(limit + 1)
                if len(out) > limit:
                    return None
                said = process.stderr.read().decode(errors="replace").strip()
                if process.wait() != 0:
                    raise Failed(said or "it took too long", timed_out=process.returncode < 0)
                return bytes(out)
            finally:
                patience.cancel()
                process.kill()

    def _command(self, *words: str) -> list[str]:
        return ["git", "--git-dir", str(self._repo.git_dir), "--no-pager", "--literal-pathspecs", *words]

    def _exists(self, name: str) -> bool:
        try:
            self.run("rev-parse", "--verify", "--quiet", "--end-of-options", name)
        except Failed:
            return False
        return True


def _entry(record: bytes) -> Entry:
    fields = _LS_TREE.fullmatch(record)
    if fields is None:
        raise ValueError(f"unexpected line from git ls-tree: {record[:80]!r}")
    mode, _, blob_id, size, path = fields.groups()
    return Entry(
        path.decode("utf-8", "surrogateescape"), int(mode, 8), blob_id.decode(), 0 if size == b"-" else int(size)
    )
