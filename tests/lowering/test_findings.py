"""What intents cannot say together: each finding, at its place, and no mesh beside an error."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policyd.base.diagnostics import Severity
from policyd.intents import MemoryTree, load
from policyd.lowering import Lowered, lower

LowerFiles = Callable[..., Lowered]
MESH_DOC = (
    "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: other}\nspec: {trustDomain: other.example}\n"
)
SPLIT_DOC = (
    "apiVersion: policyd.dev/v1alpha1\nkind: CanarySplit\nmetadata: {name: again}\n"
    "spec: {service: checkout, steps: [100], hold: 1s}\n"
)
RULE_DOC = (
    "apiVersion: policyd.dev/v1alpha1\nkind: AccessRule\nmetadata: {{name: more, namespace: {namespace}}}\n"
    "spec: {{to: {to}, from: [{source}], allow: [{{methods: {methods}, paths: {paths}}}]}}\n"
)
OPEN = "allow: [{methods: [GET], paths: [/a]}]"
ISSUERS = (
    "{guests: {issuer: https://a.example, audiences: [shop], jwksUri: https://a.example/keys}, "
    'staff: {issuer: "https://a.example", audiences: [back], jwksUri: https://a.example/keys}}'
)
MORE_DOC = (
    "apiVersion: policyd.dev/v1alpha1\nkind: AccessRule\nmetadata: {{name: more}}\n"
    "spec: {{to: web, from: [checkout], {}}}\n"
)
CUT_DOC = (
    "apiVersion: policyd.dev/v1alpha1\nkind: Revocation\nmetadata: {{name: leak, namespace: {namespace}}}\n"
    "spec: {{cut: {{{cut}}}, reason: key in a log}}\n"
)
SLO_DOC = """\
apiVersion: openslo/v1
kind: SLO
metadata: {{name: {name}}}
spec:
  service: {service}
  budgetingMethod: {method}
  indicator:
    spec:
      ratioMetric:
        {field}: {{metricSource: {{type: {type}, spec: {spec}}}}}
        total: {{metricSource: {{type: {type}, spec: {{service: checkout{total}}}}}}}
  objectives: [{objectives}]
"""


def rule(
    namespace: str = "default", to: str = "web", source: str = "checkout", methods: str = "[GET]", paths: str = "[/a]"
) -> str:
    return RULE_DOC.format(namespace=namespace, to=to, source=source, methods=methods, paths=paths)


def cut(said: str, namespace: str = "default") -> str:
    return CUT_DOC.format(namespace=namespace, cut=said)


def more(said: str) -> str:
    return MORE_DOC.format(said)


def slo(
    name: str = "extra",
    service: str = "checkout",
    method: str = "Occurrences",
    field: str = "good",
    type: str = "policyd",  # noqa: A002
    spec: str = "{service: checkout, good: non-5xx}",
    total: str = "",
    objectives: str = "{target: 0.99}",
) -> str:
    return SLO_DOC.format(
        name=name,
        service=service,
        method=method,
        field=field,
        type=type,
        spec=spec,
        total=total,
        objectives=objectives,
    )


# replacements, more text, code, what is underlined, message, part of the hint
Case = tuple[tuple[tuple[str, str], ...], str, str, str, str, str]
CASES: list[Case] = [
    ((), MESH_DOC, "PD1202", "other", "a second `Mesh`; the first is in mesh.yaml:3:18", "keep one"),
    ((("from: [web,", "from: [wbe,"),), "", "PD1203", "wbe", "there is no service `wbe`", "did you mean `web`?"),
    (
        (("to: checkout\n  from: [web", "to: chekout\n  from: [web"),),
        "",
        "PD1203",
        "chekout",
        "no service",
        "`checkout`",
    ),
    (
        (("[default/checkout]", "[checkout]"),),
        "",
        "PD1203",
        "checkout",
        "no service `checkout`",
        "`default/checkout`",
    ),
    (
        (("spiffe://partner.example/ns/x/svc/y", "spiffe://shop.example/ns/x/svc/y"),),
        "",
        "PD1203",
        '"spiffe://shop.example/ns/x/svc/y"',
        "there is no service `x/y`",
        "",
    ),
    ((("service: checkout\n  first", "service: shopping\n  first"),), "", "PD1203", "shopping", "no service", ""),
    ((), slo(service="chekout"), "PD1203", "chekout", "no service `chekout`", "did you mean `checkout`?"),
    ((("version: v1\n  healthCheck", "version: v3\n  healthCheck"),), "", "PD1204", "v3", "no version `v3`", "`v1`"),
    (
        (("gates: [checkout-availability,", "gates: [checkout-availabilty,"),),
        "",
        "PD1205",
        "checkout-availabilty",
        "there is no SLO `checkout-availabilty`",
        "did you mean `checkout-availability`?",
    ),
    ((("gates: touched", "gates: [nothing]"),), "", "PD1205", "nothing", "there is no SLO `nothing`", ""),
    (
        (("trustDomain: shop.example", "trustDomain: shop.example\n  strategy: carefull"),),
        "",
        "PD1206",
        "carefull",
        "there is no strategy `carefull`",
        "did you mean `careful`?",
    ),
    ((), rule(namespace="pay", to="default/web"), "PD1207", "default/web", "is not in namespace `pay`", "owns"),
    ((), slo(service="pay/ledger"), "PD1207", "pay/ledger", "`pay/ledger` is not in namespace `default`", ""),
    ((("service: checkout\n  first", "service: pay/ledger\n  first"),), "", "PD1207", "pay/ledger", "namespace", ""),
    (
        (("[10.0.2.1]", "[10.0.1.21]"),),
        "",
        "PD1208",
        "10.0.1.21",
        "`10.0.1.21` is already an instance of `checkout`, in services.yaml:7:22",
        "of its own",
    ),
    ((("[10.0.1.21]", "[10.0.1.21, 10.0.1.21]"),), "", "PD1208", "10.0.1.21", "already an instance", ""),
    ((), rule(to="registry"), "PD1209", "[/a]", "`registry` has `opaquePaths`", "paths: [/**]"),
    (
        (),
        rule("pay", "ledger", "default/web", '["*"]', "[/a]"),
        "PD1210",
        '{methods: ["*"], paths: [/a]}',
        "`ledger` speaks `tcp`",
        "`{connections: true}`",
    ),
    (
        (),
        rule("pay", "ledger", "default/web", '["*"]', "[/**]"),
        "PD1210",
        '{methods: ["*"], paths: [/**]}',
        "tcp",
        "",
    ),
    (
        (("protocol: tcp", "protocol: tcp\n  healthCheck: {path: /x}"),),
        "",
        "PD1210",
        "healthCheck",
        "asks for a path",
        "`healthCheck: {tcp: {}}`",
    ),
    (
        (("healthCheck: {path: /healthz", "healthCheck: {grpc: {service: pay.v1.Payments}"),),
        "",
        "PD1238",
        "{service: pay.v1.Payments}",
        "the service speaks `http`",
        "`protocol: grpc`",
    ),
    (
        (),
        slo(name="checkout-availability"),
        "PD1211",
        "checkout-availability",
        "already an SLO, by `slo` in services",
        "",
    ),
    (
        (),
        (
            "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: a}\nspec: {service: web, indicatorRef: x,"
            " budgetingMethod: Occurrences, objectives: [{target: 0.9}]}\n"
        ),
        "PD1212",
        "x",
        "there is no SLI `x`",
        "",
    ),
    (
        (("{X-Canary:", "{X_Canary:"),),
        "",
        "PD1259",
        '{X_Canary: "yes"}',
        "known by the header `x_canary`",
        "write `-`",
    ),
    ((), SPLIT_DOC, "PD1213", "checkout", "already has a split, in releases.yaml:3:18", "one split"),
    ((), slo(objectives="{target: 0.9}, {target: 0.8}"), "PD1214", "{target: 0.8}", "several objectives", "one SLO"),
    ((), slo(spec="{service: web, good: non-5xx}"), "PD1214", "web", "the SLO is about `checkout`", "promises"),
    ((), slo(spec="{service: checkout}"), "PD1214", "{service: checkout}", "`good` says `good` or `threshold`", ""),
    ((), slo(spec="{service: checkout, bad: 5xx}"), "PD1214", "{service: checkout, bad: 5xx}", "`good` says", ""),
    ((), slo(field="bad"), "PD1214", "{service: checkout, good: non-5xx}", "`bad` says `bad`", ""),
    (
        (),
        slo(total=", bad: 5xx"),
        "PD1214",
        "{service: checkout, bad: 5xx}",
        "`total` says nothing but `service`",
        "",
    ),
    (
        (),
        (
            "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: a}\nspec: {service: web,"
            " budgetingMethod: Occurrences, objectives: [{target: 0.9}],"
            " indicator: {spec: {thresholdMetric: {metricSource: {type: policyd,"
            " spec: {service: web}}}}}}\n"
        ),
        "PD1214",
        "thresholdMetric",
        "count answers within a time",
        "`ratioMetric`",
    ),
    (
        (("gates: touched", "gates: [extra]"),),
        slo(type="Prometheus", spec="{query: up}"),
        "PD1215",
        "extra",
        "`extra` is measured by `Prometheus`",
        "type: policyd",
    ),
    (
        (("gates: touched", "gates: [extra]"),),
        slo(method="Timeslices"),
        "PD1215",
        "extra",
        "`extra` is measured by `timeslices`",
        "",
    ),
    ((("name: careful", "name: immediate"),), "", "PD1216", "immediate", "`immediate` is built in", "rename"),
    (
        (("trustDomain: shop.example", "trustDomain: shop.example\n  ports: {inbound: 80}"),),
        "",
        "PD1217",
        "127.0.0.5",
        "`127.0.0.5:80` is where the sidecar listens",
        "another port",
    ),
    (
        (("trustDomain: shop.example", "trustDomain: shop.example\n  ports: {inbound: 15001}"),),
        "",
        "PD1217",
        "{inbound: 15001}",
        "one port twice",
        "",
    ),
    (
        (("trustDomain: shop.example", "trustDomain: shop.example\n  identity: {leaf: 2y}"),),
        "",
        "PD1218",
        "2y",
        "no longer than the root",
        "24h",
    ),
    ((("perTry: 600ms", "perTry: 3s"),), "", "PD1219", "3s", "one try may last longer", "at most `request`"),
    (
        (("budget: 20%}", "budget: 20%}\n  rateLimit: [{requests: 1, per: 999ms}]"),),
        "",
        "PD1276",
        "999ms",
        "in a second at least",
        "two in 100 ms",
    ),
    (
        (("budget: 20%}", "budget: 20%}\n  rateLimit: [{requests: 1}, {requests: 2}]"),),
        "",
        "PD1276",
        "{requests: 2}",
        "an earlier limit counts the same requests",
        "keep the smaller one",
    ),
    (
        (("budget: 20%}", "budget: 20%}\n  opaquePaths: true\n  rateLimit: [{requests: 1, paths: [/a]}]"),),
        "",
        "PD1276",
        "[/a]",
        "paths are opaque",
        "its methods",
    ),
    (
        (("budget: 20%}", "budget: 20%}\n  rateLimit: [{requests: 9}, {requests: 9, each: caller}]"),),
        "",
        "PD1277",
        "{requests: 9, each: caller}",
        "all callers together have no more",
        "give each caller less",
    ),
    (
        (("budget: 20%}", "budget: 20%}\n    circuitBreaker: {requests: 10, pending: 11}"),),
        "",
        "PD1226",
        "11",
        "11 requests may wait, but only 10",
        "at most `requests`",
    ),
    (
        (("budget: 20%}", "budget: 20%}\n    circuitBreaker: {requests: 10, connections: 11}"),),
        "",
        "PD1226",
        "11",
        "11 connections are never open for 10",
        "at most `requests`",
    ),
    (
        (("budget: 20%}", "budget: 20%}\n    circuitBreaker: {retries: 7}"),),
        "",
        "PD1226",
        "7",
        "bounded twice",
        "keep the budget",
    ),
    (
        (("budget: 20%}", "budget: 20%}\n    outlierDetection: {consecutiveErrors: 5, baseTime: 10m}"),),
        "",
        "PD1227",
        "10m",
        "left out longer the first time",
        "`maxTime`",
    ),
    (
        (("budget: 20%}", "budget: 20%}\n    outlierDetection: {consecutiveErrors: 5, maxEjected: 100%}"),),
        "",
        "PD1227",
        "100%",
        "every instance may be left out",
        "50%",
    ),
    (
        (
            (
                "budget: 20%}",
                "budget: 20%}\n    outlierDetection: {consecutiveErrors: 5, consecutiveGatewayErrors: 6}",
            ),
        ),
        "",
        "PD1227",
        "6",
        "6 gateway errors in a row never come",
        "is below",
    ),
    (
        (("budget: 20%}", "budget: 20%}\n    outlierDetection: {consecutiveErrors: 5, maxEjected: 49%}"),),
        "",
        "PD1228",
        "49%",
        "49% of the 2 instances of `v1`",
        "`maxEjected: 50%`",
    ),
    (
        (("budget: 20%}", "budget: 20%}\n    outlierDetection: {successRate: {}}"),),
        "",
        "PD1228",
        "{}",
        "compared among 5 instances, and `v1` has 2",
        "instances: 3",
    ),
    (
        (("retries: {attempts: 2, on: [503, reset], budget: 20%}", "circuitBreaker: {retries: 8}"),),
        "",
        "PD1226",
        "8",
        "nothing is ever tried again",
        "`retries: {attempts: 2}`",
    ),
    (
        (("[pay, default]", "[pays, default]"),),
        "",
        "PD1220",
        "[pays, default]",
        "in namespace `pays`",
        "did you mean `pay`?",
    ),
    (
        (),
        more("allow: [{methods: [GET], paths: [/a], ports: [80, 8080]}]"),
        "PD1221",
        "[80, 8080]",
        "`web` has no port 8080",
        "its port is 80",
    ),
    ((), more(f"jwt: {{issuer: corp}}, {OPEN}"), "PD1222", "corp", "the mesh has no issuer `corp`", "`issuers`"),
    (
        ((("trustDomain: shop.example", f"trustDomain: shop.example\n  issuers: {ISSUERS}")),),
        "",
        "PD1224",
        '"https://a.example"',
        "`staff` and `guests` are the same issuer, `https://a.example`",
        "one name",
    ),
    (
        (),
        more(f"mode: observe, replaces: more, {OPEN}"),
        "PD1223",
        "more",
        "`web` has no rule `more`",
        "",
    ),
    ((), cut("identity: wbe"), "PD1203", "wbe", "there is no service `wbe`", "did you mean `web`?"),
    (
        (),
        cut('identity: "spiffe://shop.example/ns/default/svc/gone"'),
        "PD1203",
        '"spiffe://shop.example/ns/default/svc/gone"',
        "there is no service `gone`",
        "",
    ),
    ((), cut("from: web, to: chekout"), "PD1203", "chekout", "no service `chekout`", "did you mean `checkout`?"),
    (
        (),
        cut("from: default/web, to: default/checkout", "pay"),
        "PD1207",
        "default/checkout",
        "is not in namespace `pay`",
        "owns",
    ),
    ((), cut("identity: default/web", "pay"), "PD1207", "default/web", "not in namespace `pay`", "own service"),
    ((), cut(f"root: {'ab' * 32}"), "PD1225", "ab" * 32, "root `abababababababab` is not known here", "revocations"),
    ((), cut(f"root: {'ab' * 32}", "pay"), "PD1207", "ab" * 32, "a root is no team's own", "namespace `default`"),
]


@pytest.mark.parametrize(("replacements", "more", "code", "meant", "message", "hint"), CASES)
def test_each_finding(
    lower_with: LowerFiles,
    replacements: tuple[tuple[str, str], ...],
    more: str,
    code: str,
    meant: str,
    message: str,
    hint: str,
) -> None:
    lowered = lower_with(*replacements, more=more)
    matching = [finding for finding in lowered.findings if finding.code == code and message in finding.message]
    assert len(matching) == 1, lowered.findings
    (finding,) = matching
    begin = finding.location.column - 1
    assert finding.excerpt[begin : begin + finding.width] == meant
    assert hint in finding.hint
    assert (lowered.mesh is None) == finding.is_error


def test_no_mesh_at_all() -> None:
    lowered = lower(load(MemoryTree({})))
    assert [finding.code for finding in lowered.findings] == ["PD1201"]
    assert lowered.mesh is None


def test_an_error_of_the_loader_leaves_no_mesh_either(files: dict[str, str]) -> None:
    lowered = lower(load(MemoryTree(files | {"bad.yaml": "a: &x 1\n"})))
    assert [finding.code for finding in lowered.findings] == ["PD1006"]
    assert lowered.mesh is None


def test_a_warning_leaves_the_mesh(lower_with: LowerFiles) -> None:
    lowered = lower_with(("[pay, default]", "[nowhere, default]"))
    assert [finding.severity for finding in lowered.findings] == [Severity.WARNING]
    assert lowered.mesh is not None


def test_two_definitions_of_one_name_leave_no_mesh(files: dict[str, str]) -> None:
    lowered = lower(load(MemoryTree(files | {"again.yaml": files["services.yaml"]})))
    assert lowered.mesh is None
    assert {finding.code for finding in lowered.findings} >= {"PD1112", "PD1208"}


def test_all_findings_of_all_passes_at_once_in_order(lower_with: LowerFiles) -> None:
    lowered = lower_with(
        ("from: [web,", "from: [wbe,"), ("[10.0.2.1]", "[10.0.1.21]"), ("perTry: 600ms", "perTry: 3s")
    )
    assert {finding.code for finding in lowered.findings} == {"PD1203", "PD1208", "PD1219"}
    assert list(lowered.findings) == sorted(lowered.findings, key=lambda finding: finding.location)


def test_a_document_that_cannot_be_used_is_blamed_alone() -> None:
    """Who refers to it makes no mistake of his own: one typing error is one finding."""
    files = {
        "mesh.yaml": MESH_DOC,
        "checkout.yaml": "apiVersion: policyd.dev/v1alpha1\nkind: Service\nmetadata: {name: checkout}\n"
        "spec: {port: 80, versoins: {v1: {endpoints: []}}, version: v1, slo: {availability: 99}}\n",
        "split.yaml": "apiVersion: policyd.dev/v1alpha1\nkind: CanarySplit\nmetadata: {name: checkout}\n"
        "spec: {service: checkout, steps: [100], hold: 1s, gates: [checkout-availability]}\n",
        "rule.yaml": RULE_DOC.format(
            namespace="default", to="checkout", source="checkout", methods="[GET]", paths="[/v1]"
        ),
    }

    lowered = lower(load(MemoryTree(files)))

    assert lowered.mesh is None
    assert {finding.location.path for finding in lowered.findings} == {"checkout.yaml"}
