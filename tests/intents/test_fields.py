"""What is wrong with a field is said in the user's words, at its place, with what was probably meant."""

from __future__ import annotations

import pytest

from policyd.base.diagnostics import Finding
from policyd.intents import MemoryTree, load

SERVICE = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {{name: checkout, owner: team-buy{metadata}}}
spec:
  port: {port}
  versions: {versions}
  version: v1
{more}"""
RULE = """\
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {{name: web-checks-out}}
spec:
  to: {to}
  from: {source}
  allow: {allow}
{more}"""
SPLIT = """\
apiVersion: policyd.dev/v1alpha1
kind: CanarySplit
metadata: {{name: checkout}}
spec:
  service: checkout
  steps: {steps}
  hold: {hold}
{more}"""
SLO = """\
apiVersion: openslo/v1
kind: SLO
metadata: {{name: pay{metadata}}}
spec:
  service: pay
  indicator: {indicator}
  budgetingMethod: Occurrences
  objectives: [{{{objective}}}]
{more}"""
PROXIES = "{metricSource: {type: policyd, spec: {service: pay}}}"
GOOD = "{metricSource: {type: policyd, spec: {service: pay, good: non-5xx}}}"


def service(
    port: str = "8080", versions: str = "{v1: {endpoints: [10.0.0.1]}}", more: str = "", metadata: str = ""
) -> str:
    return SERVICE.format(port=port, versions=versions, more=more, metadata=metadata)


def rule(
    to: str = "checkout", source: str = "[web]", allow: str = '[{methods: ["*"], paths: [/**]}]', more: str = ""
) -> str:
    return RULE.format(to=to, source=source, allow=allow, more=more)


def split(steps: str = "[5, 100]", hold: str = "60s", more: str = "") -> str:
    return SPLIT.format(steps=steps, hold=hold, more=more)


def slo(
    indicator: str = f"{{spec: {{ratioMetric: {{good: {GOOD}, total: {PROXIES}}}}}}}",
    objective: str = "target: 0.99",
    more: str = "",
    metadata: str = "",
) -> str:
    return SLO.format(indicator=indicator, objective=objective, more=more, metadata=metadata)


def of_kind(kind: str, spec: str) -> str:
    return f"apiVersion: policyd.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: some}}\nspec: {spec}\n"


def issuer(said: str) -> str:
    return of_kind("Mesh", f"{{trustDomain: x, issuers: {{corp: {{issuer: i, {said}}}}}}}")


def resilience(said: str) -> str:
    return of_kind("Service", f"{{port: 1, versions: {{v: {{endpoints: []}}}}, version: v, resilience: {{{said}}}}}")


def routed(said: str) -> str:
    """A route with one rule."""
    return of_kind("Route", f"{{to: pay, rules: [{{{said}}}]}}")


def limits(said: str) -> str:
    return of_kind("Service", f"{{port: 1, versions: {{v: {{endpoints: []}}}}, version: v, rateLimit: [{said}]}}")


def outliers(said: str) -> str:
    return resilience(f"outlierDetection: {{consecutiveErrors: 5, {said}}}")


# text, code, what is underlined, message, part of the hint
CASES = [
    (rule(source="[{ipBlock: 10.0.0.1/8}]"), "PD1108", "10.0.0.1/8", "has bits beyond its prefix", "`10.0.0.0/8`"),
    (rule(source="[{ipBlock: 10.0.0.0/255.0.0.0}]"), "PD1108", "10.0.0.0/255.0.0.0", "a mask", "`10.0.0.0/8`"),
    (rule(source="[{ipBlock: 10.0.0.0/0.255.255.255}]"), "PD1108", "10.0.0.0/0.255.255.255", "a mask", "CIDR"),
    (rule(source='[{ipBlock: "::/129"}]'), "PD1108", '"::/129"', "`::/129` is not a block of addresses", "CIDR"),
    (rule(allow="[{methods: [GET], paths: [/a], ports: [0]}]"), "PD1109", "0", "`ports` must be at least 1", ""),
    (rule(more="  replaces: other\n"), "PD1111", "to: checkout", "only a rule with `mode: observe`", "delete"),
    (rule(more="  jwt: {issuer: corp, claims: {role: []}}\n"), "PD1109", "[]", "`role` needs at least 1", ""),
    (issuer("jwks: nonsense"), "PD1108", "nonsense", "`jwks` cannot be used: it is not a JWK set", "keys"),
    (
        issuer('jwks: \'{"keys": [{"kty": "oct", "k": "AA"}]}\''),
        "PD1108",
        '\'{"keys": [{"kty": "oct", "k": "AA"}]}\'',
        "`jwks` cannot be used: it holds a secret",
        "and replace it",
    ),
    (issuer('jwksUri: "http://x/keys"'), "PD1108", '"http://x/keys"', "is not an `https` URL", "https://"),
    (issuer("audiences: [a]"), "PD1104", "{issuer: i, audiences: [a]}", "either `jwks` or `jwksUri`", "public keys"),
    (
        of_kind("Revocation", "{reason: x, cut: {identity: web, to: api}}"),
        "PD1111",
        "{identity: web, to: api}",
        "a cut is one of",
        "cut: {identity: web}",
    ),
    (of_kind("Revocation", "{reason: x, cut: {from: web}}"), "PD1104", "{from: web}", "a cut is one of", ""),
    (of_kind("Revocation", "{reason: x, cut: {root: ab}}"), "PD1108", "ab", "`ab` is not a SHA-256", "openssl"),
    (
        of_kind("PolicyTest", "[{from: web, to: api, request: /v1, expect: allow}]"),
        "PD1110",
        "/v1",
        "`/v1` is not a request",
        "GET /v1/orders/17",
    ),
    (
        of_kind("PolicyTest", "[{from: web, to: api, request: GET /v1, expect: allowed}]"),
        "PD1106",
        "allowed",
        "`allowed` is not a value of `expect`",
        "did you mean `allow`?",
    ),
    (
        of_kind("PolicyTest", "[{from: web, to: api, request: GET /v1, expect: allow, headers: {x-a: '', }}]"),
        "PD1108",
        "''",
        "`` is not the value of a header",
        "in quotes",
    ),
    (
        of_kind("PolicyTest", "[{from: web, to: api, request: GET /v1, expect: allow, headers: {x-a: b, X-A: c}}]"),
        "PD1111",
        "{x-a: b, X-A: c}",
        "the header `x-a` stands here twice",
        "keep one",
    ),
    (
        of_kind("PolicyTest", "[{from: web, to: api, request: GET /v1, expect: allow, cookies: {a: b;c}}]"),
        "PD1108",
        "b;c",
        "`b;c` is not the value of a cookie",
        "",
    ),
    (
        of_kind("PolicyTest", "[{from: web, to: db, request: CONNECT, expect: allow, headers: {x-a: b}}]"),
        "PD1111",
        "{from: web, to: db, request: CONNECT, expect: allow, headers: {x-a: b}}",
        "a connection brings no headers",
        "leave `headers` and `cookies` out",
    ),
    (of_kind("PolicyTest", "[]"), "PD1109", "[]", "`spec` needs at least 1", ""),
    (limits("{requests: 0}"), "PD1109", "0", "`requests` must be at least 1", ""),
    (
        routed("match: {headers: {x-b: [a, b]}}"),
        "PD1108",
        "[a, b]",
        '`["a", "b"]` is not the value of a header',
        '"yes"',
    ),
    (routed("match: {query: {b: [a]}}"), "PD1108", "[a]", '`["a"]` cannot be a parameter of a query', "escapes"),
    (routed("match: {cookies: {b: [a]}}"), "PD1108", "[a]", '`["a"]` is not the value of a cookie', '"yes"'),
    (routed("match: {headers: {x-b: {present: false}}}"), "PD1106", "false", "not a value of `present`", "`true`"),
    (
        routed("match: {headers: {x-b: a, X-B: b}}"),
        "PD1111",
        "{x-b: a, X-B: b}",
        "the header `x-b` stands here twice",
        "one name",
    ),
    (
        routed("match: {headers: {}}, split: {version: v2}"),
        "PD1104",
        "{headers: {}}",
        "an empty `match` means every",
        "leave",
    ),
    (routed("split: []"), "PD1104", "{split: []}", "the rule changes nothing", "version: v2"),
    (
        routed("resilience: {timeout: {}}"),
        "PD1104",
        "{resilience: {timeout: {}}}",
        "the rule changes nothing",
        "version: v2",
    ),
    (limits("{per: 1s}"), "PD1104", "{per: 1s}", "needs `requests`", ""),
    (limits("{requests: 1, each: host}"), "PD1106", "host", "`host` is not a value of `each`", "`caller`"),
    (limits("{requests: 1, paths: [a]}"), "PD1110", "a", "does not start with `/`", ""),
    (resilience("circuitBreaker: {}"), "PD1104", "{}", "`circuitBreaker` bounds nothing", "connections: 100"),
    (resilience("circuitBreaker: {requests: 0}"), "PD1109", "0", "`requests` must be at least 1", ""),
    (resilience("circuitBreaker: {pending: -1}"), "PD1109", "-1", "`pending` must be at least 1", ""),
    (resilience("circuitBreaker: {connections: 4294967295}"), "PD1109", "4294967295", "at most 1000000", ""),
    (resilience("outlierDetection: {maxEjected: 10%}"), "PD1104", "{maxEjected: 10%}", "which errors count", "5"),
    (outliers("baseTime: 0s"), "PD1109", "0s", "`0s` is no time at all", "1ms"),
    (outliers("maxEjected: 0%"), "PD1109", "0%", "`0%` is not above 0%", ""),
    (outliers("successRate: {instances: 2}"), "PD1109", "2", "`instances` must be at least 3", ""),
    (outliers("successRate: {deviations: 0}"), "PD1109", "0", "`deviations`", ""),
    (
        service(more="  healthCheck: {interval: 1s}\n"),
        "PD1104",
        "{interval: 1s}",
        "does not say what is asked",
        "grpc",
    ),
    (service(more="  healthCheck: {path: /x, tcp: {}}\n"), "PD1111", "{path: /x, tcp: {}}", "asks in one way", "tcp"),
    (
        service(more="  healthCheck: {grpc: {service: a b}}\n"),
        "PD1107",
        "a b",
        "is not the name of a gRPC service",
        "pay.v1",
    ),
    (service(more="  upgrades: [h2c]\n"), "PD1106", "h2c", "`h2c` is not a value of `upgrades`", "`websocket`"),
    ("kind: Mesh\n", "PD1104", "k", "the document needs `apiVersion`", "policyd.dev/v1alpha1"),
    ("apiVersion: openslo/v1\n", "PD1104", "a", "the document needs `kind`", "kind: Service"),
    ("- a\n- b\n", "PD1012", "- a", "a document is a mapping", "dot-folder"),
    ("just text\n", "PD1012", "just text", "a document is a mapping", ""),
    (
        "apiVersion: policyd.dev/v1\nkind: Mesh\n",
        "PD1101",
        "policyd.dev/v1",
        "unknown apiVersion `policyd.dev/v1`",
        "did you mean `policyd.dev/v1alpha1`?",
    ),
    (
        "apiVersion: policyd.dev/v1alpha1\nkind: service\n",
        "PD1102",
        "service",
        "`policyd.dev/v1alpha1` has no kind `service`",
        "did you mean `Service`?",
    ),
    (
        "apiVersion: openslo/v1\nkind: [SLO]\n",
        "PD1102",
        "[SLO]",
        '`openslo/v1` has no kind `["SLO"]`',
        "`SLO`, `SLI`",
    ),
    (
        service(more="  protocl: http\n"),
        "PD1103",
        "protocl",
        "unknown field `protocl` in `spec`",
        "did you mean `protocol`?",
    ),
    (service(metadata=", ownr: x"), "PD1103", "ownr", "unknown field `ownr` in `metadata`", "did you mean `owner`?"),
    (
        service(more="  resilience: {timeout: {pertry: 1s}}\n"),
        "PD1103",
        "pertry",
        "unknown field `pertry` in `timeout`",
        "did you mean `perTry`?",
    ),
    (
        service(versions="{v1: {endpoints: [{address: 10.0.0.1, zon: b}]}}"),
        "PD1103",
        "zon",
        "unknown field `zon` in `endpoints`",
        "did you mean `zone`?",
    ),
    (rule(source="[{service: web, names: x}]"), "PD1103", "names", "unknown field `names` in `from`", "`namespace`"),
    (slo(metadata=", owner: me"), "PD1103", "owner", "unknown field `owner` in `metadata`", "policyd.dev/owner"),
    (
        slo(more="  alertPolicies: [{alertPolicyRef: fast}]\n"),
        "PD1103",
        "alertPolicyRef",
        "unknown field `alertPolicyRef` in `alertPolicies`",
        "inline",
    ),
    (rule(allow="[{methods: [GET]}]"), "PD1104", "{methods: [GET]}", "`allow` needs `paths`", "`paths: [/**]`"),
    (rule(allow="[{paths: [/v1]}]"), "PD1104", "{paths: [/v1]}", "`allow` needs `methods`", '`methods: ["*"]`'),
    (rule(source="[{}]"), "PD1104", "{}", "a source without fields matches nobody", "`namespace`"),
    (service(more="  slo: {window: 30d}\n"), "PD1104", "{window: 30d}", "`slo` promises nothing", "availability"),
    (service(port='"8080"'), "PD1105", '"8080"', "`port` must be a whole number", ""),
    (
        service(versions="{v1: {endpoints: registered}}"),
        "PD1105",
        "registered",
        "`endpoints` must be a list",
        "`[...]`",
    ),
    (
        service(more="  opaquePaths: yes\n"),
        "PD1105",
        "yes",
        "`opaquePaths` must be `true` or `false`",
        "`yes` is text",
    ),
    (service(more="  healthCheck: /healthz\n"), "PD1105", "/healthz", "`healthCheck` must be a mapping", "{...}"),
    (service(metadata=", labels: {tier: 1}"), "PD1105", "1", "`tier` must be text", "quotes"),
    (service(metadata=", labels: [a]"), "PD1105", "[a]", "`labels` must be a mapping", ""),
    (
        service(more="  protocol: htpp\n"),
        "PD1106",
        "htpp",
        "`htpp` is not a value of `protocol`",
        "did you mean `http`?",
    ),
    (
        rule(more="  mode: observed\n"),
        "PD1106",
        "observed",
        "`observed` is not a value of `mode`",
        "did you mean `observe`?",
    ),
    (
        service(more="  resilience: {retries: {attempts: 1, on: [timeout]}}\n"),
        "PD1106",
        "timeout",
        "`timeout` is not a reason to try again",
        "`connect-failure`",
    ),
    (
        service(metadata=", namespace: Pay").replace("name: checkout", "name: Checkout"),
        "PD1107",
        "Checkout",
        "`Checkout` is not a name",
        "lower-case",
    ),
    (rule(to="a/b/c"), "PD1107", "a/b/c", "`a/b/c` is not a reference", "`namespace/name`"),
    (
        rule(source='[{identity: "spiffe://x/../y"}]'),
        "PD1107",
        '"spiffe://x/../y"',
        "`spiffe://x/../y` is not a SPIFFE ID",
        "",
    ),
    (rule(source='["**"]'), "PD1107", '"**"', "`**` is not a reference", ""),
    (split(more='  first: {header: {"x y": "1"}}\n'), "PD1107", '"x y"', "`x y` is not the name of a header", ""),
    (
        split(more="  first: {header: {x-canary: true}}\n"),
        "PD1108",
        "true",
        "`true` is not the value of a header",
        '"yes"',
    ),
    (service(metadata=', namespace: "x.y"'), "PD1107", '"x.y"', "`x.y` is not a name", ""),
    (
        slo(metadata=", annotations: {policyd.dev/namespace: A}"),
        "PD1107",
        "{name: pay, annotations: {policyd.dev/namespace: A}}",
        "`A` is not a name",
        "",
    ),
    (split(hold="60"), "PD1108", "60", "`60` is not a duration", "`600ms`"),
    (split(hold="1.5s"), "PD1108", "1.5s", "`1.5s` is not a duration", ""),
    (split(hold="1h30m"), "PD1108", "1h30m", "`1h30m` is not a duration", ""),
    (rule(more="  expires: 2027-02-30\n"), "PD1108", "2027-02-30", "`2027-02-30` is not a date", "2027-03-31"),
    (
        rule(more="  expires: 2027-03-31T12:00:00\n"),
        "PD1108",
        "2027-03-31T12:00:00",
        "is not a date or an instant",
        "zone",
    ),
    (
        rule(allow="[{methods: [TRACE], paths: [/**]}]"),
        "PD1106",
        "TRACE",
        "`TRACE` is not a method",
        "one of `DELETE`",
    ),
    (rule(allow="[{methods: [get], paths: [/**]}]"), "PD1106", "get", "`get` is not a method", "write `GET`"),
    (
        service(versions="{v1: {endpoints: [host.example]}}"),
        "PD1108",
        "host.example",
        "`host.example` is not an IP",
        "",
    ),
    (
        service(versions='{v1: {endpoints: [{address: 10.0.0.1, app: "9000"}]}}'),
        "PD1108",
        '"9000"',
        "`9000` is not an address with a port",
        "127.0.0.1:9000",
    ),
    (
        service(versions='{v1: {endpoints: [{address: 10.0.0.1, app: "10.0.0.1:9000"}]}}'),
        "PD1109",
        '"10.0.0.1:9000"',
        "`10.0.0.1:9000` is not a loopback address",
        "not encrypted",
    ),
    (service(port="0"), "PD1109", "0", "`port` must be at least 1", ""),
    (service(versions="{}"), "PD1109", "{}", "`versions` needs at least 1", ""),
    (rule(source="[]"), "PD1109", "[]", "`from` needs at least 1", ""),
    (split(steps="[5, 101]"), "PD1109", "101", "step `101` is not above 0 and at most 100", ""),
    (split(steps="[0.001]"), "PD1109", "0.001", "step `0.001`", "two decimals"),
    (service(more="  slo: {availability: 100}\n"), "PD1109", "100", "target `100`", "no error budget"),
    (service(more="  slo: {latency: {p99: 300ms}}\n"), "PD1109", "p99", "`p99` is not a percentile", "{99: 300ms}"),
    (slo(objective="target: 1"), "PD1109", "1", "`target` must be below 1", ""),
    (
        rule(allow="[{methods: [GET], paths: [v1]}]"),
        "PD1110",
        "v1",
        "path `v1` does not start with `/`",
        "`{name}`",
    ),
    (rule(allow="[{methods: [GET], paths: [/a/../b]}]"), "PD1110", "/a/../b", "`..` segment", ""),
    (
        rule(allow='[{methods: [GET], paths: ["/a/{id}x"]}]'),
        "PD1110",
        '"/a/{id}x"',
        "neither a literal nor a whole",
        "",
    ),
    (
        rule(allow="[{methods: [GET], paths: [/a%2Fb]}]"),
        "PD1110",
        "/a%2Fb",
        "can never be in a canonical request",
        "",
    ),
    (service(more='  healthCheck: {path: "/{any}"}\n'), "PD1110", '{path: "/{any}"}', "is a pattern", "/healthz"),
    (
        slo(objective="target: 0.9, targetPercent: 90"),
        "PD1111",
        "{target: 0.9, targetPercent: 90}",
        "either a `target` or a `targetPercent`",
        "",
    ),
    (slo(more="  indicatorRef: x\n"), "PD1111", "service: pay", "either an `indicator` or an `indicatorRef`", ""),
    (slo(indicator="{spec: {}}"), "PD1111", "{}", "either a `ratioMetric` or a `thresholdMetric`", ""),
    (
        slo(indicator=f"{{spec: {{ratioMetric: {{good: {GOOD}}}}}}}"),
        "PD1104",
        "{good: {metricSource: {type: policyd, spec: {service: pay, good: non-5xx}}}}",
        "needs `total`",
        "",
    ),
    (
        slo(indicator=f"{{spec: {{ratioMetric: {{good: {GOOD}, bad: {GOOD}, total: {PROXIES}}}}}}}"),
        "PD1111",
        f"{{good: {GOOD}, bad: {GOOD}, total: {PROXIES}}}",
        "one of `good`, `bad` and `raw`",
        "",
    ),
    (
        slo(indicator="{spec: {thresholdMetric: {metricSource: {spec: {query: x}}}}}"),
        "PD1104",
        "metricSource",
        "needs a `type` or a `metricSourceRef`",
        "policyd",
    ),
    (
        slo(indicator="{spec: {thresholdMetric: {metricSource: {type: policyd, spec: {servce: pay}}}}}"),
        "PD1103",
        "servce",
        "unknown field `servce` in `spec`",
        "did you mean `service`?",
    ),
]


@pytest.mark.parametrize(("text", "code", "meant", "message", "hint"), CASES)
def test_each_fault_in_the_users_words(text: str, code: str, meant: str, message: str, hint: str) -> None:
    found = load(MemoryTree({"a.yaml": text})).findings
    matching = [finding for finding in found if finding.code == code and message in finding.message]
    assert matching, [(finding.code, finding.message) for finding in found]
    (finding,) = matching
    begin = finding.location.column - 1
    assert finding.excerpt == text.split("\n")[finding.location.line - 1]
    assert finding.excerpt[begin : begin + finding.width] == meant
    assert hint in finding.hint
    _reads_well(finding)


def _reads_well(finding: Finding) -> None:
    bare = finding.message.split("`")[0]
    assert not bare[:1].isupper() or bare.startswith("SLO")
    for name in ("str", "int", "dict", "tuple", "BaseModel", "pydantic", "NoneType"):
        assert name not in finding.message.split("`")[::2]
    assert finding.excerpt
    assert 1 <= finding.width <= len(finding.excerpt)


def test_all_faults_of_a_document_at_once_and_in_order() -> None:
    text = service(port="0", versions="{V1: {endpoint: []}}", more="  protocol: x\n  foo: 1\n")
    found = load(MemoryTree({"a.yaml": text})).findings
    assert [finding.code for finding in found] == ["PD1109", "PD1104", "PD1107", "PD1103", "PD1106", "PD1103"]
    assert list(found) == sorted(found, key=lambda finding: finding.location)


def test_one_document_of_each_kind_reads_without_a_finding() -> None:
    texts = {"s.yaml": service(), "r.yaml": rule(), "c.yaml": split(), "o.yaml": slo()}
    loaded = load(MemoryTree(texts))
    assert loaded.findings == ()
    assert sorted(document.kind for document in loaded.documents) == ["AccessRule", "CanarySplit", "SLO", "Service"]
