"""Tests of policies: what they find, where, in which words, and how many cases are really judged again."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from policyd.base.diagnostics import Finding
from policyd.decisions.expectations import Expectations, failures
from policyd.intents import MemoryTree, ParseCache, load
from policyd.lowering import LoweringMemo, lower
from policyd.plan.floor import without_own_cuts

AT = datetime(2027, 1, 1, tzinfo=UTC)
MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: shop}
spec:
  trustDomain: shop.example
  issuers: {login: {issuer: "https://login.example", jwksUri: "https://login.example/keys"}}
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: web}
spec: {port: 8080, version: v1, versions: {v1: {endpoints: [10.0.0.1]}}}
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: charges, namespace: pay}
spec: {port: 8080, version: v1, versions: {v1: {endpoints: [10.0.0.2]}}}
"""
RULES = """\
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: web-pays, namespace: pay}
spec:
  to: charges
  from: [{service: default/web, ipBlock: 10.0.0.0/8}]
  allow: [{methods: [POST], paths: [/v1/charges]}]
  expires: 2027-06-01
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: admins, namespace: pay}
spec:
  to: charges
  from: [default/web]
  allow: [{methods: [GET], paths: [/admin]}]
  jwt: {issuer: login, claims: {role: [admin]}}
"""
OBSERVED = """\
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: later, namespace: pay}
spec: {to: charges, from: ["*"], allow: [{methods: ["*"], paths: [/**]}], mode: observe}
"""
CUT = """\
apiVersion: policyd.dev/v1alpha1
kind: Revocation
metadata: {name: leak, namespace: pay}
spec: {cut: {from: default/web, to: charges}, reason: a key in a log}
"""
TESTS = """\
apiVersion: policyd.dev/v1alpha1
kind: PolicyTest
metadata: {name: charges, namespace: pay}
spec:
"""


def case(request: str, expect: str, *more: str, source: str = "default/web", to: str = "charges") -> str:
    return (
        "  - {"
        + ", ".join([f"from: {source}", f"to: {to}", f"request: {request}", f"expect: {expect}", *more])
        + "}\n"
    )


class Repository:
    """A tree that is judged again and again, with memories as the controller has them."""

    def __init__(self) -> None:
        self.expectations = Expectations()
        self._cache, self._memo = ParseCache(), LoweringMemo()

    def judge(self, tests: str, at: datetime = AT, **more: str) -> tuple[Finding, ...]:
        files = {"mesh.yaml": MESH, "rules.yaml": RULES, "tests.yaml": TESTS + tests}
        return self.tree({**files, **{f"{name}.yaml": text for name, text in more.items()}}, at)

    def tree(self, files: Mapping[str, str], at: datetime) -> tuple[Finding, ...]:
        loaded = load(MemoryTree(files), self._cache)
        lowered = lower(loaded, self._memo)
        if lowered.mesh is None:
            return lowered.findings
        return failures(self.expectations.judge(loaded.documents, without_own_cuts(lowered.mesh), at))


GOOD = [
    case("POST /v1/charges", "allow", "ip: 10.0.0.9"),
    case("POST /v1/charges", "deny"),
    case("POST /v1/charges", "deny", "ip: 192.0.2.1"),
    case("POST /v1/charges", "deny", "ip: 10.0.0.9", "port: 9090"),
    case("POST /v1/charges", "deny", "ip: 10.0.0.9", "at: 2027-06-01"),
    case("POST /v1/charges", "allow", "ip: 10.0.0.9", "at: 2027-05-31T23:59:59Z"),
    case("POST /v1/charges", "reject", "host: a b"),
    case("GET /v1/charges/../admin", "reject"),
    case("GET /admin", "deny"),
    case("GET /admin", "allow", "jwt: {issuer: login, claims: {role: admin}}"),
    case("GET /admin", "allow", "jwt: {issuer: login, claims: {role: [dev, admin]}}"),
    case("GET /admin", "deny", "jwt: {issuer: login, valid: false, claims: {role: admin}}"),
    case("GET /admin", "deny", "jwt: {issuer: login, claims: {role: dev}}"),
    case("GET /admin", "deny", "jwt: {issuer: login, claims: {role: admin}}", source='"spiffe://x.example/y"'),
    case("GET /", "deny", to="default/web"),
]


def test_what_holds_is_not_mentioned() -> None:
    repository = Repository()
    assert repository.judge("".join(GOOD)) == ()
    assert repository.expectations.decided == len(GOOD)


def test_every_case_that_fails_is_a_finding_at_its_place_with_the_nearest_reasons() -> None:
    cases = [
        case("POST /v1/charges", "deny", "ip: 10.0.0.9"),
        case("GET /v1/charges/../admin", "deny"),
        case("PUT /v1/charges", "allow", "ip: 10.0.0.9"),
        case("POST /v1/charges", "allow", "ip: 10.0.0.9", "at: 2027-06-01"),
        case("GET /admin", "allow"),
    ]
    found = Repository().judge("".join(cases))
    assert [(each.code, each.location.path, each.location.line) for each in found] == [
        ("PD1391", "tests.yaml", number) for number in range(5, 10)
    ]
    assert [each.excerpt[each.location.column - 1 :][: each.width] for each in found] == [
        "deny", "deny", "allow", "allow", "allow",
    ]  # fmt: skip
    assert found[0].message == (
        "`deny` is expected, and the answer is `allow` (200): "
        "rule `pay/web-pays` allows `web` to `POST /v1/charges` on `pay/charges`"
    )
    assert found[1].message.startswith("`deny` is expected, and the answer is `reject` (400): path ")
    assert "`allow` is expected, and the answer is `deny` (403): no rule of `pay/charges`" in found[2].message
    assert found[2].hint.startswith("rule `pay/web-pays` allows `POST` on this path, not `PUT`")
    assert "the answer at 2027-06-01T00:00:00Z is `deny` (403)" in found[3].message
    assert "rule `pay/web-pays` allowed it until 2027-06-01T00:00:00Z" in found[3].hint
    assert "`deny` (401)" in found[4].message
    assert "asks for a token of `login`" in found[4].hint


def test_only_what_is_enforced_counts() -> None:
    repository = Repository()
    assert repository.judge(case("GET /x", "deny"), rules=RULES + OBSERVED) == ()
    enforced = OBSERVED.replace(", mode: observe", "")
    assert len(repository.judge(case("GET /x", "deny"), rules=RULES + enforced)) == 1


def test_who_is_revoked_is_denied() -> None:
    tests = case("POST /v1/charges", "allow", "ip: 10.0.0.9")
    repository = Repository()
    assert repository.judge(tests) == ()
    (found,) = repository.judge(tests, cut=CUT)
    assert "`web` is revoked" in found.message


def test_names_that_do_not_exist_are_found_as_in_rules() -> None:
    cases = case("GET /", "deny", source="wbe", to="charge") + case("GET /", "deny", "jwt: {issuer: logn}")
    found = Repository().judge(cases)
    assert [(each.code, each.location.line, each.message) for each in found] == [
        ("PD1203", 5, "there is no service `wbe`"),
        ("PD1203", 5, "there is no service `charge`"),
        ("PD1222", 6, "the mesh has no issuer `logn`"),
    ]
    assert found[1].hint.startswith("did you mean `charges`?")


def test_what_did_not_change_is_not_judged_again() -> None:
    repository, expectations = Repository(), None
    other = TESTS.replace("name: charges", "name: web") + case("GET /", "deny", to="default/web")
    own = case("POST /v1/charges", "allow", "ip: 10.0.0.9")
    expectations = repository.expectations

    def judged(**more: str) -> int:
        before = expectations.decided
        at = datetime.fromisoformat(more.pop("at", AT.isoformat()))
        repository.judge(own, at, **{"other": other, **more})
        return expectations.decided - before

    assert judged() == 2
    assert judged() == 0
    assert judged(mesh=MESH + "# a comment\n") == 0
    assert judged(rules=RULES.replace("PUT", "GET").replace("[POST]", "[POST, PUT]")) == 1
    assert judged() == 1
    assert judged(at=(AT + timedelta(days=100)).isoformat()) == 0
    assert judged(at="2027-06-01T00:00:00+00:00") == 1, "a rule has ended"
    assert judged(at="2027-06-02T00:00:00+00:00") == 0
    assert judged() == 1, "the clock was set back"
    assert judged(other=other.replace("GET /", "GET /x")) == 1
    assert judged(mesh=MESH.replace("shop.example", "other.example")) == 2


def test_a_tree_without_tests_costs_no_index() -> None:
    repository = Repository()
    assert repository.tree({"mesh.yaml": MESH, "rules.yaml": RULES}, AT) == ()
    assert repository.expectations._index is None


ROUTE = """\
apiVersion: policyd.dev/v1alpha1
kind: Route
metadata: {name: charges, namespace: pay}
spec:
  to: charges
  rules:
    - {name: beta, match: {paths: [/v0/**], headers: {x-beta: "yes"}}, rewrite: {path: /elsewhere}}
    - {name: old, match: {paths: [/v0/**]}, rewrite: {path: /v1}}
    - {name: home, match: {paths: [/home]}, rewrite: {path: /v1/secrets}}
"""


def test_what_arrives_is_judged() -> None:
    repository = Repository()
    paid, home = (case(f"POST {path}", "allow", "ip: 10.0.0.9") for path in ("/v0/charges?now", "/home"))
    assert [one.code for one in repository.judge(paid)] == ["PD1391"]
    assert repository.judge(paid, route=ROUTE) == ()
    (found,) = repository.judge(paid + home, route=ROUTE)
    assert found.message.startswith(
        "`allow` is expected, and the answer to what arrives as `/v1/secrets` is `deny` (403)"
    )
    before = repository.expectations.decided
    (found,) = repository.judge(paid, route=ROUTE.replace("{path: /v1}", "{path: /v2}"))
    assert "`/v2/charges`" in found.message
    assert repository.expectations.decided == before + 1


LED = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: old, namespace: pay}
spec: {port: 8080, version: v1, versions: {v1: {endpoints: [10.0.0.3]}}}
---
apiVersion: policyd.dev/v1alpha1
kind: Route
metadata: {name: charges, namespace: pay}
spec:
  to: charges
  rules:
    - {name: moved, match: {paths: [/v1/charges]}, split: {service: old}}
    - {name: away, match: {paths: [/away]}, redirect: {path: /v1/charges}}
"""
TO_OLD = """\
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: web-old, namespace: pay}
spec: {to: old, from: [default/web], allow: [{methods: [POST], paths: [/v1/charges]}]}
"""


def test_tests_follow_a_route_to_who_judges() -> None:
    repository = Repository()
    paid, away = case("POST /v1/charges", "allow", "ip: 10.0.0.9"), case("GET /away", "redirect")
    denied, sent_away = repository.judge(paid + case("GET /away", "allow"), led=LED)
    assert "to what arrives at `pay/old` is `deny` (403): no rule of `pay/old` allows" in denied.message
    assert sent_away.message.endswith(
        "is `redirect` (302): rule `away` of its route answers it, and it never arrives: redirect 302 to /v1/charges"
    )
    assert repository.judge(paid + away, led=LED + TO_OLD) == ()
    assert len(repository.judge(paid + away, led=LED)) == 1  # judged anew, since the rules of `old` are others


BY_HEADER = """\
apiVersion: policyd.dev/v1alpha1
kind: Route
metadata: {name: charges, namespace: pay}
spec:
  to: charges
  rules:
    - {name: beta, match: {headers: {x-beta: {prefix: "y"}}}, redirect: {host: beta.example}}
    - {name: tester, match: {cookies: {tester: "1", group: {present: true}}}, rewrite: {path: /admin}}
"""


def test_what_a_test_brings_chooses_the_rule_of_a_route() -> None:
    repository = Repository()
    ip = "ip: 10.0.0.9"
    good = [
        case("POST /v1/charges", "allow", ip),
        case("POST /v1/charges", "redirect", ip, "headers: {X-Beta: yes, x-other: '1'}"),
        case("POST /v1/charges", "allow", ip, "headers: {x-beta: no}"),
        case("POST /v1/charges", "allow", ip, "cookies: {tester: '1'}"),
        case("POST /v1/charges", "deny", ip, "cookies: {tester: '1', group: a}"),
        case("POST /v1/charges", "redirect", ip, "headers: {x-beta: yes}", "cookies: {tester: '1', group: a}"),
    ]
    assert repository.judge("".join(good), route=BY_HEADER) == ()
    assert [each.location.line for each in repository.judge("".join(good))] == [6, 9, 10]


def test_a_test_brings_nothing_that_no_sidecar_sees() -> None:
    brought = (
        "cookie",
        "Host",
        "connection",
        "te",
        "x-envoy-retry-on",
        "client-cert",
        "x_user",
        "x-forwarded-client-cert",
    )
    found = Repository().judge("".join(case("GET /", "deny", f"headers: {{{name}: a}}") for name in brought))
    assert [(each.code, each.location.line) for each in found] == [("PD1259", 5 + n) for n in range(len(brought))]
    assert found[1].message == "no request can be known by the header `host`"
    assert [each.hint for each in found[:3]] == [
        "say it in `cookies`", "say it in `host`", "it is about one connection, and sidecars take it away",
    ]  # fmt: skip
    assert all("take" in each.hint for each in found[3:6])
    assert "write `-`" in found[6].hint


def test_a_connection_is_expected_like_a_request() -> None:
    first = RULES.partition("---")[0]
    files = {
        "mesh.yaml": MESH.replace("pay}\nspec: {port: 8080", "pay}\nspec: {protocol: tcp, port: 5432"),
        "rules.yaml": first.replace("{methods: [POST], paths: [/v1/charges]}", "{connections: true}"),
        "tests.yaml": TESTS
        + "  - {from: default/web, to: charges, request: CONNECT, ip: 10.1.1.1, expect: allow}\n"
        + "  - {from: default/web, to: charges, request: CONNECT, expect: deny}\n"
        + "  - {from: default/web, to: charges, request: GET /, ip: 10.1.1.1, expect: reject}\n",
    }  # fmt: skip
    lowered = lower(load(MemoryTree(files)))
    assert lowered.mesh is not None, lowered.findings
    tried = Expectations().judge(load(MemoryTree(files)).documents, lowered.mesh, AT)
    assert [each.passed for each in tried] == [True, True, True], [each.followed for each in tried]
