"""Routes from intents: what they become, and every finding at its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policyd.base.diagnostics import Severity
from policyd.lowering import Lowered
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.provenance import Key
from policyd.model.resilience import Retries
from policyd.model.route import Carrier, Condition, How, Match, Override, RouteRule, Sticky, Target

LowerFiles = Callable[..., Lowered]
HEAD = (
    "apiVersion: policyd.dev/v1alpha1\nkind: Route\nmetadata: {name: %s, owner: team-buy}\n"
    "spec:\n  to: %s\n  rules:\n"
)
CLOSED = """\
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: backup}
spec:
  port: 8080
  versions: {v1: {endpoints: [10.0.9.1]}}
  version: v1
---
"""


def route(*rules: str, to: str = "checkout", name: str = "checkout") -> str:
    return HEAD % (name, to) + "".join(f"    - {rule}\n" for rule in rules)


def test_a_route_becomes_part_of_its_service(lower_with: LowerFiles) -> None:
    lowered = lower_with(
        more=route(
            "name: beta\n"
            '      match: {headers: {X-Beta: "yes", x-user: {prefix: t-}}, cookies: {c: {present: true}}}\n'
            "      split: {version: v2}",
            "match: {paths: [/v1/b, /v1/a], methods: GET}\n"
            "      split: [{version: v1, weight: 99.5}, {service: checkout, weight: 0.5}]\n"
            "      sticky: {cookie: cart, ttl: 90s}",
            "resilience: {timeout: {request: 1m}, retries: {attempts: 0}}",
        )
    )
    assert lowered.mesh is not None
    checkout = Name.parse("checkout")
    found = lowered.mesh.services[checkout].route
    assert found is not None
    assert found.rules == (
        RouteRule(
            "beta",
            Match(
                headers=(Condition("x-beta", "yes"), Condition("x-user", "t-", How.PREFIX)),
                cookies=(Condition("c", how=How.PRESENT),),
            ),
            (Target(10_000, "v2"),),
        ),
        RouteRule(
            "rule-2",
            Match(paths=(PathPattern.parse("/v1/a"), PathPattern.parse("/v1/b")), methods=("GET",)),
            (Target(9_950, "v1"), Target(50)),
            sticky=Sticky(Carrier.COOKIE, "cart", 90),
        ),
        RouteRule(
            "rule-3",
            override=Override(
                request_ms=60_000,
                retries=Retries(
                    0, ("connect-failure", "refused-stream"), ("DELETE", "GET", "HEAD", "OPTIONS", "PUT")
                ),
            ),
        ),
    )
    assert lowered.mesh.services[checkout].longest.request_ms == 60_000
    assert Key("Route", checkout) in lowered.provenance


ANY = "split: {version: v2}"
FINDINGS = (
    ("PD1251", (ANY, "match: {methods: [GET]}\n      split: {version: v1}"), "rule-1", 7),
    ("PD1252", ("split: {version: v3}",), "no version `v3`", 7),
    ("PD1253", ("split: [{version: v1, weight: 50}, {version: v2, weight: 40}]",), "add up to 90", 7),
    ("PD1253", ("split: [{version: v1, weight: 50}, {version: v1, weight: 50}]",), "stands twice", 7),
    ("PD1258", ("match: {hosts: [shop.example]}\n      split: {version: v2}",), "by the name `shop.example`", 7),
    ("PD1259", ('match: {headers: {cookie: "a=b"}}\n      split: {version: v2}',), "header `cookie`", 7),
    ("PD1259", ("sticky: {header: x-envoy-user}",), "header `x-envoy-user`", 7),
    ("PD1259", ('match: {headers: {x_beta: "1"}}\n      split: {version: v2}',), "header `x_beta`", 7),
    ("PD1263", (f"name: a\n      match: {{paths: [/a]}}\n      {ANY}", f"name: a\n      {ANY}"), "are called `a`", 7),
    ("PD1264", ("resilience: {timeout: {perTry: 3s}}",), "longer than the whole call, 2 s", 7),
    ("PD1254", ("redirect: {path: /a, host: b}\n      split: {version: v1}",), "`split` would never", 7),
    ("PD1255", ("mirror: {version: v2}\n      split: {version: v2}",), "a copy of a request", 7),
    ("PD1255", ("mirror: {service: checkout}",), "a copy of a request", 7),
    ("PD1255", ("mirror: [{version: v2}, {version: v2, share: 5%}]",), "two copies", 7),
    ("PD1252", ("mirror: [{version: v3}]",), "no version `v3`", 7),
    ("PD1265", ('match: {paths: ["/a/{b}/**"]}\n      rewrite: {path: /c}',), "cannot be told", 7),
    ("PD1265", ("match: {paths: [/a/**]}\n      rewrite: {path: /c/}",), "would arrive as `/c//...`", 8),
    ("PD1266", ("redirect: {path: /a}",), "sends the client again", 7),
    (
        "PD1266",
        ("match: {paths: [/a]}\n      redirect: {path: /b}", "match: {paths: [/b]}\n      redirect: {path: /a}"),
        "sent round: `rule-1` -> `rule-2` -> `rule-1`",
        8,
    ),
    ("PD1203", ("split: {service: nobody}",), "no service `nobody`", 7),
    ("PD1260", ("split: {service: pay/ledger}",), "speaks `tcp`", 7),
)


@pytest.mark.parametrize(("code", "rules", "words", "line"), FINDINGS)
def test_what_cannot_be(lower_with: LowerFiles, code: str, rules: tuple[str, ...], words: str, line: int) -> None:
    lowered = lower_with(more=route(*rules))
    found = [finding for finding in lowered.findings if finding.code == code]
    assert lowered.mesh is None
    assert len(found) == 1
    assert words in found[0].message
    assert found[0].location is not None
    assert (found[0].location.path, found[0].location.line >= line) == ("z.yaml", True)
    assert found[0].severity is Severity.ERROR


def test_routes_of_services_without_requests_or_paths(lower_with: LowerFiles) -> None:
    pay = route(ANY.replace("v2", "v1"), to="ledger").replace("{name: checkout", "{name: r, namespace: pay")
    assert {f.code for f in lower_with(more=pay).findings if f.severity is Severity.ERROR} == {"PD1260"}
    opaque = route("match: {paths: [/a]}\n      split: {version: v1}", to="registry")
    assert {f.code for f in lower_with(more=opaque).findings if f.severity is Severity.ERROR} == {"PD1259"}


@pytest.mark.parametrize(
    "rules",
    [
        ("match: {hosts: [checkout]}\n      redirect: {host: checkout.default}",),
        ("match: {paths: [/a]}\n      redirect: {path: /b}", "match: {paths: [/b]}\n      redirect: {path: /c}"),
        ("match: {paths: [/a]}\n      redirect: {scheme: https}",),
        ("match: {paths: [/a], methods: POST}\n      redirect: {code: 303, path: /a}",),
    ],
)
def test_a_redirect_that_does_not_come_back(lower_with: LowerFiles, rules: tuple[str, ...]) -> None:
    assert "PD1266" not in {finding.code for finding in lower_with(more=route(*rules)).findings}


def test_a_call_is_bounded_within_its_exchange(lower_with: LowerFiles) -> None:
    service = ("timeout: {request: 2s, perTry: 600ms}", "timeout: {request: 2s, stream: 20s}")
    within = lower_with(service, more=route("resilience: {timeout: {request: 20s}}"))
    assert "PD1264" not in {finding.code for finding in within.findings}
    longer = lower_with(service, more=route("resilience: {timeout: {request: 21s}}"))
    (found,) = [finding for finding in longer.findings if finding.code == "PD1264"]
    assert "after 20 s" in found.message


def test_a_service_has_one_route_and_its_own_team_writes_it(lower_with: LowerFiles) -> None:
    two = route(ANY) + "---\n" + route(ANY, name="again")
    assert "PD1250" in {finding.code for finding in lower_with(more=two).findings}
    foreign = route(ANY, to="pay/ledger")
    assert "PD1207" in {finding.code for finding in lower_with(more=foreign).findings}


def test_another_service_takes_what_was_meant_for_this_one(lower_with: LowerFiles) -> None:
    calls = CLOSED.replace("port: 8080", "port: 8080\n  protocol: grpc")
    for rule in ("split: {service: backup}", "mirror: [{service: backup}]"):
        lowered = lower_with(more=calls + route(rule))
        (found,) = [finding for finding in lowered.findings if finding.code == "PD1267"]
        assert "`checkout` speaks http and `backup` grpc" in found.message
        assert found.location is not None
        assert lowered.mesh is None


def test_what_another_service_may_refuse_is_said(lower_with: LowerFiles) -> None:
    switching = ("  port: 8080\n", "  port: 8080\n  opaquePaths: true\n  upgrades: [websocket]\n")
    found = [
        finding
        for finding in lower_with(switching, more=CLOSED + route("split: {service: backup}")).findings
        if finding.code == "PD1268"
    ]
    assert {finding.severity for finding in found} == {Severity.WARNING}
    assert [finding.message for finding in found] == [
        "`checkout` has `opaquePaths`, and `backup` answers 400 to paths that are not canonical",
        "`checkout` switches to websocket, and `backup` refuses to",
    ]


WARNINGS = (
    ("PD1256", ("split: {service: backup}",), "none of their requests go there"),
    ("PD1257", (ANY,), "no gate looks at it"),
    ("PD1262", ("rewrite: {path: /nobody}",), "no access rule of `checkout` allows `/nobody/**`"),
    ("PD1236", ("resilience: {timeout: {request: 6m}}",), "ended by 300 s of silence first"),
    ("PD1236", ("resilience: {timeout: {idle: 1s}}",), "ended by 1 s of silence first"),
    ("PD1255", ("mirror: {version: v1}",), "a copy of a request"),
    ("PD1268", ("split: {service: registry}",), "calls to `checkout` name port 8080, `registry` has 5000"),
    ("PD1261", (f"{ANY}\n      sticky: {{cookie: cart}}",), "nobody needs to stay"),
)


@pytest.mark.parametrize(("code", "rules", "words"), WARNINGS)
def test_what_may_be_meant(lower_with: LowerFiles, code: str, rules: tuple[str, ...], words: str) -> None:
    lowered = lower_with(more=CLOSED + route(*rules))
    assert lowered.mesh is not None
    found = [finding for finding in lowered.findings if finding.code == code]
    assert [finding.severity for finding in found] == [Severity.WARNING]
    assert words in found[0].message


@pytest.mark.parametrize(
    "rule",
    [
        "{}",
        "match: {}",
        "split: [{}]",
        "split: {version: v1, service: checkout}",
        "split: {version: v1, weight: -1}",
        "split: {version: v1, weight: 1e300}",
        "sticky: {cookie: a, header: b}",
        "sticky: {header: b, ttl: 1s}",
        "match: {headers: {a: {prefix: b, present: true}}}\n      split: {version: v1}",
        "match: {query: {a: '%20'}}\n      split: {version: v1}",
        "resilience: {timeout: {request: 0s}}",
        "resilience: {retries: {attempts: 1000}}",
        "resilience: {retries: {attempts: 1, methods: []}}",
        "mirror: {}",
        "fault: {}",
        "fault: {delay: {time: 1h, share: 1%}}",
        "fault: {abort: {status: 200, share: 1%}}",
        "fault: {abort: {status: 503, share: 101%}}",
        "redirect: {code: 308}",
        "rewrite: {path: /a/**}",
    ],
)
def test_what_no_rule_can_say(lower_with: LowerFiles, rule: str) -> None:
    lowered = lower_with(more=route(rule))
    assert lowered.mesh is None
    assert all(finding.location is not None for finding in lowered.findings)
