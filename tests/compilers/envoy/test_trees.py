"""The trees of rules as values: every allow stands behind all that its rule asks for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from envoy.config.rbac.v3 import rbac_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as filter_pb2
from envoy.extensions.matching.input_matchers.ip.v3 import ip_pb2
from hypothesis import given
from hypothesis import strategies as st

from policyd.compiler.addresses import Blocks
from policyd.compiler.artifact import Artifact
from policyd.compiler.callers import callers
from policyd.compiler.memo import Memo
from policyd.compiler.naming import cluster_name
from policyd.compiler.protocol import Narrows
from policyd.compiler.rules import NO_VALID_TOKEN, RuleSets
from policyd.model.access import Access, Mode, Rule, Source
from policyd.model.mesh import Mesh
from policyd.model.node import nodes
from policyd_compilers.envoy import COMPILER, rbac
from policyd_compilers.envoy.proto import CLUSTER, LISTENER, ROUTES
from policyd_compilers.envoy.render import parse
from tests.compilers.envoy.people import People
from tests.compilers.generated import RULES
from tests.compilers.meshes import PAYMENTS, SETTINGS, WEB, mesh, rule, service

SERVICE = service(PAYMENTS, v1=["10.0.1.1"])
SETTINGS_WITH_PEOPLE = replace(SETTINGS, issuers=(People().issuer,))
WEB_ID, GONE = "spiffe://shop.example/ns/shop/svc/web", "spiffe://partner.example/gone"
SOME_RULES = st.lists(RULES, min_size=1, max_size=2, unique_by=lambda each: each.name)
SETS_OF_RULES = st.lists(RULES, max_size=2, unique_by=lambda each: each.name)


def leaves(matcher: Any) -> Iterator[tuple[Any, Any]]:
    """Every action of a matcher with the predicate in front of it, if there is one."""
    for on_match in (
        *matcher.matcher_tree.exact_match_map.map.values(),
        *matcher.matcher_tree.prefix_match_map.map.values(),
    ):
        yield from _of(on_match, None)
    for field in matcher.matcher_list.matchers:
        yield from _of(field.on_match, field.predicate)
    if matcher.HasField("on_no_match"):
        yield from _of(matcher.on_no_match, None)


def _of(on_match: Any, predicate: Any) -> Iterator[tuple[Any, Any]]:
    if on_match.HasField("matcher"):
        yield from leaves(on_match.matcher)
    else:
        action = rbac_pb2.Action()
        assert on_match.action.typed_config.Unpack(action)
        yield action, predicate


def demanded(predicate: Any) -> list[Any]:
    """What all has to hold, none of it negated or one of several."""
    return list(predicate.and_matcher.predicate) if predicate.HasField("and_matcher") else [predicate]


def kinds(predicate: Any) -> list[str]:
    return [
        part.single_predicate.custom_match.typed_config.type_url.rpartition(".")[2] for part in demanded(predicate)
    ]


def ranges(predicate: Any) -> set[str]:
    for part in demanded(predicate):
        found = ip_pb2.Ip()
        if part.single_predicate.custom_match.typed_config.Unpack(found):
            return {f"{each.address_prefix}/{each.prefix_len.value}" for each in found.cidr_ranges}
    return set()


@given(SETS_OF_RULES)
def test_every_allow_stands_behind_all_that_its_rule_asks_for(rules: list[Rule]) -> None:
    made = Access(PAYMENTS, tuple(sorted(rules, key=lambda each: each.name)))
    override = rbac.per_route(SETTINGS_WITH_PEOPLE, SERVICE, made)
    assert override.HasField("rbac")
    sets = RuleSets.of(made, SERVICE, rbac.CONDITIONS)
    by_name = {each.name: each.rule for each in sets.enforced}
    addresses = {
        name: [
            {str(block) for family in (Blocks.of(who.blocks).v4, Blocks.of(who.blocks).v6) for block in family}
            for who in callers(each, SETTINGS.trust_domain)
        ]
        for name, each in by_name.items()
    }
    seen = set()
    for action, predicate in leaves(override.rbac.matcher):
        if action.action != rbac_pb2.RBAC.ALLOW:
            continue
        judged = by_name[action.name]
        assert predicate is not None
        assert ("CelMatcher" in kinds(predicate)) == (judged.expires is not None)
        assert kinds(predicate).count("Ip") == bool(ranges(predicate))
        assert ranges(predicate) in addresses[action.name]
        assert b"envoy.filters.http.jwt_authn" in predicate.SerializeToString() or judged.token is None
        seen.add(action.name)
    reachable = {name for name, each in by_name.items() if callers(each, SETTINGS.trust_domain)}
    assert seen == reachable
    assert all(each.mode is Mode.ENFORCE for each in by_name.values())


@given(SETS_OF_RULES)
def test_a_challenge_stands_where_only_a_token_is_missing(rules: list[Rule]) -> None:
    made = Access(PAYMENTS, tuple(sorted(rules, key=lambda each: each.name)))
    found = {action.name for action, _ in leaves(rbac.per_route(SETTINGS, SERVICE, made).rbac.matcher)}
    enforced = RuleSets.of(made, SERVICE, rbac.CONDITIONS).enforced
    asking = [each for each in enforced if each.rule.token and callers(each.rule, SETTINGS.trust_domain)]
    assert (NO_VALID_TOKEN in found) == bool(asking)


def meshed(rules: list[Rule], *revoked: str) -> Mesh:
    made = mesh([SERVICE], *((PAYMENTS, each) for each in rules), settings=SETTINGS_WITH_PEOPLE)
    return replace(made, access={PAYMENTS: replace(made.access[PAYMENTS], revoked=tuple(sorted(revoked)))})


def inbound(of: Mesh) -> dict[str, Artifact]:
    artifacts = COMPILER.compile(of, next(nodes(of)), Memo()).artifacts
    return {each.kind: each for each in artifacts if each.name in {"inbound", f"inbound/{PAYMENTS}"}}


@given(SOME_RULES, st.sampled_from([(), (GONE,), (WEB_ID,)]))
def test_what_is_closed_later_is_as_closed_as_if_from_the_start(rules: list[Rule], before: tuple[str, ...]) -> None:
    assert isinstance(COMPILER, Narrows)
    revoked = (WEB_ID, GONE)
    old, new = inbound(meshed(rules, *before)), inbound(meshed(rules, *revoked))
    for kind, artifact in old.items():
        closed = COMPILER.narrowed(artifact, revoked)
        assert COMPILER.narrowed(closed, revoked) is closed
        if kind == LISTENER or b"ALLOW" in COMPILER.render(artifact).encode():
            whole = RuleSets.of(meshed(rules).access[PAYMENTS], SERVICE, rbac.CONDITIONS)
            if kind == LISTENER or any(callers(each.rule, SETTINGS.trust_domain) for each in whole.enforced):
                assert _decision(closed, kind) == _decision(new[kind], kind)


def _decision(artifact: Artifact, kind: str) -> object:
    if kind == LISTENER:
        return artifact
    override = filter_pb2.RBACPerRoute()
    (host,) = parse(artifact).virtual_hosts
    assert host.typed_per_filter_config[rbac.FILTER].Unpack(override)
    return override.rbac.matcher


def test_other_artefacts_are_the_very_same() -> None:
    made = mesh([SERVICE, service(WEB, v1=["10.0.2.1"])])
    for node in nodes(made):
        for artifact in COMPILER.compile(made, node, Memo()).artifacts:
            if artifact.kind not in {LISTENER, ROUTES} or "outbound" in artifact.name:
                assert COMPILER.narrowed(artifact, (WEB_ID,)) is artifact
            assert COMPILER.narrowed(artifact, ()) is artifact
            if artifact.kind == ROUTES:  # nobody is let in
                assert COMPILER.narrowed(artifact, (WEB_ID,)) is artifact


def test_networks_are_written_by_family() -> None:
    assert Blocks.of(["::/0"]) == Blocks((), (IPv6Network("::/0"),))
    mapped = Blocks.of(["::ffff:10.0.0.0/104", "fd00::/8"])
    assert mapped == Blocks((IPv4Network("10.0.0.0/8"),), (IPv6Network("fd00::/8"),))


SOME_RULE = rule(PAYMENTS, (Source(services=(WEB,)),))


def test_a_root_that_is_distrusted_renames_what_holds_connections_and_nothing_else() -> None:
    roots = ("ab" * 32, "cd" * 32)
    made = mesh([SERVICE, service(WEB, v1=["10.0.2.1"])], (PAYMENTS, SOME_RULE))
    after = replace(made, settings=replace(made.settings, distrusted=roots))
    for node in nodes(made):
        old, new = ({(a.kind, a.name): a for a in COMPILER.compile(m, node, Memo()).artifacts} for m in (made, after))
        changed = {key for key, artifact in old.items() if artifact != new[key]}
        called = {(CLUSTER, cluster_name(PAYMENTS, "v1"))} if node.service == WEB else set()
        assert changed == {(LISTENER, "inbound"), *called}
        for key, artifact in old.items():
            assert COMPILER.narrowed(artifact, (), roots) == new[key], "what a proxy goes back to is the same"
            assert COMPILER.narrowed(new[key], (), roots) is new[key]
