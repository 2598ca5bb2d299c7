"""`policyd init`: begins an intent repository that passes `policyd check`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from os.path import relpath
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from policyd.base.errors import UsageError
from policyd.cli.output import console, words
from policyd.cli.starter import NICE_TO_HAVE, WORKFLOW, Names, settings_text, starter
from policyd.intents import load
from policyd.source import DirectoryTree, begin_repository, repository_root

_LONGEST = 40
_NO_LABEL = re.compile(r"[^a-z0-9]+")
_WORD = re.compile(rf"[a-z](?:[a-z0-9-]{{0,{_LONGEST - 2}}}[a-z0-9])?")
_DOMAIN = re.compile(r"[a-z][a-z0-9._-]{0,253}[a-z0-9]")
_NOT_WORDS = frozenset({"true", "false", "null"})


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="The folder; made if it is not there.")] = Path(),
    *,
    name: Annotated[str | None, typer.Option("--name", help="What the mesh is called; the folder's name.")] = None,
    domain: Annotated[
        str | None, typer.Option("--trust-domain", help="Where identities live; `<name>.internal`.")
    ] = None,
    caller: Annotated[str, typer.Option("--caller", help="The service that calls.")] = "web",
    callee: Annotated[str, typer.Option("--callee", help="The service that is called.")] = "api",
    settings: Annotated[
        Path | None, typer.Option("--settings", help="Also write a controller's settings, outside of the repository.")
    ] = None,
    git: Annotated[bool, typer.Option("--git/--no-git", help="Run `git init` unless there is a repository.")] = True,
) -> None:
    """Begin an intent repository: a mesh, two services, a rule, a canary, CI and your editor's schema.

    Nothing is ever overwritten.
    """
    root = repository_root(folder)
    within = root is not None and root != folder.resolve()
    files = dict(starter(_names(folder, name, domain, caller, callee)))
    if within:
        del files[WORKFLOW]  # GitHub reads it at the root of a repository only
    new, kept = _sorted_out(folder, files)
    about = _settings(settings, root or folder.resolve(), folder) if settings is not None else {}
    _write({**{folder / path: body for path, body in new.items()}, **about})
    began = git and root is None
    if began:
        begin_repository(folder)
    _say(folder, [*new, *(f"{path}" for path in about)], kept, began=began, within=within, settings=settings)


def _names(folder: Path, name: str | None, domain: str | None, caller: str, callee: str) -> Names:
    made = _NO_LABEL.sub("-", folder.resolve().name.lower()).strip("-")[:_LONGEST].strip("-") or "mesh"
    mesh = _word("--name", name) if name is not None else made if made[0].isalpha() else f"mesh-{made}"
    names = Names(mesh, _domain(domain or f"{mesh}.internal"), _word("--caller", caller), _word("--callee", callee))
    if names.caller == names.callee:
        raise UsageError(f"both services are called `{caller}`", hint="give `--caller` and `--callee` two names")
    return names


def _word(option: str, text: str) -> str:
    """A DNS label that YAML reads as a word, with room for what is put behind it."""
    if _WORD.fullmatch(text) and text not in _NOT_WORDS:
        return text
    raise UsageError(
        f"`{text}` is no name for `{option}`",
        hint=f"a letter first, then lower-case letters, digits and `-`, up to {_LONGEST} of them",
    )


def _domain(text: str) -> str:
    if _WORD.match(text) and text not in _NOT_WORDS and _DOMAIN.fullmatch(text):
        return text
    raise UsageError(f"`{text}` is no trust domain", hint="in lower case, a letter first: `shop.example`")


def _sorted_out(folder: Path, files: Mapping[str, bytes]) -> tuple[dict[str, bytes], list[str]]:
    """What is written, and what stays as it is. Raises `UsageError` where something would be overwritten."""
    new: dict[str, bytes] = {}
    kept: list[str] = []
    taken: list[str] = []
    for path, body in files.items():
        there = folder / path
        if not (there.exists() or there.is_symlink()):
            new[path] = body
        elif path in NICE_TO_HAVE or (there.is_file() and there.read_bytes() == body):
            kept.append(path)
        else:
            taken.append(path)
    if folder.is_dir():
        taken += [path for path in _foreign_intents(folder) if path not in files]
    elif folder.exists():
        raise UsageError(f"`{folder}` is a file, not a folder")
    if taken:
        shown = ", ".join(f"`{path}`" for path in sorted(taken)[:5])
        raise UsageError(
            f"`{folder}` has files that a mesh would be made of: {shown}",
            hint="nothing was written; name a new folder, or go on with what is there: `policyd check`",
        )
    return new, kept


def _foreign_intents(folder: Path) -> list[str]:
    """Files that policyd would read, whatever it would make of them: the beginning must pass its own check."""
    loaded = load(DirectoryTree(folder))
    found = (*(document.path for document in loaded.documents), *(one.location.path for one in loaded.findings))
    return sorted(set(found))


def _settings(file: Path, root: Path, folder: Path) -> dict[Path, bytes]:
    if file.resolve().is_relative_to(root):
        raise UsageError(
            f"`{file}` is inside of the repository: settings say how to reach things, Git what should be",
            hint="name a file outside, for example `--settings ../policyd.yaml`",
        )
    if file.exists():
        raise UsageError(f"`{file}` is there already", hint="nothing was written; name another file, or move it away")
    where = relpath(root, file.resolve().parent)
    inside = folder.resolve().relative_to(root).as_posix()
    text = settings_text(where if where.startswith(".") else f"./{where}")
    if inside != ".":
        text = text.replace("branch: main}", f"branch: main, subdirectory: {inside}}}")
    return {file: text.encode()}


def _write(files: Mapping[Path, bytes]) -> None:
    for file, body in files.items():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("xb") as new:
                new.write(body)
        except OSError as error:
            raise UsageError(f"`{file}` cannot be written: {error.strerror}") from error


def _say(folder: Path, new: list[str], kept: list[str], *, began: bool, within: bool, settings: Path | None) -> None:
    out = console()
    for path in new:
        out.print(Text.assemble(("  wrote  ", "green"), path))
    for path in kept:
        out.print(Text.assemble(("  kept   ", "dim"), path))
    if began:
        out.print(Text.assemble(("  began  ", "green"), "a Git repository, branch `main`"))
    if within:
        out.print(words(f"  left out `{WORKFLOW}`: it belongs at the root of the repository", "yellow"))
    here = str(folder) == "."
    steps = [] if here else [f"cd {folder}"]
    steps += ["policyd check", "git add --all && git commit --message 'The first mesh'"]
    if settings is not None:
        steps.append(
            f"policyd run --config {settings if here or settings.is_absolute() else relpath(settings, folder)}"
        )
    out.print(Text.assemble(("\nnext\n", "bold"), "\n".join(f"  {step}" for step in steps)))
