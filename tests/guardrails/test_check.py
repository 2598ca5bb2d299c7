from __future__ import annotations

from datetime import UTC, datetime

import pytest

from policyd.base.diagnostics import Finding, Severity
from policyd.guardrails.bundle import Bundle, Module
from policyd.guardrails.check import check
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.intents import MemoryTree, load

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)

SERVICE = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: pay, owner: team-pay, labels: {tier: %s}}
spec:
  port: 8080
  versions:
    v1: {endpoints: [10.0.0.1, 10.0.0.2]}
  version: v1
  healthCheck: {path: /healthz}
  slo: {availability: 99.9}
---
apiVersion: policyd.dev/v1alpha1
kind: CanarySplit
metadata: {name: pay, owner: team-pay}
spec: {service: pay, steps: [5, 100], hold: 60s, gates: [pay-availability]}
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: web-pays, %s}
spec:
  to: pay
  from: [web]
  allow:
    - methods: [POST]
      paths: [/v1/charges, /**]%s
"""


async def judged(
    engine: EmbeddedEngine,
    *bundles: Bundle,
    tier: str = "critical",
    owner: str = "owner: team-pay",
    comment: str = "",
    at: datetime = AT,
) -> tuple[Finding, ...]:
    loaded = load(MemoryTree({"pay.yaml": SERVICE % (tier, owner, comment)}))
    assert loaded.findings == ()
    return await check(loaded, engine, at, bundles)


async def test_a_finding_stands_where_the_value_stands(embedded: EmbeddedEngine, shipped: Bundle) -> None:
    (finding,) = await judged(embedded, shipped)
    assert finding.code == "PD2104"
    assert str(finding.location) == "pay.yaml:25:28"
    assert finding.severity is Severity.ERROR
    assert finding.excerpt == "      paths: [/v1/charges, /**]"
    assert finding.message == "`web-pays` allows every path of `pay`, which is `tier: critical`"


async def test_two_equal_bundles_judge_once(embedded: EmbeddedEngine, shipped: Bundle) -> None:
    assert await judged(embedded, shipped, shipped) == await judged(embedded, shipped)


@pytest.mark.parametrize(("tier", "severity"), [("critical", Severity.ERROR), ("batch", Severity.WARNING)])
async def test_by_tier(embedded: EmbeddedEngine, shipped: Bundle, tier: str, severity: Severity) -> None:
    text = (SERVICE % (tier, "owner: a", "")).replace("  healthCheck: {path: /healthz}\n", "")
    findings = await check(load(MemoryTree({"pay.yaml": text})), embedded, AT, [shipped])
    assert [finding.severity for finding in findings if finding.code == "PD2203"] == [severity]


async def test_an_exception_takes_the_finding_away_and_leaves_a_note(
    embedded: EmbeddedEngine, shipped: Bundle
) -> None:
    comment = "  # policyd: allow PD2104 until 2027-01-31 because the old client needs it, PAY-7"
    (note,) = await judged(embedded, shipped, comment=comment)
    assert (note.code, note.severity) == ("PD2001", Severity.INFO)
    assert "PAY-7" in note.message


@pytest.mark.parametrize(
    ("comment", "owner", "codes"),
    [
        ("PD2104 until 2026-11-23 because it was so", "owner: a", {"PD2005", "PD2104"}),
        ("PD2104 until 2028-11-23 because it stays so", "owner: a", {"PD2006", "PD2104"}),
        ("PD2104 until 2027-01-31 because nobody knows", "labels: {}", {"PD2004", "PD2104"}),
        ("PD2303 until 2027-01-31 because steps may fall", "owner: a", {"PD2003", "PD2104"}),
        ("PD1203 until 2027-01-31 because it comes later", "owner: a", {"PD2003", "PD2104"}),
        ("PD2101 until 2027-01-31 because of nothing", "owner: a", {"PD2002", "PD2104"}),
        # A loss: whether it is there, who knows of losses says.
        ("PD1308 until 2027-01-31 because of old proxies", "owner: a", {"PD2104"}),
        ("PD1308 until 2027-01-31 because of old proxies", "labels: {}", {"PD2004", "PD2104"}),
        ("PD1308 until 2026-11-23 because of old proxies", "owner: a", {"PD2005", "PD2104"}),
    ],
)
async def test_an_exception_that_does_not_hold(
    embedded: EmbeddedEngine, shipped: Bundle, comment: str, owner: str, codes: set[str]
) -> None:
    findings = await judged(embedded, shipped, owner=owner, comment=f"  # policyd: allow {comment}")
    assert {finding.code for finding in findings} == codes


async def test_what_a_rule_says_wrongly_is_not_lost(embedded: EmbeddedEngine) -> None:
    rules = """package team

deny contains "plain text"

deny contains {"no": "message"}

deny contains {"msg": "nowhere", "document": 99, "path": "x", "hint": 7}

warn contains {"msg": "only a warning", "document": 0, "path": ["spec", 3, "nothing"]}
"""
    bundle = Bundle((Module("rego/team.rego", rules),), ("team",))
    findings = await judged(embedded, bundle)
    assert {finding.message for finding in findings} == {
        "plain text",
        "`team` objects, and does not say why",
        "nowhere",
        "only a warning",
    }
    assert {finding.code for finding in findings} == {"PD2900"}
    assert [finding.severity for finding in findings if finding.location.line] == [Severity.WARNING]


async def test_a_team_rule_cannot_pass_for_a_shipped_one(embedded: EmbeddedEngine, shipped: Bundle) -> None:
    rules = """# METADATA
# title: pretender
# custom:
#   code: PD2104
#   exemptible: true
package team

deny contains {"msg": "mine", "document": 2}
"""
    bundle = shipped.with_modules([Module("rego/team.rego", rules)], ["team"])
    findings = await judged(embedded, bundle)
    assert {finding.code: finding.message for finding in findings}["PD2900"] == "mine"


async def test_a_shared_code_is_exemptible_only_where_all_its_rules_are(
    embedded: EmbeddedEngine, shipped: Bundle
) -> None:
    rules = """# METADATA
# title: t
# custom:
#   exemptible: %s
package team.%s

deny contains {"msg": "no", "document": 2}
"""
    modules = [Module(f"rego/{name}.rego", rules % (said, name)) for name, said in (("a", "true"), ("b", "false"))]
    bundle = shipped.with_modules(modules, ["team"])
    comment = "  # policyd: allow PD2900 until 2027-01-31 because one of them may"
    assert "PD2003" in {finding.code for finding in await judged(embedded, bundle, comment=comment)}
