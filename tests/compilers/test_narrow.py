"""A compiler never says more than the rules do: what it does not understand, it leaves out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.base.diagnostics import Severity
from policyd.compiler import registry
from policyd.compiler.artifact import Compiled
from policyd.compiler.callers import VERIFIED, callers
from policyd.compiler.conditions import ADDRESS, EXPIRY, PORT, TOKEN, WORDS, conditions
from policyd.compiler.memo import Memo
from policyd.compiler.rules import RuleSets, understands
from policyd.model.access import Access, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import nodes
from policyd.model.tokens import TokenCondition
from policyd.testing.build import access, mesh
from tests.compilers.generated import RULES
from tests.compilers.meshes import PAYMENTS, WEB, rule, service

TARGETS = ("envoy", "haproxy")
WHOLE = rule(PAYMENTS)
ENDS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
SERVICE = service(PAYMENTS, v1=["10.0.1.1"])


@dataclass(frozen=True, slots=True)
class LaterSource(Source):
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LaterPermit(Permit):
    hours: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class LaterRule(Rule):
    approval: str = ""


def later_source(said: bool) -> Rule:
    return replace(WHOLE, sources=(LaterSource(services=(WEB,), devices=("laptop",) if said else ()),))


def later_permit(said: bool) -> Rule:
    (permit,) = WHOLE.permits
    return replace(WHOLE, permits=(permit, LaterPermit(permit.methods, permit.paths, hours=(9, 17) if said else ())))


def later_rule(said: bool) -> Rule:
    return LaterRule(WHOLE.name, WHOLE.sources, WHOLE.permits, approval="of the other one" if said else "")


LATER = [later_source, later_permit, later_rule]


def compiled(target: str, *rules: Rule) -> Compiled:
    made = of(*rules)
    return registry.load(target).compile(made, next(nodes(made)), Memo())


def of(*rules: Rule) -> Mesh:
    return mesh([SERVICE], [access(str(PAYMENTS), *rules)])


@pytest.mark.parametrize("make", LATER)
@pytest.mark.parametrize("target", TARGETS)
def test_a_condition_that_is_not_known_yet_leaves_the_rule_out(target: str, make: Callable[[bool], Rule]) -> None:
    """A field that comes to the model is refused by every compiler until it has learnt it."""
    other = rule(PAYMENTS, methods=("GET",), paths=("/x",), name="z")
    without, with_it = compiled(target, other), compiled(target, make(True), other)
    assert [one.body for one in with_it.artifacts] == [one.body for one in without.artifacts]
    (loss,) = [one for one in with_it.losses if one.code == "PD1308"]
    assert loss.severity is Severity.ERROR
    assert loss.about.name == WHOLE.name
    assert "allows nothing" in loss.message
    assert compiled(target, make(False), other).artifacts != without.artifacts


@pytest.mark.parametrize("target", TARGETS)
def test_an_observed_rule_that_is_not_understood_replaces_nothing(target: str) -> None:
    watched = replace(later_rule(True), name=Name("pay", "watch"), mode=Mode.OBSERVE, replaces=(WHOLE.name,))
    got = compiled(target, WHOLE, watched)
    assert [one.body for one in got.artifacts] == [one.body for one in compiled(target, WHOLE).artifacts]
    assert [(one.code, one.severity) for one in got.losses if one.code == "PD1308"] == [("PD1308", Severity.WARNING)]


def test_a_token_is_lost_where_a_proxy_believes_none() -> None:
    asking = replace(WHOLE, token=TokenCondition("people"))
    (loss,) = [one for one in compiled("haproxy", asking).losses if one.code == "PD1308"]
    assert "`jwt`" in loss.message
    assert "haproxy" in loss.message
    assert not [one for one in compiled("envoy", asking).losses if one.code == "PD1308"]


def test_every_condition_of_the_model_has_a_word_and_a_target() -> None:
    said = {f"sources.{field.name}" for field in dataclasses.fields(Source)}
    said |= {f"permits.{field.name}" for field in dataclasses.fields(Permit)}
    said |= {field.name for field in dataclasses.fields(Rule)}
    assert {ADDRESS, PORT, EXPIRY, TOKEN} == set(WORDS)
    assert set(WORDS) <= said
    assert registry.load("envoy").capabilities.conditions == frozenset(WORDS)


@given(st.lists(RULES, max_size=3, unique_by=lambda each: each.name), st.sets(st.sampled_from(sorted(WORDS))))
def test_only_what_is_understood_whole_is_judged(rules: list[Rule], says: set[str]) -> None:
    made = Access(PAYMENTS, tuple(sorted(rules, key=lambda each: each.name)))
    sets = RuleSets.of(made, SERVICE, says)
    by_name = {each.name: each for each in rules}
    for judged in (*sets.enforced, *sets.added):
        whole = by_name[judged.rule.name]
        assert conditions(whole) <= says
        assert replace(judged.rule, permits=whole.permits) == whole
        reached = [permit for permit in whole.permits if reaches(permit)]
        assert [(p.methods, p.paths) for p in judged.rule.permits] == [(p.methods, p.paths) for p in reached]
    assert {each.rule.name for each in sets.enforced} <= {each.name for each in rules if each.mode is Mode.ENFORCE}
    judged_rules = {each.rule.name for each in (*sets.enforced, *sets.added)}
    empty = {each.name for each in rules if not any(reaches(permit) for permit in each.permits)}
    assert not judged_rules & empty
    if all(understands(says, each) for each in rules):
        for at in (*ENDS, *(each.expires for each in rules if each.expires is not None)):
            would_be = {each.rule.name for each in sets.would_be if each.again is None or each.again <= at}
            assert would_be <= {each.name for each in made.would_be(at)}
            assert would_be >= {each.name for each in made.would_be(at) if each.in_force(at)} - empty


def reaches(permit: Permit) -> bool:
    """Whether it lets requests in to `SERVICE`, which takes no connections."""
    return not permit.connections and (not permit.ports or SERVICE.port in permit.ports)


def test_sources_lend_each_other_nothing() -> None:
    here, there = ("10.0.0.0/8",), ("192.0.2.0/24",)
    sources = (
        Source(services=(WEB,), ip_blocks=here),
        Source(namespaces=("ops",), ip_blocks=there),
        Source(identities=("spiffe://partner.example/a",)),
        Source(ip_blocks=there),
        Source(),
        Source(services=(WEB,), namespaces=("ops",), ip_blocks=here),
    )
    found = {each.blocks: (each.exact, each.prefixes) for each in callers(rule(PAYMENTS, sources), "shop.example")}
    assert found == {
        (): (frozenset({"spiffe://partner.example/a"}), frozenset()),
        here: (frozenset({"spiffe://shop.example/ns/shop/svc/web"}), frozenset()),
        there: (frozenset(), frozenset({"spiffe://shop.example/ns/ops/svc/", VERIFIED})),
    }
