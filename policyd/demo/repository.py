"""The demonstration's Git repository: a copy of the shop, and the one-line commits of the story."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import git

from policyd.base.errors import Stalled


class ShopRepository:
    """A working repository on branch `main` that people of the story commit to."""

    def __init__(self, folder: Path, shop: Path) -> None:
        """Copy the intent files of `shop` to `folder` and commit nothing yet."""
        shutil.copytree(shop, folder)
        self._folder = folder
        self._git = git.Repo.init(folder, initial_branch="main")
        self._author = git.Actor("Ada", "ada@shop.example")

    @property
    def path(self) -> Path:
        """Where the repository is."""
        return self._folder

    @property
    def head(self) -> str:
        """The id of the newest commit."""
        return self._git.head.commit.hexsha

    def commit(self, message: str) -> str:
        """Commit everything that changed; returns the commit id."""
        self._git.git.add("--all")
        return self._git.index.commit(message, author=self._author, committer=self._author).hexsha

    def replace(self, file: str, old: str, new: str) -> None:
        """Change the one place in `file` where `old` stands. Raises `Stalled` unless there is exactly one."""
        path = self._folder / file
        text = path.read_text()
        if text.count(old) != 1:
            raise Stalled(f"`{file}` has {text.count(old)} places with `{old}`, the story needs one")
        path.write_text(text.replace(old, new))

    def serve(self, service: str, version: str) -> str:
        """Make `version` the one that should serve: a release is this one line. Returns the commit id."""
        path = self._folder / "services" / f"{service}.yaml"
        text = path.read_text()
        changed, count = re.subn(r"(?m)^(  version: )\S+", rf"\g<1>{version}", text)
        if count != 1:
            raise Stalled(f"`{path.name}` names {count} serving versions, the story needs one")
        path.write_text(changed)
        return self.commit(f"{service}: serve {version}")

    def listen(self, port: int) -> str:
        """Move every sidecar's inbound port. Returns the commit id."""
        self.replace("mesh.yaml", "\nspec:\n", f"\nspec:\n  ports: {{inbound: {port}}}\n")
        return self.commit(f"mesh: listen on {port}")

    def revert(self, commit: str) -> str:
        """`git revert` that commit; returns the new commit id."""
        with self._git.config_writer() as config:
            config.set_value("user", "name", self._author.name or "")
            config.set_value("user", "email", self._author.email or "")
        self._git.git.revert("--no-edit", commit)
        return self._git.head.commit.hexsha

    def hurry(self, hold: str) -> None:
        """Shorten every `hold:` of the shop, before its first commit."""
        for path in sorted(self._folder.rglob("*.yaml")):
            text = path.read_text()
            path.write_text(re.sub(r"(?m)^(\s+hold: )\S+", rf"\g<1>{hold}", text))

    def close(self) -> None:
        """Let go of Git's processes."""
        self._git.close()
