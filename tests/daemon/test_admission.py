"""Admission: a commit is whole or refused, and without a verdict it is neither."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest

from policyd.base.diagnostics import Finding, Location, Severity
from policyd.base.errors import Retry
from policyd.daemon.admission import Admission, Admitted, Rejected
from policyd.daemon.judging import Guardrails
from policyd.guardrails.bundle import shipped_bundle
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.guardrails.team import team_rules
from policyd.intents import Bindings, FileTree, Loaded, MemoryTree
from policyd.source import Snapshot
from policyd.testing.clock import FakeClock

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
