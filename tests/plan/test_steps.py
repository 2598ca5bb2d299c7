"""Expand, then contract: at every barrier, and while one is being passed, nobody loses what both sides allow."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.decisions import Index, Request
from policyd.model.access import Access, Mode, Rule
from policyd.model.mesh import Mesh, Releases
from policyd.model.names import Name, spiffe_id
from policyd.model.node import Node
from policyd.model.release import CanaryPlan
from policyd.model.scope import Scope
from policyd.model.service import Service, Split
from policyd.plan.change import Position
from policyd.plan.changes import changes
from policyd.plan.effective import Effective, effective
from policyd.plan.floor import Floor
from policyd.plan.stages import stages
from policyd.plan.steps import same, steps, union
from policyd.testing import build

AT = datetime(2027, 1, 1, tzinfo=UTC)
NAMES = [Name.parse(name) for name in ("a", "b", "c")]
REQUESTS = [(method, path) for method in ("GET", "POST") for path in ("/x", "/y")]

rules = st.builds(
    lambda number, callers, methods, path: build.rule(f"r{number}", callers, f"{methods} {path}"),
    st.integers(0, 2),
    st.lists(st.sampled_from(["a", "b", "c", "*", "namespace:default"]), min_size=1, max_size=2),
    st.sampled_from(["GET", "POST", "GET,POST"]),
    st.sampled_from(["/x", "/y", "/**"]),
)


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    """Up to three services with one or two versions, some instances, and rules."""
    services, accesses = [], []
    for number, name in enumerate(NAMES):
        if draw(st.integers(0, 5)) == 0:
            continue
        versions = {v: build.addresses(draw(st.integers(1, 3)), f"10.{number}{v[1]}") for v in ("v1", "v2")}
        if draw(st.integers(0, 3)) == 0:
            del versions[draw(st.sampled_from(["v1", "v2"]))]
        services.append(build.service(name.name, versions, serving=draw(st.sampled_from(sorted(versions)))))
        said = draw(st.lists(rules, max_size=3, unique_by=lambda rule: rule.name))
        accesses.append(build.access(name.name, *said))
    plan = CanaryPlan(NAMES[0], NAMES[0], (500, 10_000), 1.0)
    return build.mesh(services, accesses, releases=Releases(canaries={NAMES[0]: plan}))


def rest(mesh: Mesh) -> Effective:
    return effective(mesh, [], mesh, Floor(AT))


def walk(before: Effective, after: Effective) -> list[Effective]:
    return [before, *steps(before, after)]


def allows(found: Effective, callee: Node, caller: Name, said: tuple[str, str]) -> bool:
    request = Request(spiffe_id("test.example", caller), callee.service, *said)
    return Index.build(found.mesh_for(callee)).decide(request, AT).allow


def routed(found: Effective, caller: Node) -> Iterable[Service]:
    """The services that a node has routes to."""
    mesh = found.mesh_for(caller)
    return [mesh.services[name] for name in Scope.of(mesh).destinations(caller.service)]


@settings(max_examples=60)
@given(promoted=meshes(), head=meshes(), data=st.data())
def test_what_both_sides_allow_is_never_denied_at_any_stage_of_any_change(
    promoted: Mesh, head: Mesh, data: st.DataObject
) -> None:
    def anywhere() -> Effective:
        positions = []
        for change in changes(promoted, head):
            ways = [None, *stages(change, head.releases)]
            positions.append(Position(change, ways[data.draw(st.integers(0, len(ways) - 1))]))
        return effective(promoted, positions, head, Floor(AT))

    before, after = anywhere(), anywhere()
    found = walk(before, after)
    assert same(found[-1], after)
    there = {node.id for node in before.nodes()} & {node.id for node in after.nodes()}
    for callee, caller, said in itertools.product(after.nodes(), NAMES, REQUESTS):
        if callee.id in there and allows(before, callee, caller, said) and allows(after, callee, caller, said):
            assert all(allows(step, callee, caller, said) for step in found)


@settings(max_examples=60)
@given(promoted=meshes(), head=meshes())
def test_nobody_has_a_route_to_a_proxy_that_denies_what_his_own_side_allows(promoted: Mesh, head: Mesh) -> None:
    found = walk(rest(promoted), rest(head))
    for earlier, later in itertools.pairwise(found):
        # While a barrier is passed, any caller may be on either side of it, and any callee too.
        for calling, called in itertools.product((earlier, later), repeat=2):
            callees = {node.id: node for node in called.nodes()}
            for caller in calling.nodes():
                mesh = calling.mesh_for(caller)
                for service, said in itertools.product(routed(calling, caller), REQUESTS):
                    if service.name == caller.service:
                        continue
                    own = Request(spiffe_id("test.example", caller.service), service.name, *said)
                    if not Index.build(mesh).decide(own, AT).allow:
                        continue
                    for callee in callees.values():
                        if callee.service == service.name:
                            assert allows(called, callee, caller.service, said)


@settings(max_examples=100)
@given(promoted=meshes(), head=meshes())
def test_routes_lead_to_versions_that_exist_on_proxies_that_are_configured(promoted: Mesh, head: Mesh) -> None:
    found = walk(rest(promoted), rest(head))
    for earlier, later in itertools.pairwise(found):
        ready, kept = ({node.id for node in step.nodes()} for step in (earlier, later))
        for step, configured in ((later, ready), (earlier, kept)):
            for caller in step.nodes():
                for service in routed(step, caller):
                    names = {version.name for version in service.versions}
                    assert set(service.split.versions) <= names
                    if service.name != caller.service:
                        called = {Node(service.name, v.name, e).id for v in service.versions for e in v.endpoints}
                        assert called <= configured


@given(promoted=meshes(), head=meshes())
def test_a_changed_port_is_open_wherever_a_caller_may_look_for_it(promoted: Mesh, head: Mesh) -> None:
    head = replace(head, settings=replace(head.settings, inbound_port=15_007))
    found = walk(rest(promoted), rest(head))
    assert found[-1].common.also_inbound == ()
    for earlier, later in itertools.pairwise(found):
        for calling, called in itertools.product((earlier, later), repeat=2):
            asked = {calling.mesh_for(node).settings.inbound_port for node in calling.nodes()}
            for callee in called.nodes():
                mesh = called.mesh_for(callee)
                if callee.id in {node.id for node in calling.nodes()}:
                    assert asked <= {mesh.settings.inbound_port, *mesh.also_inbound}


@given(mesh=meshes())
def test_no_step_where_nothing_changes(mesh: Mesh) -> None:
    again = build.mesh(list(mesh.services.values()), list(mesh.access.values()))
    assert steps(rest(mesh), rest(again)) == ()


def counts(before: Effective, after: Effective) -> list[dict[str, int]]:
    """For each step, how many rules `a` has at its own proxies, and how many `b` sees."""
    return [
        {node.service.name: len(step.mesh_for(node).access[NAMES[0]].rules) for node in step.nodes()}
        for step in steps(before, after)
    ]


def test_widening_opens_the_callee_first_and_narrowing_closes_it_last() -> None:
    services = [build.service("a", {"v1": ["10.0.0.1"]}), build.service("b", {"v1": ["10.0.0.2"]})]
    closed = rest(build.mesh(services))
    opened = rest(build.mesh(services, [build.access("a", build.rule("r", ["b"]))]))
    assert counts(closed, opened) == [{"a": 1, "b": 0}, {"a": 1, "b": 1}]
    assert counts(opened, closed) == [{"a": 1, "b": 0}, {"a": 0, "b": 0}]


def test_weights_move_in_one_step() -> None:
    service = build.service("a", {"v1": ["10.0.0.1"], "v2": ["10.0.0.2"]})
    moved = replace(service, split=Split((("v1", 5_000), ("v2", 5_000))))
    before, after = rest(build.mesh([service])), rest(build.mesh([moved]))
    assert steps(before, after) == (after,)


def test_nothing_that_has_expired_comes_back_on_the_way() -> None:
    service = build.service("a", {"v1": ["10.0.0.1"]})
    until = AT + timedelta(hours=1)
    rule = build.rule("over", ["b"], expires=until)
    mesh = build.mesh([service], [build.access("a", rule)])
    other = build.mesh([service], [build.access("a", rule, build.rule("new", ["c"]))])
    for step in steps(rest(mesh), effective(other, [], other, Floor(until))):
        assert all(
            [each.name.name for each in step.mesh_for(node).access[NAMES[0]].rules] == ["new"]
            for node in step.nodes()
        )


def test_a_changed_rule_stands_beside_its_former_self() -> None:
    old = build.access("a", build.rule("r", ["b"], "GET /x"), build.rule("same", ["b"]))
    new = build.access("a", build.rule("r", ["b"], "GET /y"), build.rule("same", ["b"]))
    both = union(old, new, AT)
    assert [rule.name.name for rule in both.rules] == ["r", "r~old", "same"]
    assert union(both, new, AT) == union(new, both, AT) == both
    newest = build.access("a", build.rule("r", ["b"], "GET /z"))
    assert [rule.name.name for rule in union(both, newest, AT).rules] == ["r", "r~old", "r~old~old", "same"]


def has(before: Effective, after: Effective) -> list[list[str]]:
    """What `a` is told to allow on the way, each time that it is told something else."""
    (node,) = (node for node in after.nodes() if node.service == NAMES[0])
    told = [
        [str(permit.paths[0]) for rule in step.mesh_for(node).access[NAMES[0]].rules for permit in rule.permits]
        for step in walk(before, after)
    ]
    return [said for said, _ in itertools.groupby(told)]


def test_a_rule_that_is_narrowed_or_widened_is_told_once() -> None:
    services = [build.service("a", {"v1": ["10.0.0.1"]}), build.service("b", {"v1": ["10.0.0.2"]})]

    def allowing(*permits: str) -> Effective:
        return rest(build.mesh(services, [build.access("a", build.rule("r", ["b"], *permits))]))

    wide, narrow, other = allowing("GET,POST /v1/**"), allowing("GET /v1/items/{id}"), allowing("GET /v2")
    assert has(wide, narrow) == [["/v1/**"], ["/v1/items/{any}"]]
    assert has(narrow, wide) == [["/v1/items/{any}"], ["/v1/**"]]
    # Where neither covers the other, it opens before it closes.
    assert has(narrow, other) == [["/v1/items/{any}"], ["/v2", "/v1/items/{any}"], ["/v2"]]


@given(old=rules, new=rules)
def test_the_union_of_two_rules_allows_what_either_allows_and_nothing_else(old: Rule, new: Rule) -> None:
    services = [build.service(name.name, {"v1": ["10.0.0.1"]}) for name in NAMES]
    old, new = replace(old, name=NAMES[0]), replace(new, name=NAMES[0])

    def allowed(access: Access) -> set[tuple[Name, str, str]]:
        index = Index.build(build.mesh(services, [access]))
        asked = [(name, *said) for name in NAMES for said in REQUESTS]
        return {
            each
            for each in asked
            if index.decide(Request(spiffe_id("test.example", each[0]), NAMES[0], *each[1:]), AT).allow
        }

    one, other = build.access("a", old), build.access("a", new)
    both = union(one, other, AT)
    assert allowed(both) == allowed(one) | allowed(other)
    if new.covers(old):
        assert allowed(one) <= allowed(other)
        assert both.rules == (new,)


def test_a_narrower_rule_in_another_mode_or_for_longer_is_covered_by_nothing() -> None:
    wide = build.rule("r", ["b"])
    until = replace(wide, expires=AT + timedelta(hours=1))
    assert wide.covers(until)
    assert not until.covers(wide)
    assert not wide.covers(replace(wide, mode=Mode.OBSERVE))
    assert not wide.covers(replace(wide, sources=(*wide.sources, build.source("c"))))
