"""How Git is run: GitPython's command line with nothing inherited from the machine or the user.

Git reads dozens of environment variables and three layers of configuration, and several of them name programs
to start. The commands here see an empty environment, no system or user configuration, no hooks, no prompts and
an allow-list of transports.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import git

from policyd.base.errors import UsageError

PROTOCOLS = ("file", "https", "ssh")
"""Transports that a remote may use; `git://` and plain `http` are not authenticated, `ext::` runs programs."""

_SETTINGS: Mapping[str, str] = {
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "fetch.fsckObjects": "true",
    "fetch.recurseSubmodules": "false",
    "gc.auto": "0",
    "init.templateDir": "",
    "protocol.version": "2",
    "safe.directory": "*",
    "submodule.recurse": "false",
}


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a Git command; `extra` is what the settings add (an SSH agent's socket)."""
    variables = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": os.devnull,
        "LC_ALL": "C",
        "LANGUAGE": "C",
        "GIT_ALLOW_PROTOCOL": ":".join(PROTOCOLS),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CONFIG_COUNT": str(len(_SETTINGS)),
    }
    for index, (key, value) in enumerate(_SETTINGS.items()):
        variables[f"GIT_CONFIG_KEY_{index}"] = key
        variables[f"GIT_CONFIG_VALUE_{index}"] = value
    return {**variables, **extra}


class CleanGit(git.Git):
    """GitPython's command wrapper, started through `env -i`.

    GitPython always copies the environment of its own process and can only add to it; `env -i` is what empties
    it. `extra_environment` is set by `Objects`, on its own instance.
    """

    extra_environment: Mapping[str, str] = MappingProxyType({})

    def execute(self, command: str | Sequence[Any], *args: Any, **kwargs: Any) -> Any:
        """Run one Git command with the clean environment. Raises `git.GitCommandError` as GitPython does."""
        words = [command] if isinstance(command, str) else [str(word) for word in command]
        variables = environment(self.extra_environment)
        clean = ["env", "-i", *(f"{name}={value}" for name, value in variables.items())]
        return super().execute([*clean, *words], *args, **kwargs)


_MISLEADING = ("GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_WORK_TREE")


def refuse_misleading_environment() -> None:
    """Raise `UsageError` for the variables that GitPython itself obeys when it opens a repository by path.

    They would make it read another repository's objects (Git sets them for some hooks).
    """
    for name in _MISLEADING:
        if os.environ.get(name):
            raise UsageError(
                f"`{name}` is set and redirects Git",
                hint=f"run policyd with `env -u {name}`",
            )


class CleanRepo(git.Repo):
    """A repository whose every command is a `CleanGit`."""

    GitCommandWrapperType = CleanGit
