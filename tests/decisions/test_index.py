"""Decisions: what the index answers, why, and how many rules it looks at for that."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from policyd.decisions import (
    NO_TOKEN,
    Cause,
    Decision,
    Destination,
    Index,
    Obstacle,
    Outcome,
    Request,
    Token,
    TokenState,
    Would,
)
from policyd.model.access import Access, Mode, Rule, Source
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name, spiffe_id
from policyd.model.tokens import Issuer, TokenCondition
from policyd.testing import build

AT = datetime(2027, 1, 1, tzinfo=UTC)
DOMAIN = "test.example"
WEB = spiffe_id(DOMAIN, Name.parse("web"))


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


# --- addresses, tokens, ports, revocations, what is observed ------------------------------------------------------

ISSUER = "https://login.example/"
SETTINGS = Settings("test", DOMAIN, issuers=(Issuer("login", ISSUER),))
ADMIN = TokenCondition("login", (("role", ("admin", "ops")),))
PAYMENTS = Name.parse("payments")


def closed(*rules: Rule, revoked: tuple[str, ...] = ()) -> Mesh:
    services = [build.service("web", {"v1": ["10.0.0.1"]}), build.service("payments", {"v1": ["10.0.0.3"]})]
    ordered = tuple(sorted(rules, key=lambda rule: rule.name))
    return build.mesh(services, [Access(PAYMENTS, ordered, revoked)], settings=SETTINGS)


def request(**more: Any) -> Request:
    return Request(**{"source": WEB, "destination": PAYMENTS, "method": "GET", "path": "/a", **more})


def decide(mesh: Mesh, at: datetime = AT, **more: Any) -> Decision:
    return Index.build(mesh).decide(request(**more), at)


@pytest.mark.parametrize(
    ("ip", "allow"),
    [
        ("10.1.2.3", True), ("10.255.255.255", True), ("11.0.0.0", False), ("9.255.255.255", False), ("", False),
        ("::ffff:10.0.0.0", True), ("::ffff:a01:203", True), ("2001:db8::1", True), ("2001:db9::", False),
        ("10.1.2", False), ("010.1.2.3", False), ("10.1.2.3 ", False), ("2001:db8::1%eth0", False), ("no", False),
    ],
)  # fmt: skip
def test_a_block_of_addresses_holds_the_direct_peer(ip: str, allow: bool) -> None:
    source = Source(services=(Name.parse("web"),), ip_blocks=("10.0.0.0/8", "2001:db8::/32"))
    decision = decide(closed(replace(build.rule("r", ["web"], "GET /a"), sources=(source,))), ip=ip)
    assert decision.allow is allow
    if not allow:
        assert decision.reasons[1].obstacle is Obstacle.ADDRESS
        assert "only from `web` at `10.0.0.0/8` or `2001:db8::/32`" in decision.reasons[1].text


@pytest.mark.parametrize(
    ("source", "allow"),
    [
        (WEB, True), ("spiffe://partner.example/x", True), ("spiffe://partner.example", False), ("web", False),
        ("", False), ("spiffe://", False), ("spiffe:///x", False), ("https://partner.example/x", False),
    ],
)  # fmt: skip
def test_a_source_of_addresses_alone_means_every_verified_identity(source: str, allow: bool) -> None:
    rule = replace(build.rule("r", ["web"], "GET /a"), sources=(Source(ip_blocks=("10.0.0.0/8",)),))
    assert decide(closed(rule), source=source, ip="10.0.0.9").allow is allow
    assert not decide(closed(rule), source=source, ip="192.0.2.1").allow


def test_two_sources_name_a_caller_from_wherever_one_of_them_does() -> None:
    web = Name.parse("web")
    here, there = (Source(services=(web,), ip_blocks=(block,)) for block in ("10.0.0.0/9", "10.128.0.0/9"))
    both = closed(replace(build.rule("r", ["web"], "GET /a"), sources=(here, there)))
    assert [decide(both, ip=ip).allow for ip in ("10.0.0.1", "10.200.0.1", "11.0.0.1")] == [True, True, False]
    anywhere = closed(replace(build.rule("r", ["web"], "GET /a"), sources=(here, Source(services=(web,)))))
    assert decide(anywhere, ip="192.0.2.1").allow


@pytest.mark.parametrize(
    ("token", "cause", "words"),
    [
        (NO_TOKEN, Cause.TOKEN_NEEDED, "there is no valid one"),
        (Token(TokenState.INVALID, ISSUER, {"role": "admin"}), Cause.TOKEN_NEEDED, "is not valid"),
        (Token(TokenState.VALID, ISSUER, {"role": "admin"}), Cause.ALLOWED, ""),
        (Token(TokenState.VALID, ISSUER, {"role": ["dev", "ops"]}), Cause.ALLOWED, ""),
        (Token(TokenState.VALID, ISSUER, {"role": "dev"}), Cause.NO_RULE, "says otherwise"),
        (Token(TokenState.VALID, ISSUER, {"role": {"admin": 1}}), Cause.NO_RULE, "says otherwise"),
        (Token(TokenState.VALID, ISSUER, {"role": [["admin"], 1]}), Cause.NO_RULE, "says otherwise"),
        (Token(TokenState.VALID, ISSUER), Cause.NO_RULE, "says otherwise"),
        (Token(TokenState.VALID, "login", {"role": "admin"}), Cause.NO_RULE, "is of `login`"),
    ],
)
def test_a_rule_may_ask_for_a_token(token: Token, cause: Cause, words: str) -> None:
    decision = decide(closed(replace(build.rule("r", ["web"], "GET /a"), token=ADMIN)), token=token)
    assert (decision.cause, decision.status) == (cause, {Cause.ALLOWED: 200, Cause.NO_RULE: 403}.get(cause, 401))
    if not decision.allow:
        assert decision.reasons[1].obstacle is Obstacle.TOKEN
        assert decision.reasons[1].text.startswith(
            "rule `r` asks for a token of `login` with `role` `admin` or `ops`"
        )
        assert words in decision.reasons[1].text


def test_401_is_for_a_rule_that_lacks_nothing_but_a_token_and_decides() -> None:
    """One that has ended, only observes, means others or another address would say no to the best of tokens."""
    asks = replace(build.rule("r", ["web"], "GET /a"), token=ADMIN)
    away = Source(services=(Name.parse("web"),), ip_blocks=("10.0.0.0/8",))
    for rule in (
        replace(asks, expires=AT),
        replace(asks, mode=Mode.OBSERVE),
        replace(asks, sources=(Source(services=(Name.parse("other"),)),)),
        replace(asks, sources=(away,)),
        replace(asks, permits=build.rule("x", [], "POST /a").permits),
    ):
        assert decide(closed(rule)).status == 403
    assert decide(closed(asks, build.rule("z", ["web"], "GET /a"))).allow


def test_an_issuer_that_the_mesh_does_not_know_is_nobody() -> None:
    rule = replace(build.rule("r", ["web"], "GET /a"), token=TokenCondition("gone"))
    assert not decide(closed(rule), token=Token(TokenState.VALID, "", {})).allow
    assert not decide(closed(rule), token=Token(TokenState.VALID, "gone", {})).allow


def test_a_service_has_one_port() -> None:
    mesh = closed(build.rule("r", ["web"], "GET /a"))
    assert [decide(mesh, port=port).cause for port in (None, build.PORT)] == [Cause.ALLOWED, Cause.ALLOWED]
    wrong = decide(mesh, port=9_090)
    assert (wrong.cause, wrong.status) == (Cause.UNKNOWN_PORT, 403)
    assert str(wrong.reasons[0]) == "`payments` has no port 9090: its port is 8080"


def test_a_permit_for_another_port_allows_nothing() -> None:
    (permit,) = build.rule("r", [], "GET /a").permits
    rule = build.rule("r", ["web"], "GET /a")
    assert decide(closed(replace(rule, permits=(replace(permit, ports=(build.PORT, 9_090)),)))).allow
    decision = decide(closed(replace(rule, permits=(replace(permit, ports=(9_090,)),))))
    assert decision.reasons[1].obstacle is Obstacle.PORT
    assert "at port `9090`" in decision.reasons[1].text


def test_who_is_revoked_is_refused_whatever_the_rules_say() -> None:
    decision = decide(closed(build.rule("r", ["*"]), revoked=(WEB,)))
    assert (decision.cause, decision.status, decision.would) == (Cause.REVOKED, 403, None)
    assert str(decision.reasons[0]) == "`web` is revoked: it may not call `payments`, whatever the rules say"
    assert decide(closed(build.rule("r", ["*"]), revoked=(WEB + "x",))).allow


def test_an_observed_rule_would_allow() -> None:
    mesh = closed(build.rule("b", ["web"], "GET /a", mode=Mode.OBSERVE), build.rule("a", ["web"], "GET /b"))
    decision = decide(mesh)
    assert (decision.allow, decision.would, decision.observer) == (False, Would.ALLOW, Name.parse("b"))
    assert decide(mesh, path="/b").would is None
    assert decide(mesh, path="/c").would is None


def test_an_observed_rule_that_stands_for_another_would_deny() -> None:
    wide = build.rule("wide", ["*"], "* /**")
    narrow = replace(build.rule("narrow", ["web"], "GET /a", mode=Mode.OBSERVE), replaces=(wide.name,))
    mesh = closed(wide, narrow)
    assert decide(mesh).would is None
    decision = decide(mesh, path="/b")
    assert (decision.allow, decision.rule, decision.would) == (True, wide.name, Would.DENY)
    assert decision.observer == narrow.name
    assert str(decision.reasons[1]) == "rule `narrow`, observed in place of `wide`, would deny it"
    over = closed(wide, replace(narrow, expires=AT))
    assert decide(over, path="/b").would is None, "what has ended stands for nothing any more"
    other = replace(narrow, name=Name("default", "other"))
    both = decide(closed(wide, replace(narrow, expires=AT), other), path="/b")
    assert (both.would, both.observer) == (Would.DENY, other.name)


# --- what it costs, in rules looked at ----------------------------------------------------------------------------


def looked_at(mesh: Mesh, source: str, path: str) -> int:
    destination = Index.build(mesh).destinations[PAYMENTS]
    return len(destination.candidates(destination.naming(source), path))


@pytest.mark.parametrize("count", [10, 1_000])
def test_few_rules_are_looked_at_however_many_there_are(count: int) -> None:
    own = [build.rule(f"own-{number}", ["web"], f"GET /v1/{number}") for number in range(count)]
    others = [build.rule(f"other-{number}", [f"svc-{number}"], "GET /v1/7") for number in range(count)]
    mesh = closed(*own, *others, build.rule("pattern", ["web"], "GET /v2/{id}"), build.rule("all", ["ops"], "* /**"))
    assert looked_at(mesh, WEB, "/v1/7") == 2  # the one that names the path, and the one with a pattern
    assert looked_at(mesh, spiffe_id(DOMAIN, Name.parse("svc-3")), "/v1/7") == 1
    assert looked_at(mesh, WEB, "/elsewhere") == 1
    assert looked_at(mesh, spiffe_id(DOMAIN, Name.parse("nobody")), "/v1/7") == 0


def test_reasons_are_worked_out_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    mesh, seen = closed(build.rule("r", ["web"], "GET /b")), 0
    count = Destination.obstacle

    def counted(self: Destination, *rest: Any) -> Obstacle | None:
        nonlocal seen
        seen += 1
        return count(self, *rest)

    monkeypatch.setattr(Destination, "obstacle", counted)
    decision = decide(mesh)
    assert seen == 0
    assert decision.reasons[1].obstacle is Obstacle.PATH
    assert seen == 1


def test_another_address_of_an_issuer_or_another_port_is_indexed_anew() -> None:
    plain, asks = build.rule("r", ["web"]), replace(build.rule("r", ["web"]), token=ADMIN)
    for rule, kept in ((plain, True), (asks, False)):
        index = Index.build(closed(rule))
        moved = replace(closed(rule), settings=replace(SETTINGS, issuers=(Issuer("login", "https://new.example"),)))
        assert (Index.build(moved, index).destinations[PAYMENTS] is index.destinations[PAYMENTS]) is kept
    mesh = closed(plain)
    index = Index.build(mesh)
    other = {**mesh.services, PAYMENTS: replace(mesh.services[PAYMENTS], port=9_090)}
    assert Index.build(replace(mesh, services=other), index).destinations[PAYMENTS].port == 9_090
