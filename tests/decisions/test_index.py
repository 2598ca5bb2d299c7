"""Decisions: what the index answers, and why; hypothesis compares it with the rules read word for word."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.decisions import Decision, Index, Obstacle, Outcome, Request
from policyd.model.access import ANY_METHOD, Access, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh
from policyd.model.methods import METHODS
from policyd.model.names import Name, spiffe_id
from policyd.model.paths import PathPattern, is_canonical_path
from policyd.testing import build

AT = datetime(2027, 1, 1, tzinfo=UTC)
DOMAIN = "test.example"


def shop(*rules: Rule, opaque_paths: bool = False) -> Mesh:
    services = [
        build.service("web", {"v1": ["10.0.0.1"]}),
        build.service("ops/probe", {"v1": ["10.0.0.2"]}),
        build.service("payments", {"v1": ["10.0.0.3"]}, opaque_paths=opaque_paths),
    ]
    return build.mesh(services, [build.access("payments", *rules)])


def ask(mesh: Mesh, said: str, *, source: str = "web", at: datetime = AT, host: str = "") -> Decision:
    method, _, path = said.partition(" ")
    identity = source if source.startswith("spiffe:") else spiffe_id(DOMAIN, Name.parse(source))
    return Index.build(mesh).decide(Request(identity, Name.parse("payments"), method, path, host), at)


def test_the_first_rule_by_name_that_allows_is_named() -> None:
    mesh = shop(build.rule("b", ["web"], "GET /v1/{id}"), build.rule("a", ["web"], "GET /v1/**"))
    decision = ask(mesh, "GET /v1/charges?limit=3")
    assert (decision.allow, decision.rule) == (True, Name.parse("a"))
    assert str(decision.reasons[0]) == "rule `a` allows `web` to `GET /v1/charges` on `payments`"


@pytest.mark.parametrize(
    ("rule", "said", "obstacle", "words"),
    [
        (build.rule("r", ["web"], "GET,HEAD /a"), "POST /a", Obstacle.METHOD, "allows `GET`, `HEAD` on this path"),
        (build.rule("r", ["web"], "GET /a/{id}"), "GET /b", Obstacle.PATH, "allows other paths: `/a/{any}`"),
        (build.rule("r", ["ops/probe"], "GET /a"), "GET /a", Obstacle.SOURCE, "only from `ops/probe`"),
        (
            build.rule("r", ["web"], "GET /a", expires=AT),
            "GET /a",
            Obstacle.EXPIRED,
            "allowed it until 2027-01-01T00:00:00Z",
        ),
        (build.rule("r", ["web"], "GET /a", mode=Mode.OBSERVE), "GET /a", Obstacle.OBSERVES, "it only observes"),
    ],
)
def test_a_denial_names_the_nearest_rule_and_what_failed(
    rule: Rule, said: str, obstacle: Obstacle, words: str
) -> None:
    decision = ask(shop(rule), said)
    assert decision.outcome is Outcome.DENY
    assert decision.reasons[1].obstacle is obstacle
    assert words in decision.reasons[1].text


def test_the_nearest_rule_comes_first() -> None:
    mesh = shop(
        build.rule("other-path", ["web"], "GET /b"),
        build.rule("other-caller", ["ops/probe"], "GET /a"),
        build.rule("other-method", ["web"], "POST /a"),
        build.rule("over", ["web"], "GET /a", expires=AT - timedelta(days=1)),
    )
    named = [reason.rule.name for reason in ask(mesh, "GET /a").reasons if reason.rule is not None]
    assert named == ["over", "other-method", "other-caller"]


def test_a_rule_holds_until_the_instant_it_expires() -> None:
    mesh = shop(build.rule("r", ["web"], "GET /a", expires=AT))
    assert ask(mesh, "GET /a", at=AT - timedelta(microseconds=1)).allow
    assert not ask(mesh, "GET /a", at=AT).allow


def test_a_service_without_rules_and_one_that_is_unknown_are_denied() -> None:
    mesh = shop()
    assert str(ask(mesh, "GET /").reasons[1]) == "nobody may call `payments`: it has no rules"
    unknown = Index.build(mesh).decide(Request("spiffe://x/y", Name.parse("nowhere"), "GET", "/"), AT)
    assert (unknown.outcome, str(unknown.reasons[0])) == (Outcome.DENY, "there is no service `nowhere`")


@pytest.mark.parametrize("said", ["GET //a", "GET /a/../b", "GET /%2f", "GET /a%61", "get /a", "TRACE /a", "GET a"])
def test_what_is_not_canonical_is_rejected_before_any_rule(said: str) -> None:
    assert ask(shop(build.rule("all", ["*"])), said).outcome is Outcome.REJECT


@pytest.mark.parametrize(
    ("host", "good"),
    [("payments", True), ("PAYMENTS.:8080", True), ("[::1]:80", True), ("a@payments", False), ("a b", False)],
)
def test_hosts(host: str, good: bool) -> None:
    assert ask(shop(build.rule("all", ["*"])), "GET /a", host=host).allow is good


def test_opaque_paths_are_not_judged() -> None:
    assert ask(shop(build.rule("all", ["web"]), opaque_paths=True), "GET /a%2Fb//c").allow


def test_only_changed_destinations_are_indexed_anew() -> None:
    before = shop(build.rule("r", ["web"]))
    after = shop(build.rule("r", ["web"]), build.rule("s", ["ops/probe"]))
    index = Index.build(before)
    fresh = Index.build(after, index)
    kept = {name for name, value in fresh.destinations.items() if value is index.destinations[name]}
    assert kept == {Name.parse("web"), Name("ops", "probe")}


# --- against the rules read word for word -------------------------------------------------------------------------

SEGMENTS = ["v1", "charges", "7", "%20"]
SERVICES = [Name("default", "web"), Name("ops", "probe"), Name("default", "payments")]
IDENTITIES = [spiffe_id(DOMAIN, name) for name in SERVICES] + [
    "spiffe://partner.example/ns/ops/svc/probe",
    f"spiffe://{DOMAIN}/ns/ops/svc/probe/deeper",
    f"spiffe://{DOMAIN}/agent",
    f"spiffe://{DOMAIN}.evil/ns/ops/svc/probe",
]

paths = st.lists(st.sampled_from(SEGMENTS), max_size=3).map(lambda parts: "/" + "/".join(parts))
patterns = st.builds(
    lambda parts, rest: PathPattern(tuple(parts) if parts or rest else ("",), rest),
    st.lists(st.sampled_from([*SEGMENTS, None]), max_size=3),
    st.booleans(),
)
sources = st.builds(
    Source,
    services=st.lists(st.sampled_from(SERVICES), max_size=2).map(tuple),
    namespaces=st.lists(st.sampled_from(["ops", "default", "elsewhere"]), max_size=1).map(tuple),
    identities=st.lists(st.sampled_from(IDENTITIES), max_size=2).map(tuple),
    anyone=st.booleans(),
)
permits = st.builds(
    Permit,
    methods=st.lists(st.sampled_from([*METHODS, ANY_METHOD]), min_size=1, max_size=2).map(tuple),
    paths=st.lists(patterns, min_size=1, max_size=2).map(tuple),
)
rules = st.builds(
    Rule,
    name=st.integers(0, 9).map(lambda number: Name("default", f"r{number}")),
    sources=st.lists(sources, min_size=1, max_size=2).map(tuple),
    permits=st.lists(permits, min_size=1, max_size=2).map(tuple),
    mode=st.sampled_from(Mode),
    expires=st.sampled_from([None, AT, AT + timedelta(seconds=1)]),
)


def fits_source(source: Source, identity: str) -> bool:
    def namespace(name: str) -> bool:
        return identity.startswith(f"spiffe://{DOMAIN}/ns/{name}/svc/")

    fields = []
    if source.services:
        fields.append(any(identity == spiffe_id(DOMAIN, service) for service in source.services))
    if source.namespaces:
        fields.append(any(namespace(name) for name in source.namespaces))
    if source.identities:
        fields.append(identity in source.identities)
    if source.anyone:
        fields.append(identity.startswith(f"spiffe://{DOMAIN}/"))
    return bool(fields) and all(fields)


def allows(rule: Rule, identity: str, method: str, path: str) -> bool:
    return (
        rule.mode is Mode.ENFORCE
        and rule.in_force(AT)
        and any(fits_source(source, identity) for source in rule.sources)
        and any(
            (method in permit.methods or ANY_METHOD in permit.methods) and any(p.matches(path) for p in permit.paths)
            for permit in rule.permits
        )
    )


@given(
    said=st.lists(rules, max_size=4, unique_by=lambda rule: rule.name),
    identity=st.sampled_from(IDENTITIES),
    method=st.sampled_from(METHODS),
    path=paths,
)
def test_the_index_says_what_the_rules_say(said: list[Rule], identity: str, method: str, path: str) -> None:
    ordered = tuple(sorted(said, key=lambda rule: rule.name))
    mesh = build.mesh([build.service("payments", {"v1": ["10.0.0.3"]})], [Access(Name.parse("payments"), ordered)])
    decision = Index.build(mesh).decide(Request(identity, Name.parse("payments"), method, path), AT)
    assert is_canonical_path(path)
    expected = next((rule.name for rule in ordered if allows(rule, identity, method, path)), None)
    assert (decision.allow, decision.rule) == (expected is not None, expected)
    assert decision.reasons
    for reason in decision.reasons:
        if reason.obstacle is Obstacle.SOURCE:
            rule = next(each for each in ordered if each.name == reason.rule)
            assert not any(fits_source(source, identity) for source in rule.sources)
