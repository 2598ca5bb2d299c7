"""The rules: Rego modules by content, where the shipped ones are found, and what each rule says about itself."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from policyd.base.content import digest
from policyd.base.errors import UsageError

SHIPPED_ROOT = "policyd.guardrails"
"""The package tree of the rules that ship with policyd; team rules live outside of `policyd`."""
ENTRY_QUERY = "data.policyd.entry.results"
"""The one query that judges a commit: an object of each root's package tree."""
_TEST_SUFFIX = "_test.rego"
_JUDGING = ("guardrails", "lib")
_PACKAGE = re.compile(r"(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]*package[ \t]+(?P<name>[^\s#]+)[ \t]*(?:#|\r?\n|$)")


@dataclass(frozen=True, slots=True, order=True)
class Module:
    """One Rego file; `path` names it to people and to engines."""

    path: str
    text: str

    @property
    def package(self) -> str:
        """The package that the module declares; empty where it is not on one line before everything else.

        Rego lets nothing but comments and blank lines stand before it, so that no string further down can pretend to
        be it.
        """
        declared = _PACKAGE.match(self.text)
        return declared["name"] if declared else ""


@dataclass(frozen=True, slots=True)
class Bundle:
    """Rules that judge together: modules sorted by path, and the roots of their package trees.

    Equal content has an equal `digest`; engines prepare a bundle once and know it by that.
    """

    modules: tuple[Module, ...]
    roots: tuple[str, ...] = (SHIPPED_ROOT,)
    digest: str = field(init=False, compare=False, default="")

    def __post_init__(self) -> None:
        object.__setattr__(self, "digest", digest((self.modules, self.roots)))

    @property
    def entry(self) -> Module:
        """The module that collects every root, so that one query judges the commit in every engine.

        It names the bundle, so that an answer says by which rules it was given.
        """
        pairs = ",\n".join(f'\t"{root}": {_tree(root)}' for root in self.roots)
        return Module(
            "policyd/entry.rego",
            f'package policyd.entry\n\nbundle := "{self.digest}"\n\nresults := {{\n{pairs},\n}}\n',
        )

    def with_modules(self, modules: Iterable[Module], roots: Iterable[str]) -> Bundle:
        """The rules here and a team's rules."""
        return Bundle(tuple(sorted((*self.modules, *modules))), tuple(sorted({*self.roots, *roots})))


def _tree(root: str) -> str:
    """The tree of a package as a reference; in brackets and quotes, since a part of its name may be a keyword."""
    return "data" + "".join(f'["{part}"]' for part in root.split("."))


def shipped_folder(setting: Path | None = None) -> Path:
    """Where the shipped rules are: the setting, else the checkout's `rego/`, else the wheel's data.

    Raises `UsageError` where there are none.
    """
    package = Path(__file__).resolve().parent.parent
    candidates = [setting] if setting is not None else [package.parent / "rego", package / "_data" / "rego"]
    for folder in candidates:
        if (folder / "policyd" / "guardrails").is_dir():
            return folder
    raise UsageError(
        f"no guardrail rules under `{candidates[-1]}`", hint="reinstall policyd, or correct the setting for `rego`"
    )


def shipped_bundle(folder: Path | None = None) -> Bundle:
    """The guardrails that ship with policyd and what they share, without their tests.

    The reference of decisions (`policyd/authz`) lies beside them and judges requests, never commits.
    """
    root = shipped_folder(folder)
    files = sorted(file for tree in _JUDGING for file in root.glob(f"policyd/{tree}/**/*.rego"))
    return Bundle(
        tuple(
            Module(file.relative_to(root).as_posix(), file.read_text(encoding="utf-8"))
            for file in files
            if not file.name.endswith(_TEST_SUFFIX)
        )
    )
