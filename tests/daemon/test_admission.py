"""Admission: a commit is whole or refused, and without a verdict it is neither."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar, cast

import pytest

from policyd.base.codes import Explanation
from policyd.base.diagnostics import Finding, Location, Severity
from policyd.base.errors import Retry
from policyd.compiler.artifact import Compiled, Loss
from policyd.compiler.conditions import EXPIRY
from policyd.compiler.losses import Says, of_mesh
from policyd.compiler.memo import Memo
from policyd.compiler.protocol import Compiler
from policyd.daemon.admission import Admission, Admitted, Rejected
from policyd.daemon.judging import Guardrails
from policyd.daemon.planes import DataPlanes
from policyd.guardrails.bundle import shipped_bundle
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.guardrails.team import team_rules
from policyd.intents import Bindings, FileTree, Loaded, MemoryTree
from policyd.model.mesh import Mesh
from policyd.model.node import Node
from policyd.source import Snapshot
from policyd.testing.clock import FakeClock
from policyd_compilers.envoy.compiler import CAPABILITIES, EnvoyCompiler

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
MESH = "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: m, owner: a}\nspec: {trustDomain: m.example}\n"
RULE = """\
# METADATA
# title: meshes have long names
# custom:
#   code: PD2950
#   severity: error
package shop.names

deny contains finding if {
	some mesh in input.documents.Mesh
	count(mesh.name) < 5
	finding := {"msg": "the name is too short", "document": mesh.id, "path": ["metadata", "name"]}
}
"""


class Verdict:
    """A judge that always says the same; the sibling of `Guardrails`."""

    def __init__(self, *findings: Finding, error: Exception | None = None) -> None:
        self._findings = findings
        self._error = error
        self.promoted: list[str] = []

    async def judge(self, tree: FileTree, loaded: Loaded, at: datetime) -> tuple[Finding, ...]:
        """What this verdict is."""
        if self._error is not None:
            raise self._error
        return self._findings

    async def promote(self, tree: FileTree) -> None:
        """Remember whose rules were promoted."""
        assert isinstance(tree, Snapshot)
        self.promoted.append(tree.commit)


def snapshot(files: dict[str, str], commit: str = "c" * 40) -> Snapshot:
    tree = MemoryTree(files)
    return Snapshot(commit, None, "ada", tree.files, tree.read)


async def test_a_sound_commit_is_admitted_and_its_rules_are_promoted() -> None:
    judge = Verdict()
    outcome = await Admission(judge, FakeClock()).consider(snapshot({"mesh.yaml": MESH}))
    assert isinstance(outcome, Admitted)
    assert outcome.mesh.settings.trust_domain == "m.example"
    assert judge.promoted == ["c" * 40]


@pytest.mark.parametrize(("severity", "kind"), [(Severity.ERROR, Rejected), (Severity.WARNING, Admitted)])
async def test_only_errors_refuse(severity: Severity, kind: type) -> None:
    judge = Verdict(Finding("PD2999", severity, "no", Location("mesh.yaml", 1, 1)))
    outcome = await Admission(judge, FakeClock()).consider(snapshot({"mesh.yaml": MESH}))
    assert isinstance(outcome, kind)
    assert [finding.code for finding in outcome.findings] == ["PD2999"]


async def test_the_self_check_finds_what_was_remembered_wrongly_and_forgets_it() -> None:
    admission = Admission(Verdict(), FakeClock())
    assert await admission.self_check() is None
    outcome = await admission.consider(snapshot({"mesh.yaml": MESH}))
    assert await admission.self_check() == (outcome.snapshot, ())
    assert admission._lowered is not None
    seen, lowered = admission._lowered
    assert lowered.mesh is not None
    wrong = replace(lowered.mesh, settings=replace(lowered.mesh.settings, trust_domain="other.example"))
    admission._lowered = seen, replace(lowered, mesh=wrong)
    assert await admission.self_check() == (seen, ("the mesh is not what its intents say",))
    again = await admission.consider(seen)
    assert (admission.parsed_files, again) == (2, outcome)


async def test_without_a_verdict_the_commit_is_neither_taken_nor_refused() -> None:
    judge = Verdict(error=Retry("the engine is away", after=1.0))
    with pytest.raises(Retry):
        await Admission(judge, FakeClock()).consider(snapshot({"mesh.yaml": MESH}))
    assert judge.promoted == []


async def test_the_trust_domain_of_a_live_mesh_stays() -> None:
    outcome = await Admission(Verdict(), FakeClock()).consider(snapshot({"mesh.yaml": MESH}), "other.example")
    assert isinstance(outcome, Rejected)
    assert [finding.code for finding in outcome.findings] == ["PD3101"]
    assert outcome.findings[0].location.path == "mesh.yaml"


@pytest.mark.parametrize(
    ("compiler", "why"),
    [
        ("haproxy", "`haproxy` writes files, which this controller does not deliver yet"),
        ("nginx", "no compiler `nginx` is installed"),
    ],
)
async def test_a_mesh_that_cannot_be_delivered_is_refused(compiler: str, why: str) -> None:
    planes = f", dataPlanes: [{{name: edge, compiler: envoy}}, {{name: sidecars, compiler: {compiler}}}]}}"
    judge = Verdict()
    outcome = await Admission(judge, FakeClock()).consider(snapshot({"mesh.yaml": MESH.rstrip()[:-1] + planes}))
    assert isinstance(outcome, Rejected)
    assert [(finding.code, finding.location.path, finding.location.line) for finding in outcome.findings] == [
        ("PD3102", "mesh.yaml", 3)
    ]
    assert outcome.findings[0].message == f"the data plane `sidecars` cannot be run: {why}"
    assert judge.promoted == []


RULE_THAT_ENDS = """\
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
# COMMENT
metadata: {name: for-now, owner: a}
spec: {to: web, from: [web], allow: [{methods: [GET], paths: [/]}], expires: 2027-03-31}
"""
ACCEPTED = "policyd: allow PD1308 until 2027-01-31 because the old proxies go in spring, A-7"


class Timeless(EnvoyCompiler):
    """An Envoy compiler as it would be if Envoy had no clock; the sibling of `EnvoyCompiler`."""

    capabilities = replace(CAPABILITIES, conditions=CAPABILITIES.conditions - {EXPIRY})

    def losses(self, mesh: Mesh, memo: Memo) -> tuple[Loss, ...]:
        """What is lost for want of a clock."""
        says = Says("timeless", self.capabilities.conditions, lambda service: ())
        return of_mesh(mesh, says, memo)


class Unforeseeing:
    """A compiler that knows what is lost when it has compiled."""

    name = id = "unforeseeing"
    capabilities = CAPABILITIES
    codes: ClassVar[dict[str, Explanation]] = {}

    def compile(self, mesh: Mesh, node: Node, memo: Memo) -> Compiled:
        """Nothing but what a timeless compiler loses."""
        return memo.get(
            (mesh.access[node.service].digest, node), lambda: Compiled((), Timeless().losses(mesh, Memo()))
        )


def behind(compiler: object, at: datetime = AT) -> Admission:
    """An admission whose mesh is served by this compiler, whatever it is called."""
    planes = DataPlanes(lambda name: cast("Compiler", compiler))
    return Admission(Verdict(), FakeClock(at), planes=planes)


@pytest.mark.parametrize("compiler", [Timeless(), Unforeseeing()])
async def test_a_commit_that_loses_a_rule_is_refused_unless_the_rule_accepts_it(compiler: object) -> None:
    """The finding is the one of `policyd check`: at the rule, an error until it is accepted, and again after that."""
    losing = {"mesh.yaml": MESH + SERVICE + RULE_THAT_ENDS}
    accepting = {"mesh.yaml": losing["mesh.yaml"].replace("COMMENT", ACCEPTED)}
    admission = behind(compiler)
    refused = await admission.consider(snapshot(losing))
    assert isinstance(refused, Rejected)
    assert [(one.code, one.is_error, str(one.location)) for one in refused.findings] == [
        ("PD1308", True, "mesh.yaml:14:18")
    ]
    taken = await admission.consider(snapshot(accepting))
    assert isinstance(taken, Admitted), taken.findings
    assert sorted((one.code, str(one.severity)) for one in taken.findings) == [
        ("PD1308", "warning"),
        ("PD2001", "info"),
    ]
    late = await behind(compiler, AT + timedelta(days=100)).consider(snapshot(accepting))
    assert isinstance(late, Rejected)
    assert ("PD1308", True) in {(one.code, one.is_error) for one in late.findings}
    # What Envoy can judge is not lost, and the comment not needed.
    fine = await Admission(Verdict(), FakeClock(AT)).consider(snapshot(accepting))
    assert isinstance(fine, Admitted)
    assert [one.code for one in fine.findings] == ["PD2002"]


async def test_compilers_are_asked_about_what_a_commit_changes() -> None:
    admission, asked = behind(Timeless()), []
    first = {"mesh.yaml": MESH + SERVICE, "b.yaml": SERVICE.replace("web", "back").replace("0.1", "0.2")[4:]}
    changed = {**first, "b.yaml": first["b.yaml"].replace("port: 80", "port: 81")}
    for files in (first, changed, first, first):
        before = admission.asked_of_compilers
        assert isinstance(await admission.consider(snapshot(files)), Admitted)
        asked.append(admission.asked_of_compilers - before)
    assert asked == [2, 1, 0, 0]


async def test_a_namespace_is_used_in_the_folders_that_the_settings_bind_it_to() -> None:
    """After a start with other settings, a head that was fine is refused like any bad commit."""
    files = {"platform/mesh.yaml": MESH, "teams/web/mesh.yaml": MESH.replace("Mesh", "RolloutStrategy")}
    files["teams/web/mesh.yaml"] = files["teams/web/mesh.yaml"].replace(
        "{trustDomain: m.example}", "{waves: [{proxies: 1}], hold: 1s}"
    )
    judge = Verdict()

    before = await Admission(judge, FakeClock()).consider(snapshot(files))
    assert isinstance(before, Admitted), before.findings
    judge.promoted.clear()

    bindings = Bindings({"default": ("platform/",), "web": ("teams/web/",)})
    after = await Admission(judge, FakeClock(), bindings=bindings).consider(snapshot(files))
    assert isinstance(after, Rejected)
    assert [(one.code, str(one.location)) for one in after.findings] == [("PD1113", "teams/web/mesh.yaml:3:1")]
    assert judge.promoted == []


SERVICE = (
    "---\napiVersion: policyd.dev/v1alpha1\nkind: Service\nmetadata: {name: web}\n"
    "spec: {port: 80, version: v1, versions: {v1: {endpoints: [10.0.0.1]}}}\n"
)
EXPECTS = (
    "---\napiVersion: policyd.dev/v1alpha1\nkind: PolicyTest\nmetadata: {{name: web}}\n"
    "spec:\n"
    "- {{from: web, to: web, request: GET /, expect: {}}}\n"
    "- {{from: web, to: web, request: GET /a, expect: {}}}\n"
)


async def test_a_commit_whose_own_tests_fail_is_refused_with_every_failure() -> None:
    judge = Verdict()
    admission = Admission(judge, FakeClock())
    outcome = await admission.consider(snapshot({"mesh.yaml": MESH + SERVICE + EXPECTS.format("allow", "reject")}))
    assert isinstance(outcome, Rejected)
    assert [(finding.code, finding.location.line) for finding in outcome.findings] == [("PD1391", 15), ("PD1391", 16)]
    assert judge.promoted == []
    good = await admission.consider(snapshot({"mesh.yaml": MESH + SERVICE + EXPECTS.format("deny", "deny")}))
    assert isinstance(good, Admitted), good.findings


async def test_a_commit_is_judged_by_the_rules_before_it_and_its_own() -> None:
    """Taking a rule away and breaking it in one commit does not work; the next commit is free of it."""
    files = {"mesh.yaml": MESH.replace("name: m,", "name: longer,"), "rego/names.rego": RULE}
    rules, _ = team_rules(MemoryTree(files))
    engine = EmbeddedEngine()
    admission = Admission(Guardrails(engine, shipped_bundle(), opa=None, vouched=[rules.digest]), FakeClock())
    try:
        first = await admission.consider(snapshot(files))
        sneaky = await admission.consider(snapshot({"mesh.yaml": MESH}))
        dropped = await admission.consider(snapshot({"mesh.yaml": files["mesh.yaml"]}))
        free = await admission.consider(snapshot({"mesh.yaml": MESH}))
    finally:
        await engine.close()

    assert isinstance(first, Admitted), first.findings
    assert isinstance(sneaky, Rejected)
    assert "PD2950" in {finding.code for finding in sneaky.findings}
    assert isinstance(dropped, Admitted), dropped.findings
    assert isinstance(free, Admitted), free.findings
