from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from policyd.guardrails import check, with_team_rules
from policyd.guardrails.bundle import Bundle
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.guardrails.managed import ManagedOpa
from policyd.guardrails.team import team_rules
from policyd.intents import MemoryTree, load

AT = datetime(2026, 11, 23, tzinfo=UTC)
RULE = """\
# METADATA
# title: Payments are called by checkout only
# custom:
#   code: PD2950
package shop.payments

import data.policyd.lib.units

deny contains {"msg": "`payments` is for `checkout`", "document": rule.id, "path": ["spec", "from", i]} if {
	units.duration_ms("1s") == 1000
	some rule in input.documents.AccessRule
	rule.target == "default/payments"
	some i, source in rule.spec.from
	source != "checkout"
}
"""
INTENT = """\
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: open, owner: me}
spec:
  to: payments
  from: [checkout, web]
  allow: [{methods: [POST], paths: [/v1/charges]}]
"""


def tree(rule: str = RULE) -> MemoryTree:
    return MemoryTree(
        {"rego/shop/payments.rego": rule, "rego/shop/payments_test.rego": "no rego", "open.yaml": INTENT}
    )


async def test_team_rules_run_under_opa(managed: ManagedOpa, shipped: Bundle, opa_binary: Path) -> None:
    bundle, findings = await with_team_rules(shipped, tree(), opa=opa_binary)
    assert findings == ()
    (finding,) = await check(load(tree()), managed, AT, [shipped, bundle])
    assert (finding.code, str(finding.location)) == ("PD2950", "open.yaml:6:20")


async def test_without_opa_they_are_refused(shipped: Bundle) -> None:
    bundle, (finding,) = await with_team_rules(shipped, tree(), opa=None)
    assert bundle == shipped
    assert finding.code == "PD2012"
    assert "team rules need opa" in finding.message


async def test_a_vouched_digest_runs_in_the_embedded_engine(embedded: EmbeddedEngine, shipped: Bundle) -> None:
    rules, _ = team_rules(tree())
    bundle, findings = await with_team_rules(shipped, tree(), opa=None, vouched=[rules.digest])
    assert findings == ()
    assert [finding.code for finding in await check(load(tree()), embedded, AT, [bundle])] == ["PD2950"]


@pytest.mark.parametrize(
    "package", ["policyd.guardrails.access.wide_open", "policyd", "policydish", "system.authz", 'x["y"]', ""]
)
async def test_their_packages_are_their_own(shipped: Bundle, package: str, opa_binary: Path) -> None:
    rule = RULE.replace("package shop.payments", f"package {package}" if package else "")
    bundle, (finding,) = await with_team_rules(shipped, tree(rule), opa=opa_binary)
    assert bundle == shipped
    assert finding.code == "PD2010"


KEYWORDS = [
    *("as", "contains", "data", "default", "else", "every", "false", "if", "import"),
    *("in", "input", "not", "null", "package", "some", "true", "with"),
]


async def test_a_package_may_be_called_like_a_word_of_rego(
    managed: ManagedOpa, embedded: EmbeddedEngine, shipped: Bundle, opa_binary: Path
) -> None:
    packages = [*KEYWORDS, *(f"{word}.shop" for word in KEYWORDS), *(f"shop.{word}" for word in KEYWORDS)]
    rules = MemoryTree({f"rego/{each}.rego": f'package {each}\n\ndeny contains "{each}"\n' for each in packages})
    bundle, findings = await with_team_rules(shipped, rules, opa=opa_binary)
    assert findings == ()
    for engine in (managed, embedded):
        said = await check(load(rules), engine, AT, [bundle])
        assert sorted(finding.message for finding in said) == sorted(packages)


@pytest.mark.parametrize(
    "declared",
    [
        " package policyd.x",
        "package\tpolicyd.x",
        "package\npolicyd.x",
        "# package shop\n\tpackage policyd.x",
        "\ufeffpackage policyd.x",
        "x := 1\npackage shop",
    ],
)
async def test_a_string_cannot_pretend_to_be_the_package(shipped: Bundle, declared: str, opa_binary: Path) -> None:
    rule = f"{declared}\n\npretence := `\npackage shop\n`\n"
    bundle, findings = await with_team_rules(shipped, tree(rule), opa=opa_binary)
    assert bundle == shipped
    assert [finding.code for finding in findings] == ["PD2010"]


async def test_a_file_name_may_be_longer_than_a_file_system_takes(shipped: Bundle, opa_binary: Path) -> None:
    path = "rego/" + "a" * 300 + ".rego"
    bundle, findings = await with_team_rules(shipped, MemoryTree({path: "package shop\n"}), opa=opa_binary)
    assert findings == ()
    assert path in {module.path for module in bundle.modules}


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ('deny contains http.send({"method": "get", "url": "http://127.0.0.1"}).raw_body', "http.send"),
        ("deny contains opa.runtime().env.HOME", "opa.runtime"),
        ('deny contains x if some x in net.lookup_ip_addr("localhost")', "net.lookup_ip_addr"),
        ("deny contains x if x := unknown_function(1)", "unknown_function"),
        ('deny contains "x" if {\n\tunused := 1\n}', "unused"),
        ("deny contains {", "eof"),
    ],
)
async def test_what_opa_refuses(shipped: Bundle, opa_binary: Path, body: str, word: str) -> None:
    bundle, findings = await with_team_rules(shipped, tree(f"package shop\n\n{body}\n"), opa=opa_binary)
    assert bundle == shipped
    assert any(word in finding.message for finding in findings)
    assert all(
        finding.code == "PD2013" and finding.location.path == "rego/shop/payments.rego" for finding in findings
    )
    assert findings[0].location.line >= 3


async def test_metadata_that_cannot_be_read_is_refused_at_its_line(shipped: Bundle, opa_binary: Path) -> None:
    rule = "# METADATA\n# title: [\n# custom: {code: PD2950}\npackage shop\n\ndeny contains 1\n"
    _, (finding,) = await with_team_rules(shipped, tree(rule), opa=opa_binary)
    assert (finding.code, str(finding.location)) == ("PD2013", "rego/shop/payments.rego:3:1")
    assert "did not find expected" in finding.message


async def test_what_a_rule_says_is_bounded(managed: ManagedOpa, shipped: Bundle, opa_binary: Path) -> None:
    many = 'deny contains msg if {\n\tsome i in numbers.range(1, 500)\n\tmsg := sprintf("%d", [i])\n}\n'
    long = 'deny contains concat("", [x | some i in numbers.range(1, 100000); x := "long"])\n'
    bundle, findings = await with_team_rules(shipped, tree(f"package shop\n\n{many}\n{long}"), opa=opa_binary)
    assert findings == ()
    said = await check(load(tree()), managed, AT, [bundle])
    assert len(said) == 101
    assert sum(one.more or 1 for one in said) == 501
    assert max(len(one.message) for one in said) <= 1_000


async def test_a_file_that_is_not_text(shipped: Bundle) -> None:
    bad = MemoryTree({"rego/bad.rego": b"\xff\xfe"})
    _, (finding,) = await with_team_rules(shipped, bad, opa=None)
    assert finding.code == "PD2011"
