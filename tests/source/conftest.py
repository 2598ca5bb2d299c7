from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from policyd.source import Mirror

OpenMirror = Callable[..., Mirror]


class Author:
    """A person with a clone: writes files and commits them with the real Git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "--quiet", "--initial-branch=main")

    def git(self, *words: str, given: str = "") -> str:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_AUTHOR_NAME": "Ada",
            "GIT_AUTHOR_EMAIL": "ada@shop.example",
            "GIT_COMMITTER_NAME": "Ada",
            "GIT_COMMITTER_EMAIL": "ada@shop.example",
        }
        done = subprocess.run(
            ["git", *words], cwd=self.folder, env=environment, check=True, capture_output=True, input=given.encode()
        )
        return done.stdout.decode().strip()

    def write(self, path: str, text: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def commit(self, subject: str = "change", **files: str) -> str:
        for path, text in files.items():
            self.write(path.replace("__", "/") + ".yaml", text)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", subject)
        return self.git("rev-parse", "HEAD")


@pytest.fixture
def author(tmp_path: Path) -> Author:
    return Author(tmp_path / "clone")


@pytest.fixture
def another(tmp_path: Path) -> Callable[[str], Author]:
    return lambda name: Author(tmp_path / name)


@pytest.fixture
def open_mirror() -> Iterator[OpenMirror]:
    """Makes mirrors whose Git processes end with the test."""
    with ExitStack() as stack:

        def open_one(*words: Any, **named: Any) -> Mirror:
            return stack.enter_context(closing(Mirror(*words, **named)))

        yield open_one
