"""A team's own rules: what is under `rego/` at the root of the intent repository.

They are somebody else's code, run in our engine: their packages may not start with `policyd` (they could speak for
our rules, or take them back), and they must pass `opa check --strict` without the functions that reach the network
or the environment. Without an OPA nothing can check them, so they are refused, save those whose digest the settings
vouch for.
"""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from policyd.base.content import digest
from policyd.base.diagnostics import Finding, Location, Severity, in_order
from policyd.base.errors import Retry
from policyd.guardrails.bundle import Bundle, Module
from policyd.guardrails.engine import AGAIN_S
from policyd.intents import FileTree

FOLDER = "rego/"
FORBIDDEN = frozenset({"http.send", "opa.runtime", "net.lookup_ip_addr"})
"""What no team rule may call: the network, and the environment of the process that judges."""
_PACKAGE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_NUMBERED = re.compile(r"[0-9]{5}\.rego")
_PLACE = re.compile(
    r"^(?:1 error occurred(?: during loading)?: )?(?P<name>[0-9]{5}\.rego):(?P<line>[0-9]+): (?P<said>.*)",
    re.MULTILINE,
)
_CHECK_S = 30.0


@dataclass(frozen=True, slots=True)
class TeamRules:
    """The modules of one commit's team rules; `digest` is what the settings vouch for."""

    modules: tuple[Module, ...]

    @property
    def digest(self) -> str:
        """The rules by content: paths and texts."""
        return digest(self.modules)

    @property
    def roots(self) -> tuple[str, ...]:
        """The topmost packages that the rules declare."""
        return tuple(sorted({module.package.split(".")[0] for module in self.modules}))


def team_rules(tree: FileTree) -> tuple[TeamRules, tuple[Finding, ...]]:
    """The team's rules of a commit, without their tests, and what is wrong with their packages."""
    modules: list[Module] = []
    findings: list[Finding] = []
    for path, blob_id in sorted(tree.files.items()):
        if not path.startswith(FOLDER) or not path.endswith(".rego") or path.endswith("_test.rego"):
            continue
        try:
            module = Module(path, tree.read(blob_id).decode())
        except UnicodeDecodeError:
            findings.append(_finding("PD2011", f"`{path}` is not UTF-8", Location(path)))
            continue
        problem = _package_problem(module.package)
        if problem:
            findings.append(_finding("PD2010", problem, Location(path, _package_line(module), 1)))
        modules.append(module)
    return TeamRules(tuple(modules)), tuple(findings)


async def with_team_rules(
    bundle: Bundle, tree: FileTree, *, opa: Path | None, vouched: Collection[str] = ()
) -> tuple[Bundle, tuple[Finding, ...]]:
    """The shipped rules and a commit's own, where those may be run; else the shipped ones and why.

    `opa` is the binary that checks them; `vouched` holds digests of team rules that need no check.
    Raises `Retry` where the binary gives no answer.
    """
    rules, findings = team_rules(tree)
    if not rules.modules or findings:
        return bundle, findings
    joined = bundle.with_modules(rules.modules, rules.roots)
    if rules.digest in vouched:
        return joined, ()
    if opa is None:
        said = f"team rules need opa, which is not here (their digest is `{rules.digest}`)"
        hint = "install OPA, or vouch for this digest in the settings: `guardrails: {vouched: [...]}`"
        return bundle, (_finding("PD2012", said, Location(rules.modules[0].path), hint),)
    findings = await _strictly_checked(joined, rules, opa)
    return (bundle, findings) if findings else (joined, ())


def _package_problem(package: str) -> str:
    if not package:
        return "there is no `package`"
    if not _PACKAGE.fullmatch(package):
        return f"package `{package}` is not a name with dots"
    if package.startswith(("policyd", "system.")) or package == "system":
        return f"package `{package}` belongs to policyd"
    return ""


def _package_line(module: Module) -> int:
    lines = module.text.splitlines()
    return next((number for number, line in enumerate(lines, 1) if line.strip().startswith("package")), 1)


async def _strictly_checked(joined: Bundle, rules: TeamRules, opa: Path) -> tuple[Finding, ...]:
    """`opa check --strict` over all rules together, with the forbidden functions unknown."""
    capabilities = json.loads(await _run(opa, "capabilities", "--current"))
    capabilities["builtins"] = [known for known in capabilities["builtins"] if known["name"] not in FORBIDDEN]
    capabilities["allow_net"] = []
    with tempfile.TemporaryDirectory(prefix="policyd-check-") as folder:
        root = Path(folder)
        # Numbered, since a name that Git can hold may be one that no file system takes.
        names = {f"{number:05}.rego": module for number, module in enumerate(joined.modules)}
        (root / "bundle").mkdir()
        for name, module in names.items():
            (root / "bundle" / name).write_text(module.text, encoding="utf-8")
        (root / "capabilities.json").write_text(json.dumps(capabilities), encoding="utf-8")
        said = await _run(
            opa, "check", "--strict", "--capabilities", str(root / "capabilities.json"), str(root / "bundle")
        )
        return _complaints(said.replace(f"{root}/bundle/", ""), names, rules)


def _complaints(said: str, names: Mapping[str, Module], rules: TeamRules) -> tuple[Finding, ...]:
    def in_words(text: str) -> str:
        return _NUMBERED.sub(lambda match: names[match[0]].path if match[0] in names else match[0], text)

    found = [
        _finding("PD2013", in_words(match["said"]), Location(names[match["name"]].path, int(match["line"]), 1))
        for match in _PLACE.finditer(said)
        if names.get(match["name"]) in rules.modules
    ]
    if said.strip() and not found:
        found = [_finding("PD2013", in_words(said.strip().splitlines()[-1]), Location(rules.modules[0].path))]
    return in_order(found)


async def _run(opa: Path, *arguments: str) -> str:
    """What `opa` printed; on standard error when it failed."""
    child = await asyncio.create_subprocess_exec(
        str(opa),
        *arguments,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={},
    )
    try:
        async with asyncio.timeout(_CHECK_S):
            output, errors = await child.communicate()
    except TimeoutError:
        raise Retry(f"`opa {arguments[0]}` gave no answer within {_CHECK_S:g} s", after=AGAIN_S) from None
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return (errors if child.returncode else output).decode(errors="replace")


def _finding(code: str, message: str, location: Location, hint: str = "") -> Finding:
    return Finding(code, Severity.ERROR, message, location, hint)
