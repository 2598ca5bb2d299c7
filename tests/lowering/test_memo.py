"""Cost follows the change: what did not change is the same object, and what did equals a full recompute."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from policyd.base.content import digest
from policyd.intents import MemoryTree, ParseCache, load
from policyd.lowering import Lowered, LoweringMemo, lower
from policyd.model.mesh import Mesh
from policyd.model.names import Name

CHECKOUT, WEB = Name("default", "checkout"), Name("default", "web")


class Head:
    """A repository that is lowered again and again with one cache and one memo."""

    def __init__(self, files: dict[str, str]) -> None:
        self.files = files
        self.cache, self.memo = ParseCache(), LoweringMemo()

    def lower(self, **edits: tuple[str, str]) -> Lowered:
        for name, (old, new) in edits.items():
            path = f"{name}.yaml"
            assert old in self.files[path]
            self.files[path] = self.files[path].replace(old, new, 1)
        return lower(load(MemoryTree(self.files), self.cache), self.memo)

    def mesh(self, **edits: tuple[str, str]) -> Mesh:
        lowered = self.lower(**edits)
        assert lowered.mesh is not None, lowered.findings
        return lowered.mesh


@pytest.fixture
def head(files: dict[str, str]) -> Head:
    return Head(files)


def _same_objects(one: Mesh, other: Mesh) -> bool:
    pairs = [
        *((one.services[name], other.services[name]) for name in one.services),
        *((one.access[name], other.access[name]) for name in one.access),
        *((one.releases.slos[name], other.releases.slos[name]) for name in one.releases.slos),
        *((one.releases.canaries[name], other.releases.canaries[name]) for name in one.releases.canaries),
        (one.settings, other.settings),
    ]
    return all(mine is theirs for mine, theirs in pairs)


def test_nothing_changed(head: Head) -> None:
    before = head.mesh()
    built = head.memo.built
    assert _same_objects(before, head.mesh())
    assert head.memo.built == built


def test_a_changed_version_changes_one_service(head: Head) -> None:
    before = head.mesh()
    after = head.mesh(services=("version: v1\n  healthCheck", "version: v2\n  healthCheck"))
    assert after.services[CHECKOUT].serving == "v2"
    assert after.services[CHECKOUT] is not before.services[CHECKOUT]
    assert all(after.services[name] is before.services[name] for name in before.services if name != CHECKOUT)
    assert after.access is before.access
    assert all(after.releases.slos[name] is slo for name, slo in before.releases.slos.items())


def test_a_changed_rule_changes_one_access(head: Head) -> None:
    before = head.mesh()
    after = head.mesh(rules=("/v1/status]", "/v1/health]"))
    assert all(after.services[name] is service for name, service in before.services.items())
    changed = [name for name in before.access if after.access[name] is not before.access[name]]
    assert changed == [CHECKOUT]


def test_a_rule_that_changes_after_a_while_changes_one_access(head: Head) -> None:
    """What nobody asked for in between, since the whole was remembered, is remembered as well."""
    before = head.mesh()
    for old, new in (("v1", "v2"), ("v2", "v1"), ("v1", "v2")):
        head.mesh(services=(f"version: {old}\n  healthCheck", f"version: {new}\n  healthCheck"))
    after = head.mesh(rules=("/v1/status]", "/v1/health]"))
    assert [name for name in before.access if after.access[name] is not before.access[name]] == [CHECKOUT]


def test_an_edited_comment_changes_no_object_but_the_places(head: Head) -> None:
    before = head.lower()
    after = head.lower(
        services=("  port: 8080", "  # how callers find it\n  port: 8080"), rules=("spec:", "# x\nspec:")
    )
    assert before.mesh is not None
    assert after.mesh is not None
    assert _same_objects(before.mesh, after.mesh)
    assert before.provenance != after.provenance


def test_a_moved_file_changes_no_object(head: Head) -> None:
    before = head.mesh()
    head.files["team/buy.yaml"] = head.files.pop("services.yaml")
    assert _same_objects(before, head.mesh())


def test_findings_are_told_again_while_they_hold_and_go_when_they_are_mended(head: Head) -> None:
    head.mesh()
    broken = head.lower(rules=("from: [web", "from: [wbe"))
    assert [finding.code for finding in broken.findings] == ["PD1203"]
    assert head.lower().findings == broken.findings
    head.mesh(rules=("from: [wbe", "from: [web"))


def test_a_service_that_goes_makes_unchanged_rules_point_nowhere(head: Head) -> None:
    head.mesh()
    found = head.lower(services=("name: web,", "name: shopfront,")).findings
    assert [(finding.code, finding.location.path) for finding in found] == [("PD1203", "rules.yaml")]


def test_a_service_that_turns_opaque_makes_unchanged_rules_wrong(head: Head) -> None:
    head.mesh()
    found = head.lower(services=("port: 8080", "port: 8080\n  opaquePaths: true")).findings
    assert {(finding.code, finding.location.path) for finding in found} == {("PD1209", "rules.yaml")}


EXTERNAL = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: extra}
spec:
  service: checkout
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
  indicator:
    spec:
      ratioMetric:
        good: {metricSource: {type: Prometheus, spec: {query: up}}}
        total: {metricSource: {type: Prometheus, spec: {query: up}}}
"""


def test_a_finding_about_an_unchanged_split_uses_the_words_of_now(head: Head) -> None:
    head.files["slo.yaml"] = EXTERNAL
    before = head.lower(releases=("checkout-latency-99]", "extra]"))
    assert any("`Prometheus`" in finding.message for finding in before.findings)
    head.files["slo.yaml"] = EXTERNAL.replace("Prometheus", "Datadog")
    after = head.lower()
    assert after.findings == lower(load(MemoryTree(head.files))).findings
    assert any("`Datadog`" in finding.message for finding in after.findings)


def test_two_trees_may_take_turns(head: Head) -> None:
    one = head.mesh()
    head.mesh(services=("version: v1\n  healthCheck", "version: v2\n  healthCheck"))
    built = head.memo.built
    again = head.mesh(services=("version: v2\n  healthCheck", "version: v1\n  healthCheck"))
    assert again.services[CHECKOUT] is one.services[CHECKOUT]
    assert head.memo.built - built <= 12


EDITS: dict[str, list[tuple[str, str]]] = {
    "services": [
        ("version: v1\n  healthCheck", "version: v2\n  healthCheck"),
        ("port: 8080", "port: 8081"),
        ("10.0.1.21", "10.0.1.22"),
        ("10.0.2.1", "10.0.1.12"),
        ("name: web,", "name: shopfront,"),
        ("availability: 99.9,", "availability: 99.5,"),
        ("port: 8080", "# note\n  port: 8080"),
    ],
    "rules": [("from: [web", "from: [wbe"), ("/v1/status]", "/**]"), ("mode: observe", "mode: enforce")],
    "releases": [("steps: [5,", "steps: [10,"), ("hold: 30s", "hold: 5s"), ("checkout-latency-99]", "gone]")],
    "mesh": [("shop.example", "store.example"), ("shop.example", "shop.example\n  strategy: careful")],
}


@pytest.mark.parametrize("seed", range(20))
def test_incremental_equals_full(files: dict[str, str], seed: int) -> None:
    """A random walk of edits and reverts: after each, the remembered result equals one made from nothing."""
    chance = random.Random(seed)
    pristine = dict(files)
    head = Head(files)
    for _ in range(25):
        path = chance.choice(sorted(EDITS))
        old, new = chance.choice(EDITS[path])
        name = f"{path}.yaml"
        if chance.random() < 0.4:
            head.files[name] = pristine[name]
        elif old in head.files[name]:
            head.files[name] = head.files[name].replace(old, new, 1)
        incremental = head.lower()
        full = lower(load(MemoryTree(head.files)))
        assert incremental.findings == full.findings
        assert incremental.provenance == full.provenance
        assert incremental.mesh == full.mesh
        if full.mesh is not None and incremental.mesh is not None:
            assert list(incremental.mesh.services) == list(full.mesh.services)
            assert digest(replace(incremental.mesh)) == digest(full.mesh)
