"""A controller's own decisions over HTTP: a request as its caller sends it, followed to who judges it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from policyd.api.app import application
from policyd.api.metrics import ControllerMetrics
from policyd.model.access import Access
from policyd.model.paths import PathPattern
from policyd.model.revocation import Revocation
from policyd.model.route import Condition, Match, Route, RouteRule, Target
from policyd.model.route_actions import Redirect, Rewrite
from policyd.model.service import WHOLE
from tests.api.conftest import Api, OneController, OneFloor
from tests.daemon.test_deciding import OPEN, SHUT, WEB_ID, decisions, promoted
from tests.rollout.world import CHECKOUT, PAYMENTS, WEB, rule

HALF = (Target(WHOLE // 2, service=CHECKOUT), Target(WHOLE // 2, service=PAYMENTS))
RULES = (
    RouteRule("beta", Match(headers=(Condition("x-beta", "yes"),)), redirect=Redirect(302, path="/beta")),
    RouteRule("old", Match((), (PathPattern.parse("/old/**"),)), rewrite=Rewrite("/")),
    RouteRule("shared", Match((), (PathPattern.parse("/shared"),)), HALF),
)
ROUTED = replace(
    OPEN,
    services={**OPEN.services, PAYMENTS: replace(OPEN.services[PAYMENTS], route=Route(PAYMENTS, RULES))},
    access={**OPEN.access, CHECKOUT: Access(CHECKOUT, (rule("web-checks-out", WEB),))},
)


def asked(path: str, *, cuts: tuple[Revocation, ...] = (), sent: bool = True, at: str = "", **more: Any) -> Any:
    """The answer to `GET path` of `web` on `payments`; `at=head` knows no route."""
    asking = decisions(promoted(ROUTED, cuts=cuts), SHUT)
    api = Api(application(OneController(), asking, OneFloor(), ControllerMetrics()))
    said = {"source": {"spiffe": WEB_ID}, "destination": {"service": "payments"}, "method": "GET", "path": path}
    params = {**({"sent": "yes"} if sent else {}), **({"at": at} if at else {})}
    answer = api.post("/v1/explain", params=params, json={"input": {**said, **more}})
    return answer.json() | {"code": answer.status_code}


def test_what_is_sent_is_followed_and_what_has_arrived_is_not() -> None:
    sent, arrived = asked("/old//a"), asked("/old//a", sent=False)
    assert (sent["outcome"], arrived["outcome"]) == ("reject", "reject")
    assert "`//a`" in sent["reasons"][0]
    assert "`/old//a`" in sent["reasons"][1]
    assert arrived["reasons"] == ["path `/old//a` is not canonical: two parsers could read it differently"]
    assert "then it arrives as `/a`, and that is what access rules judge" in asked("/old/a")["routing"]


def test_what_a_request_brings_chooses_the_rule() -> None:
    plain = asked("/a")
    assert (plain["outcome"], plain["judged"]) == ("allow", "promoted")
    assert plain["routing"][-1].startswith("with header x-beta: yes the answer is `redirect` (302)")
    for headers in ({"X-Beta": "yes"}, [["x-beta", "yes"]]):
        away = asked("/a", headers=headers)
        assert (away["outcome"], away["allow"], away["status"], away["cause"]) == (
            "redirect",
            False,
            302,
            "redirected",
        )
        assert away["live"] is None
    assert asked("/a", headers={"x-beta": "yes"}, sent=False)["outcome"] == "allow"
    assert asked("/a", headers={"x-beta": "yes"}, at="head")["outcome"] == "deny"
    odd = asked("/a", headers="x-beta: yes")
    assert (odd["code"], odd["message"]) == (400, "`input.headers` is not a list of names and values")


def test_who_is_cut_off_from_one_service_goes_to_the_other() -> None:
    assert asked("/shared")["outcome"] == "allow"
    cut = Revocation(CHECKOUT, "key leaked", WEB_ID, to=CHECKOUT)
    left = asked("/shared", cuts=(cut,))
    assert (left["outcome"], left["rule"]) == ("allow", "default/web-pays")
