"""The join: what is allowed beside what was seen, without a proxy."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

from policyd.api.service_map import Edge, ServiceMap, Tried
from policyd.daemon.mapping import joined
from policyd.intents import MemoryTree, load
from policyd.lowering import lower
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.service import Protocol
from policyd.plan.floor import NOTHING_ENDED, Floor, subtracted
from policyd.telemetry.counters import Outcomes
from policyd.telemetry.edges import Now, Seen
from policyd.telemetry.source import Buckets

AT = datetime(2027, 1, 2, tzinfo=UTC)
SINCE = datetime(2027, 1, 1, tzinfo=UTC)
LATER = datetime(2027, 1, 1, 12, tzinfo=UTC)
WEB, API, JOBS = (Name("default", name) for name in ("web", "api", "jobs"))
RULE = """---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {{name: {name}, owner: test}}
spec: {{to: {to}, from: [{source}], allow: [{{methods: [GET], paths: [/items]}}], mode: {mode}}}
"""


def rule(name: str, to: str, source: str, mode: str = "enforce") -> str:
    return RULE.format(name=name, to=to, source=source, mode=mode)


def mesh(*rules: str) -> Mesh:
    files = {"mesh.yaml": "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: m, owner: test}\n"
             "spec: {trustDomain: m.example}\n"}  # fmt: skip
    for number, name in enumerate(("web", "api", "jobs"), 1):
        files[f"{name}.yaml"] = (
            f"apiVersion: policyd.dev/v1alpha1\nkind: Service\nmetadata: {{name: {name}, owner: test}}\n"
            f"spec: {{port: 8080, versions: {{v1: {{endpoints: [10.0.0.{number}]}}}}, version: v1}}\n"
        )
    files["rules.yaml"] = "".join(rules) or "# none\n"
    lowered = lower(load(MemoryTree({path: text.encode() for path, text in files.items()})))
    assert lowered.mesh is not None, lowered.findings
    return lowered.mesh


def edges(found: ServiceMap) -> dict[tuple[str, str], Edge]:
    return {(edge.caller, edge.callee): edge for edge in found.edges}


SEEN = Seen(
    seconds=60.0,
    since=SINCE,
    ways={
        (WEB, API, "v1"): Outcomes(600, 3, Buckets((10.0, 20.0, math.inf), (300, 600, 600)), 5),
        (WEB, API, "v2"): Outcomes(60, 3),
    },
    last_used={(WEB, API): AT},
)


def test_an_edge_has_what_allows_it_beside_what_was_seen() -> None:
    found = edges(joined(mesh(rule("web-reads", "api", "web"), rule("all-read", "api", '"*"')), SEEN, AT))
    edge = found["default/web", "default/api"]
    assert edge.rules == ("default/all-read", "default/web-reads")
    assert (edge.traffic.requests_per_s, edge.traffic.error_share) == (11.0, round(6 / 660, 6))
    assert (edge.traffic.p50_ms, edge.traffic.p95_ms) == (10.0, 19.0)
    assert {name: seen.requests for name, seen in edge.versions.items()} == {"v1": 600, "v2": 60}
    assert (edge.unused, edge.unused_since, edge.ever_used) == (False, "", True)


def test_what_is_allowed_and_not_seen_is_unused_since_it_was_seen_last() -> None:
    seen = replace(SEEN, last_used={(WEB, API): AT, (JOBS, API): LATER})
    rules = rule("web-reads", "api", "web"), rule("jobs-read", "api", "jobs"), rule("api-pushes", "web", "api")
    found = edges(joined(mesh(*rules), seen, AT))
    used_once, never = found["default/jobs", "default/api"], found["default/api", "default/web"]
    assert (used_once.unused, used_once.unused_since, used_once.ever_used) == (True, LATER.isoformat(), True)
    assert (never.unused, never.unused_since, never.ever_used) == (True, SINCE.isoformat(), False)
    assert len(found) == 3


def test_nothing_is_called_unused_whose_callers_were_not_read_or_before_anything_was() -> None:
    rules = mesh(rule("jobs-read", "api", "jobs"), rule("web-is-read", "web", "api"), rule("all", "jobs", '"*"'))
    found = edges(joined(rules, replace(SEEN, not_read=frozenset({"default/jobs/v1/10.0.0.3"})), AT))
    assert [found["default/jobs", "default/api"].unused, found["*", "default/jobs"].unused] == [None, None]
    assert found["default/api", "default/web"].unused is True
    assert {edge.unused for edge in joined(rules, Seen(), AT).edges} == {None}


def test_an_open_rule_is_one_edge_and_used_by_whoever_uses_it() -> None:
    found = edges(joined(mesh(rule("all-read", "api", '"*"'), rule("all-push", "web", '"*"')), SEEN, AT))
    assert found.keys() == {("*", "default/api"), ("*", "default/web"), ("default/web", "default/api")}
    assert found["default/web", "default/api"].rules == ("default/all-read",)
    assert [found["*", "default/api"].unused, found["*", "default/web"].unused] == [False, True]


def test_what_is_only_observed_or_cut_off_is_not_allowed() -> None:
    watched = mesh(rule("web-reads", "api", "web", "observe"))
    assert edges(joined(watched, Seen(since=SINCE), AT)) == {}
    assert edges(joined(watched, SEEN, AT))["default/web", "default/api"].rules == ()

    whole = mesh(rule("web-reads", "api", "web"), """---
apiVersion: policyd.dev/v1alpha1
kind: Revocation
metadata: {name: web-is-out, owner: test}
spec: {cut: {identity: web}, reason: leaked}
""")  # fmt: skip
    closed = subtracted(whole, Floor(NOTHING_ENDED, tuple(whole.revocations.values())))
    assert edges(joined(closed, Seen(since=SINCE), AT)) == {}


def test_denials_are_bounded_where_nobody_counts_both_ends() -> None:
    seen = replace(
        SEEN,
        denied={(API, "no-rule-for-request"): 4, (WEB, "no-rule-for-caller"): 2},
        not_in_scope={JOBS: 7},
    )
    found = joined(mesh(rule("web-reads", "api", "web")), seen, AT)
    assert found.denied == (
        Tried("", "default/web", "callee", {"no-rule-for-caller": 2}, 2),
        Tried("default/jobs", "", "caller", {"denied-not-in-scope": 7}, 7),
        Tried("default/web", "default/api", "callee", {"no-rule-for-request": 4}, 4),
    )
    # Without a denial at the callee, a 403 was its application's own.
    assert joined(mesh(), SEEN, AT).denied == ()


EGRESS = """---
apiVersion: policyd.dev/v1alpha1
kind: Egress
metadata: {name: cards, owner: test}
spec: {host: api.cards.example}
"""


def test_what_was_not_let_out_is_denied_at_its_host() -> None:
    out = mesh(rule("web-charges", "cards", "web"), EGRESS)
    seen = replace(SEEN, kept_in={(WEB, "no-rule-for-request"): 3, (JOBS, "no-rule-for-request"): 1})
    assert joined(out, seen, AT).denied == (
        Tried("default/jobs", "", "caller", {"no-rule-for-request": 1}, 1),  # it may call no host outside any more
        Tried("default/web", "default/cards", "caller", {"no-rule-for-request": 3}, 3),
    )


def test_rules_to_hosts_outside_are_used_at_their_callers() -> None:
    out = mesh(rule("web-charges", "cards", "web"), EGRESS)
    charges = "default/web-charges"
    used = replace(SEEN, matched={(WEB, charges): 2}, rule_last_used={(WEB, charges): AT})
    (found,) = joined(out, used, AT).rules
    assert (found.callee, found.matched, found.unused, found.ever_used) == ("default/cards", 2, False, True)
    (idle,) = joined(out, SEEN, AT).rules
    assert idle.unused is True
    (unread,) = joined(out, replace(SEEN, not_read=frozenset({"default/web/v1/10.0.0.1"})), AT).rules
    assert unread.unused is None


def test_a_part_of_the_map_is_about_a_service_or_a_word() -> None:
    seen = replace(SEEN, denied={(API, "no-rule-for-request"): 4}, not_in_scope={JOBS: 7})
    found = joined(mesh(rule("web-reads", "api", "web"), rule("api-pushes", "web", "api")), seen, AT)
    assert found.only() == found
    assert [each.callee for each in found.only(unused=True).edges] == ["default/web"]
    assert found.only(unused=True).denied == ()
    assert (found.only(denied=True).edges, found.only(denied=True).denied) == ((), found.denied)
    assert found.only(service="default/jobs").edges == ()
    assert [each.caller for each in found.only(service="default/jobs").denied] == ["default/jobs"]


def test_a_rule_that_let_nothing_in_is_unused_where_its_callee_was_read() -> None:
    rules = rule("web-reads", "api", "web"), rule("all-read", "api", '"*"'), rule("jobs-push", "web", "jobs")
    seen = replace(
        SEEN,
        matched={(API, "default/all-read"): 660},
        rule_last_used={(API, "default/all-read"): AT, (API, "default/web-reads"): LATER},
    )
    found = {use.rule: use for use in joined(mesh(*rules), seen, AT).rules}
    # Both let web in: only one of them did, so the other one is not needed.
    assert (found["default/all-read"].matched, found["default/all-read"].unused) == (660, False)
    reads, push = found["default/web-reads"], found["default/jobs-push"]
    assert (reads.unused, reads.unused_since, reads.ever_used) == (True, LATER.isoformat(), True)
    assert (push.unused, push.unused_since, push.callers) == (True, SINCE.isoformat(), ("default/jobs",))
    assert edges(joined(mesh(*rules), seen, AT))["default/web", "default/api"].matched == {"default/all-read": 660}
    blind = replace(seen, not_read=frozenset({"default/web/v1/10.0.0.1"}))
    assert {use.rule: use.unused for use in joined(mesh(*rules), blind, AT).rules}["default/jobs-push"] is None
    assert {use.unused for use in joined(mesh(*rules), Seen(), AT).rules} == {None}


def test_what_is_held_back_now_stands_at_its_edge() -> None:
    seen = replace(SEEN, now={(WEB, API, "v2"): Now(2, 1), (WEB, API, "v3"): Now(1)})
    edge = edges(joined(mesh(rule("web-reads", "api", "web")), seen, AT))["default/web", "default/api"]
    assert (edge.traffic.open_circuits, edge.traffic.left_out) == (3, 1)
    held = {version: (found.open_circuits, found.left_out) for version, found in edge.versions.items()}
    assert held == {"v1": (0, 0), "v2": (2, 1), "v3": (1, 0)}


def test_what_is_under_way_is_used_however_long_ago_it_began() -> None:
    """A pool's connections to a database are opened once a day."""
    quiet = replace(SEEN, ways={}, last_used={(WEB, API): AT})
    the_mesh = mesh(rule("web-reads", "api", "web"))
    assert edges(joined(the_mesh, quiet, AT))["default/web", "default/api"].unused is True
    held = replace(quiet, now={(WEB, API, "v1"): Now(active=1)})
    assert edges(joined(the_mesh, held, AT))["default/web", "default/api"].unused is False


def test_how_long_connections_last_is_no_latency() -> None:
    the_mesh = mesh(rule("web-reads", "api", "web"))
    connects = replace(the_mesh.services[API], protocol=Protocol.TCP)
    edge = edges(joined(replace(the_mesh, services={**the_mesh.services, API: connects}), SEEN, AT))
    traffic = edge["default/web", "default/api"].traffic
    assert (traffic.p50_ms, traffic.p99_ms, traffic.requests_per_s > 0) == (None, None, True)
