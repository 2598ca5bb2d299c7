"""What becomes of a request as its caller sends it: rules of a route lead it elsewhere, or answer it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

import pytest

from policyd.decisions import Answer, Index, Request, Said, explained_from_caller, follow, routing
from policyd.model.access import Access, Mode, Rule
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.route import Condition, How, Match, Route, RouteRule, Target
from policyd.model.route_actions import Fault, Redirect, Rewrite
from policyd.model.service import WHOLE
from policyd.testing import build

AT = datetime(2027, 1, 1, tzinfo=UTC)
WEB, OPS = (f"spiffe://test.example/ns/default/svc/{name}" for name in ("web", "ops"))
OLD, NEW = Name.parse("old"), Name.parse("new")
EVERY_OLD = Match((), (PathPattern.parse("/old/**"),))
ALL_OLD = (Target(WHOLE, service=OLD),)
HALF = (Target(WHOLE // 2, service=NEW), Target(WHOLE // 2, service=OLD))
TO_NEW = build.access("new", build.rule("web-new", ["web"], "GET /**"))


def mesh(*rules: RouteRule, access: tuple[Access, ...] = (TO_NEW,)) -> Mesh:
    """`new` with a route, `old`, and two callers of which `web` may `GET` everything of `new`."""
    made = [build.service(name, {"v1": [f"10.0.{number}.1"]}) for number, name in enumerate(("old", "web", "ops"))]
    new = replace(build.service("new", {"v1": ["10.0.9.1"]}), route=Route(NEW, rules))
    return build.mesh([new, *made], access)


def explain(
    mesh: Mesh, path: str = "/a", source: str = WEB, headers: tuple[tuple[str, str], ...] | None = None
) -> Answer:
    index, asked = Index.build(mesh), Request(source, NEW, "GET", path, headers=headers)
    ways = partial(routing, mesh)
    return explained_from_caller(Said(mesh, {}), index, follow(index, mesh, asked, AT), ways, AT)


def test_the_service_that_a_rule_leads_to_judges_by_its_own_rules() -> None:
    rule = RouteRule("moved", targets=ALL_OLD)
    denied = explain(mesh(rule))
    assert (denied.outcome, denied.reasons[0]) == ("deny", "no rule of `old` allows `web` to `GET /a` on `old`")
    both = (TO_NEW, build.access("old", build.rule("web-old", ["web"], "GET /a")))
    allowed = explain(mesh(rule, access=both))
    assert (allowed.outcome, allowed.rule) == ("allow", "default/web-old")
    only_old = (build.access("new", build.rule("web-new", ["web"], "POST /x")), both[1])
    assert explain(mesh(rule, access=only_old)).allow  # its own rules are not asked: nothing arrives there
    assert not explain(mesh(rule, access=(TO_NEW, build.access("old", build.rule("r", ["web"], "GET /b"))))).allow


def test_of_several_services_each_must_allow_it() -> None:
    rule = RouteRule("shared", targets=HALF)
    narrow = (TO_NEW, build.access("old", build.rule("web-old", ["web"], "GET /b")))
    denied = explain(mesh(rule, access=narrow))
    assert (denied.outcome, denied.reasons[0]) == ("deny", "no rule of `old` allows `web` to `GET /a` on `old`")
    assert "what goes to `new`: `allow`, rule `web-new` allows `web` to `GET /a` on `new`" in denied.routing
    assert explain(mesh(rule, access=narrow), "/b").allow


@pytest.mark.parametrize(
    ("to_old", "allow"),
    [
        ((), True),
        ((build.rule("gone", ["web"], "GET /b", expires=datetime(2026, 1, 1, tzinfo=UTC)),), True),
        ((build.rule("seen", ["web"], "GET /b", mode=Mode.OBSERVE),), False),
    ],
)
def test_a_service_that_the_caller_has_no_way_to_gets_no_share(to_old: tuple[Rule, ...], *, allow: bool) -> None:
    routed = mesh(RouteRule("shared", targets=HALF), access=(TO_NEW, build.access("old", *to_old)))
    assert explain(routed).allow is allow


@pytest.mark.parametrize(
    ("rule", "outcome", "status", "words"),
    [
        (RouteRule("away", redirect=Redirect(301, path="/n")), "redirect", 301, "redirect 301 to /n"),
        (RouteRule("down", fault=Fault(abort_status=503, abort_share=WHOLE)), "abort", 503, "100 % answered 503"),
        (RouteRule("some", fault=Fault(abort_status=503, abort_share=WHOLE - 1)), "allow", 200, ""),
    ],
)
def test_what_a_rule_answers_itself_never_arrives(rule: RouteRule, outcome: str, status: int, words: str) -> None:
    answer = explain(mesh(rule))
    assert (answer.outcome, answer.status, answer.allow) == (outcome, status, outcome == "allow")
    if words:
        said = f"rule `{rule.name}` of its route answers it, and it never arrives: {words}"
        assert (answer.reasons, answer.routing) == ((said,), ())


def test_who_has_no_way_to_a_service_has_none_of_its_rules() -> None:
    away = mesh(RouteRule("away", redirect=Redirect(301, path="/n")))
    stranger = "spiffe://other.example/ns/default/svc/web"
    assert [explain(away, source=source).outcome for source in (WEB, OPS, stranger)] == ["redirect", "deny", "deny"]
    rewriting = mesh(RouteRule("old", EVERY_OLD, rewrite=Rewrite("/new")))
    denied = explain(rewriting, "/old/a", source=OPS)
    assert denied.reasons[0] == "no rule of `new` allows `ops` to `GET /old/a` on `new`"


def test_a_path_that_is_refused_is_said_as_it_was_sent_and_as_it_arrives() -> None:
    answer = explain(mesh(RouteRule("old", EVERY_OLD, rewrite=Rewrite("/new"))), "/old//a")
    assert answer.outcome == "reject"
    assert answer.reasons == (
        "path `/new//a` is not canonical: two parsers could read it differently",
        "it was sent as `/old//a`, and rule `old` of its route rewrites it",
    )
    assert len(answer.places) == 2


def test_an_answer_that_hangs_on_a_header_says_so() -> None:
    beta = RouteRule("beta", Match(headers=(Condition("x-beta", "yes"),)), targets=ALL_OLD)
    away = RouteRule(
        "away", Match(cookies=(Condition("tester", how=How.PRESENT),)), redirect=Redirect(302, path="/t")
    )
    routed = mesh(beta, away)
    said = explain(routed)
    assert said.outcome == "allow"
    assert said.routing[-2:] == (
        "with header x-beta: yes the answer is `deny` (403): no rule of `old` allows `web` to `GET /a` on `old`",
        "with cookie tester the answer is `redirect` (302), rule `away` of its route",
    )
    assert explain(routed, headers=(("x-beta", "yes"),)).outcome == "deny"
    assert explain(routed, headers=(("cookie", "tester="),)).outcome == "redirect"
    plain = explain(routed, headers=(("x-other", "1"),))
    assert (plain.outcome, plain.routing[0]) == ("allow", "it goes to `v1`")
    led = mesh(beta, access=(TO_NEW, build.access("old", build.rule("web-old", ["web"]))))
    chosen = explain(led, headers=(("x-beta", "yes"),)).routing[0]
    assert chosen == "rule `beta` of its route takes it, since it brings header x-beta: yes: service old"
