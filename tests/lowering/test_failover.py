"""`failover` of a service: what it becomes, and what is said of a way that leads nowhere, back, or past somebody."""

from __future__ import annotations

import pytest

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import MemoryTree, load
from policyd.lowering import Lowered, LoweringMemo, lower
from policyd.model.failover import Fallback
from policyd.model.names import Name

MESH = "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec: {trustDomain: shop.example}\n"
PAY = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: pay}
spec:
  port: 8080
  versions:
    v1: {endpoints: [10.0.0.1]}
    v2: {endpoints: [{address: 10.0.0.2, zone: a}, {address: 10.0.0.3, zone: b}]}
  version: v2
  healthCheck: {path: /healthz}
  failover: [{version: v1}, {service: standby}, {zone: other}]
"""
SERVICE = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {{name: {name}{namespace}}}
spec: {{port: 8080, versions: {{v1: {{endpoints: [{address}]}}}}, version: v1, healthCheck: {{path: /healthz}}{more}}}
"""
RULE = """\
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {{name: {name}}}
spec: {{to: {to}, from: {callers}, allow: [{{methods: {methods}, paths: {paths}}}]{more}}}
"""


def service(name: str, address: str, more: str = "", namespace: str = "") -> str:
    return SERVICE.format(name=name, address=address, more=more, namespace=namespace)


def rule(
    to: str, callers: str = "[web]", methods: str = "[GET]", paths: str = "[/v1/**]", more: str = "", name: str = ""
) -> str:
    return RULE.format(name=name or f"to-{to}", to=to, callers=callers, methods=methods, paths=paths, more=more)


FILES = {
    "mesh.yaml": MESH,
    "pay.yaml": PAY,
    "standby.yaml": service("standby", "10.0.1.1"),
    "web.yaml": service("web", "10.0.2.1"),
    "ops.yaml": service("ops", "10.0.3.1"),
    "rules.yaml": rule("pay") + "---\n" + rule("standby"),
}
WAY = "[{version: v1}, {service: standby}, {zone: other}]"


def lowered(way: str = WAY, *changed: tuple[str, str], **files: str) -> Lowered:
    """The small mesh with another way, with pieces of `pay` replaced, or with other files."""
    pay = PAY.replace(WAY, way)
    for old, new in changed:
        assert old in pay, old
        pay = pay.replace(old, new)
    named = {f"{name}.yaml": text for name, text in files.items()}
    return lower(load(MemoryTree(FILES | {"pay.yaml": pay} | named)))


def only(found: Lowered) -> Finding:
    assert len(found.findings) == 1, found.findings
    return found.findings[0]


def test_the_way_in_its_order() -> None:
    found = lowered()
    assert found.findings == ()
    assert found.mesh is not None
    assert found.mesh.services[Name("default", "pay")].failover == (
        Fallback(version="v1"),
        Fallback(service=Name("default", "standby")),
        Fallback(zone="other"),
    )


@pytest.mark.parametrize(
    ("way", "code", "severity", "message", "hint"),
    [
        ("[{service: pay}]", "PD1240", Severity.ERROR, "`pay` is its own fallback", "{version: v1}"),
        ("[{version: v2}]", "PD1241", Severity.WARNING, "`v2` is the version that serves", "another version"),
        ("[{version: v3}]", "PD1204", Severity.ERROR, "`pay` has no version `v3`", "`v1`"),
        ("[{service: standbye}]", "PD1203", Severity.ERROR, "no service `standbye`", "did you mean `standby`?"),
        ("[{zone: bb}]", "PD1242", Severity.ERROR, "`pay` has no instance in zone `bb`", "did you mean `b`?"),
        ("[{version: v1}, {version: v1}]", "PD1249", Severity.ERROR, "stands here twice", "the first"),
        ("[{version: v1, zone: b}]", "PD1111", Severity.ERROR, "one place, and this names", "write two"),
        ("[{}]", "PD1104", Severity.ERROR, "leads nowhere", "name a `version`"),
    ],
)
def test_a_way_that_leads_nowhere(way: str, code: str, severity: Severity, message: str, hint: str) -> None:
    found = only(lowered(way))
    assert (found.code, found.severity) == (code, severity)
    assert message in found.message
    assert hint in found.hint
    assert (found.location.path, found.location.line) == ("pay.yaml", 11)


def test_zones_that_nobody_runs_in() -> None:
    plain = ("[{address: 10.0.0.2, zone: a}, {address: 10.0.0.3, zone: b}]", "[{address: 10.0.0.2, zone: a}]")
    found = only(lowered("[{zone: other}]", plain))
    assert (found.code, found.severity) == ("PD1242", Severity.WARNING)
    assert "in zone `a` alone" in found.message


def test_fallbacks_that_lead_back() -> None:
    found = lowered(standby=service("standby", "10.0.1.1", ", failover: [{service: third}]"),
                    third=service("third", "10.0.4.1", ", failover: [{service: pay}]"),
                    rules=rule("pay") + "---\n" + rule("standby") + "---\n" + rule("third"))  # fmt: skip
    assert found.mesh is None
    loops = [finding for finding in found.findings if finding.code == "PD1240"]
    assert sorted(finding.location.path for finding in loops) == ["pay.yaml", "standby.yaml", "third.yaml"]
    assert "pay -> standby -> third -> pay" in loops[0].message


def test_a_fallback_speaks_the_same_protocol() -> None:
    found = only(lowered(standby=service("standby", "10.0.1.1", ", protocol: grpc")))
    assert (found.code, found.severity) == ("PD1243", Severity.ERROR)
    assert "`pay` speaks http and `standby` grpc" in found.message


@pytest.mark.parametrize(
    ("pay", "standby", "message"),
    [
        (("port: 8080", "port: 8081"), "", "name port 8081, `standby` has 8080"),
        (("port: 8080", "port: 8080\n  opaquePaths: true"), "", "answers 400 to paths"),
        (("port: 8080", "port: 8080\n  upgrades: [websocket]"), "", "`pay` switches to websocket"),
    ],
)
def test_a_fallback_that_differs(pay: tuple[str, str], standby: str, message: str) -> None:
    rules = rule("pay", paths="[/**]") + "---\n" + rule("standby", paths="[/**]")
    found = only(lowered(WAY, pay, standby=service("standby", "10.0.1.1", standby), rules=rules))
    assert (found.code, found.severity) == ("PD1244", Severity.WARNING)
    assert message in found.message


def test_callers_without_a_rule_of_their_own() -> None:
    found = only(lowered(rules=rule("pay", "[web, ops]") + "---\n" + rule("standby")))
    assert (found.code, found.severity) == ("PD1245", Severity.WARNING)
    assert found.message == "`ops` may call `pay` but not `standby`, and is not led there"
    assert "`to: standby` and `from: [ops]`, in namespace `default`" in found.hint
    assert found.location.line == 11


def test_an_observed_rule_is_none() -> None:
    found = only(lowered(rules=rule("pay") + "---\n" + rule("standby", more=", mode: observe")))
    assert (found.code, found.message.split(" may")[0]) == ("PD1245", "`web`")


def test_callers_by_namespace_and_many_of_them() -> None:
    more = "---\n".join(service(f"app-{number}", f"10.0.5.{number + 1}") for number in range(4))
    found = only(lowered(rules=rule("pay", '["*"]') + "---\n" + rule("standby"), more=more))
    assert found.message.startswith("`app-0`, `app-1`, `app-2` and 2 more may call `pay` but not `standby`")


def test_calls_that_the_fallback_denies() -> None:
    found = only(lowered(rules=rule("pay") + "---\n" + rule("standby", paths="[/v1/status]")))
    assert (found.code, found.severity) == ("PD1246", Severity.WARNING)
    assert "`web` may call `GET /v1/**` of `pay` and not of `standby`" in found.message


@pytest.mark.parametrize(
    ("resilience", "message"),
    [
        ("{circuitBreaker: {retries: 4}, retries: {attempts: 1}}", "at most 4 further tries at once is too little"),
        ("{retries: {attempts: 1, budget: 10%}}", "`retries.budget` does not hold"),
    ],
)
def test_bounds_on_tries(resilience: str, message: str) -> None:
    found = only(lowered(WAY, ("  failover", f"  resilience: {resilience}\n  failover")))
    assert (found.code, found.severity) == ("PD1247", Severity.WARNING)
    assert message in found.message


def test_all_instances_may_be_left_out_where_others_answer() -> None:
    outliers = "  resilience: {outlierDetection: {consecutiveErrors: 5, maxEjected: 100%}}\n"
    assert lowered(WAY, ("  failover", f"{outliers}  failover")).findings == ()
    assert lowered("[]", ("  failover", f"{outliers}  failover")).findings[0].code == "PD1227"


def test_without_a_health_check() -> None:
    found = only(lowered(WAY, ("  healthCheck: {path: /healthz}\n", "")))
    assert (found.code, found.severity) == ("PD1248", Severity.WARNING)


def test_a_rule_that_comes_later_takes_the_warning_away() -> None:
    """The check of a service is made again when the rules of its fallback change, and only then."""
    memo = LoweringMemo()
    without = FILES | {"rules.yaml": rule("pay")}
    assert [each.code for each in lower(load(MemoryTree(without)), memo).findings] == ["PD1245"]
    assert lower(load(MemoryTree(FILES)), memo).findings == ()
