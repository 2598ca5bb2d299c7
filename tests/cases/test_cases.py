"""Runs every scenario from intents to compiled artefacts and compares what comes out, file by file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from policyd.base.diagnostics import Finding, in_order
from policyd.compiler import registry
from policyd.compiler.artifact import FILE, Artifact, Compiled
from policyd.compiler.memo import Memo
from policyd.compiler.protocol import Compiler, Secrets
from policyd.delivery.validate import validate
from policyd.intents import load
from policyd.lowering import lower
from policyd.model.mesh import Mesh
from policyd.model.node import Node
from policyd.plan.change import Position
from policyd.plan.changes import changes
from policyd.plan.effective import Effective, effective
from policyd.plan.floor import Floor
from policyd.plan.stages import stages
from policyd.source import DirectoryTree

HERE = Path(__file__).parent
AT = datetime(2027, 1, 1, tzinfo=UTC)
CASES = sorted(folder.parent.name for folder in HERE.glob("*/intents"))
COMPILERS = ("envoy", "haproxy")


@dataclass(frozen=True)
class Scenario:
    """A scenario after lowering: its findings, and what each node should run."""

    findings: tuple[Finding, ...]
    effective: Effective | None


def lowered(folder: Path) -> tuple[Mesh | None, tuple[Finding, ...]]:
    loaded = load(DirectoryTree(folder))
    result = lower(loaded)
    return result.mesh, in_order((*loaded.findings, *result.findings))


def scenario(name: str) -> Scenario:
    head, findings = lowered(HERE / name / "intents")
    if head is None:
        return Scenario(findings, None)
    floor = Floor(AT, tuple(head.revocations.values()))
    if not (HERE / name / "promoted").is_dir():
        return Scenario(findings, effective(head, [], head, floor))
    promoted, _ = lowered(HERE / name / "promoted")
    assert promoted is not None
    stage = read(HERE / name / "case.yaml")["stage"]
    positions = [Position(change, stages(change, head.releases)[stage - 1]) for change in changes(promoted, head)]
    return Scenario(findings, effective(promoted, positions, head, floor))


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.is_file() else None


def compiled(found: Effective, compiler: Compiler) -> Mapping[Node, Compiled]:
    memo = Memo()
    return {node: compiler.compile(found.mesh_for(node), node, memo) for node in found.nodes()}


def files(results: Mapping[Node, Compiled], compiler: Compiler) -> dict[str, str]:
    """What `out/<compiler>/` should hold: distinct artefacts once, and who gets them."""
    contents: dict[tuple[str, str], dict[str, str]] = {}
    for node, result in results.items():
        for artifact in result.artifacts:
            contents.setdefault((artifact.kind, artifact.name), {}).setdefault(artifact.version, node.id)
    written: dict[str, str] = {}
    held: dict[str, list[str]] = {}
    for node, result in results.items():
        for artifact in result.artifacts:
            path = path_of(artifact, contents[artifact.kind, artifact.name])
            written[path] = compiler.render(artifact)
            held.setdefault(node.id, []).append(path)
    losses = {node.id: [loss.message for loss in result.losses] for node, result in results.items() if result.losses}
    index = {"nodes": held, "losses": losses} if losses else {"nodes": held}
    return {**written, "nodes.yaml": yaml.safe_dump(index, sort_keys=True)}


def path_of(artifact: Artifact, versions: Mapping[str, str]) -> str:
    """`cluster/default.web.v1.yaml`, or a file's own name; with the first node that has it, where nodes differ."""
    if artifact.kind == FILE:
        stem, dot, ending = artifact.name.rpartition(".")
        return f"{stem}{_at(artifact, versions)}{dot}{ending}"
    kind = artifact.kind.rpartition(".")[2].lower()
    name = artifact.name.replace("/", ".")
    return f"{kind}/{name}{_at(artifact, versions)}.yaml"


def _at(artifact: Artifact, versions: Mapping[str, str]) -> str:
    return f"@{versions[artifact.version].replace('/', '.')}" if len(versions) > 1 else ""


def golden(folder: Path) -> Iterable[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def described(findings: Iterable[Finding]) -> list[dict[str, str]]:
    return [
        {"at": str(each.location), "code": each.code, "severity": str(each.severity), "message": each.message}
        for each in findings
    ]


def regenerate(folder: Path, wanted: Mapping[str, str]) -> None:
    for path in list(golden(folder)):
        if path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_there_are_scenarios() -> None:
    assert len(CASES) >= 6


@pytest.mark.parametrize("name", CASES)
def test_findings(name: str, regenerate_golden: bool) -> None:
    found = described(scenario(name).findings)
    if regenerate_golden:
        (HERE / name / "findings.yaml").write_text(yaml.safe_dump(found, sort_keys=False))
    assert read(HERE / name / "findings.yaml") == found


@pytest.mark.parametrize("target", COMPILERS)
@pytest.mark.parametrize("name", CASES)
def test_compiled(name: str, target: str, regenerate_golden: bool) -> None:
    found = scenario(name).effective
    assert found is not None
    compiler = registry.load(target)
    wanted = files(compiled(found, compiler), compiler)
    folder = HERE / name / "out" / target
    if regenerate_golden:
        regenerate(folder, wanted)
    there = {path.relative_to(folder).as_posix(): path.read_text() for path in golden(folder)}
    assert sorted(there) == sorted(wanted)
    for path, text in wanted.items():
        assert there[path] == text, f"{path} differs; see tests/cases/README.md"


@pytest.mark.parametrize("target", COMPILERS)
@pytest.mark.parametrize("name", CASES)
async def test_the_real_proxy_accepts_it(
    name: str, target: str, secrets: Secrets, request: pytest.FixtureRequest
) -> None:
    found = scenario(name).effective
    assert found is not None
    compiler = registry.load(target)
    binary = request.getfixturevalue(f"{target}_binary")
    first_of_each = {(node.service, node.version): node for node in reversed(found.nodes())}
    for node in first_of_each.values():
        result = compiler.compile(found.mesh_for(node), node, Memo())
        verdict = await validate(compiler.validation(result, node, secrets), binary, 20.0)
        assert verdict.accepted, f"{node.id}: {verdict.reason}"
