"""`policyd why`: lines as our sidecars write them, replayed against a folder and against a controller."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from policyd.cli.access_line import destination_of, read_line
from policyd.cli.asking import Known, by_address
from policyd.cli.judged import judge
from policyd.cli.logged_way import way_text
from policyd.cli.main import build
from policyd.cli.response_flags import FLAGS
from policyd.compiler.rules import policy_name
from policyd.decisions import Outcome
from policyd.model.names import Name
from policyd.source import DirectoryTree
from tests.cli.conftest import Policyd

WEB = "spiffe://shop.example/ns/default/svc/web"


def policy(shop: Path, destination: str, rule: str) -> str:
    access = judge(DirectoryTree(shop)).mesh().access[Name.parse(destination)]
    return next(policy_name(each) for each in access.rules if each.name.name == rule)


def line(**said: Any) -> str:
    """A line of an Envoy's inbound log; what it does not know is null."""
    whole = {
        "listener": "inbound", "start": "2026-11-25T15:00:00.123Z", "method": "POST", "host": "checkout",
        "path": "/v1/orders?draft=1", "status": 201, "details": "via_upstream", "flags": "-", "route": None,
        "request_id": "5a9c", "duration_ms": 3, "bytes_in": 0, "bytes_out": 2, "caller": WEB, "rule": None,
        "ip": "127.0.7.11", "would": None,
    }  # fmt: skip
    return json.dumps({**whole, **said})


def test_a_line_that_agrees_names_the_rule_and_its_place(policyd: Policyd, shop: Path) -> None:
    rule = policy(shop, "checkout", "web-checks-out")
    done = policyd("why", line(rule=rule), "--path", shop)
    assert (done.exit_code, done.stdout.split("\n")[0]) == (0, "allow  web → checkout  POST /v1/orders?draft=1")
    assert f"{shop}/services/checkout.yaml:" in done.stdout
    assert "the log says the same" in done.stdout
    told = json.loads(policyd("why", line(rule=rule), "--path", shop, "-o", "json").stdout)
    assert (told["agrees"], told["policy"], told["logged_now"], told["owner"]) == (True, rule, rule, "team-buy")


def test_a_denial_is_explained_by_the_nearest_miss(policyd: Policyd, shop: Path) -> None:
    said = line(host="payments.default:8080", path="/v1/charges", status=403, rule="no-rule-for-caller")
    done = policyd("why", said, "--path", shop)
    assert done.exit_code == 0
    assert done.stdout.startswith("deny (403)  web → payments  POST /v1/charges")
    assert "rule `checkout-charges` allows it, but only from `checkout`" in done.stdout
    rejected = policyd("why", line(path="/v1/../admin", status=400), "--path", shop)
    assert (rejected.exit_code, "reject (400)" in rejected.stdout) == (0, True)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"rule": "default/web-checks-out#00000000"}, "the rule was worded otherwise then"),
        ({"rule": "default/gone#00000000"}, "there is no such rule now"),
        ({"path": "/v1/else", "rule": "default/gone#00000000"}, "the replay `deny`: the rules have changed since"),
        ({"status": 403, "rule": "no-rule-for-request"}, "and the replay `allow`: the rules have changed since"),
        ({}, "the line does not say what decided"),
    ],
)
def test_where_log_and_replay_disagree_it_says_so(
    said: dict[str, Any], words: str, policyd: Policyd, shop: Path
) -> None:
    done = policyd("why", line(**said), "--path", shop)
    assert done.exit_code == 1
    assert words in done.stdout


def test_a_line_carries_no_token_and_no_address(policyd: Policyd, shop: Path) -> None:
    file = shop / "services" / "checkout.yaml"
    file.write_text(file.read_text().replace("from: [web]", "from: [{service: web, ipBlock: 10.0.0.0/8}]"))
    rule = policy(shop, "checkout", "web-checks-out")
    done = policyd("why", line(rule=rule), "--path", shop)
    assert (done.exit_code, "by the same rule: it asks for what a line does not carry" in done.stdout) == (1, True)
    assert policyd("why", line(rule=rule), "--path", shop, "--ip", "10.0.0.9").exit_code == 0
    assert policyd("why", line(rule=rule, ip="10.0.0.9"), "--path", shop).exit_code == 0


def test_the_request_is_replayed_at_its_own_instant(policyd: Policyd, shop: Path) -> None:
    file = shop / "services" / "checkout.yaml"
    file.write_text(file.read_text().replace("from: [web]", "from: [web]\n  expires: 2026-06-01"))
    rule = policy(shop, "checkout", "web-checks-out")
    assert policyd("why", line(rule=rule, start="2026-05-31T23:59:59Z"), "--path", shop).exit_code == 0
    assert policyd("why", line(rule=rule), "--path", shop).exit_code == 1


def test_the_callers_own_sidecar_does_not_say_who_called(policyd: Policyd, shop: Path) -> None:
    said = line(listener="outbound", caller=None, status=403, host="payments", path="/v1/charges")
    done = policyd("why", said, "--path", shop)
    assert (done.exit_code, "the line does not say who called" in done.stderr) == (2, True)
    found = policyd("why", said, "--path", shop, "--from", "web", "--to", "payments")
    assert (found.exit_code, "only from `checkout`" in found.stdout) == (0, True)


def test_a_node_says_whose_sidecar_wrote_the_line(policyd: Policyd, shop: Path) -> None:
    said = line(listener="outbound", node="default/web/v1/10.0.0.1", caller=None, status=403, host="payments")
    done = policyd("why", said, "--path", shop)
    assert (done.exit_code, done.stdout.split("  ")[1]) == (0, "web → payments")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("not a line", "this is no line of an access log"),
        ("[1]", "this is no line of an access log"),
        ('{"method": "GET"}', "the line does not say `path`, `host`, `status`"),
        (line(start="yesterday"), "the line does not say when: `start` is `yesterday`"),
        (line(start="2026-11-25T15:00:00"), "the line does not say when"),
        (line(start=1764082800), "the line does not say when: `start` is `1764082800`"),
        (line(start=[]), "the line does not say when"),
        (line(status="200"), "the line does not say `status`"),
        (line(status=True), "the line does not say `status`"),
        (line(method=None, path="-"), "the line does not say `method`, `path`"),
        (line(host="a.b.c.d"), "which service `a.b.c.d` is cannot be told"),
        (line(host="payments", caller="spiffe://x.example/y"), "which service `payments` is cannot be told"),
    ],
)
def test_what_is_no_line_is_said(text: str, words: str, policyd: Policyd, shop: Path) -> None:
    done = policyd("why", text, "--path", shop)
    assert (done.exit_code, done.stdout) == (2, "")
    assert words in done.stderr
    assert "hint: " in done.stderr


def test_one_line_on_standard_input(shop: Path) -> None:
    def run(given: str) -> Result:
        return CliRunner().invoke(build(), ["why", "--path", str(shop)], input=given)

    assert run(line(rule=policy(shop, "checkout", "web-checks-out")) + "\n\n").exit_code == 0
    assert "2 lines were given" in run(line() + "\n" + line()).stderr
    assert "0 lines were given" in run("\n").stderr


def test_a_controller_is_asked_about_what_the_node_ran(policyd: Policyd, address: str) -> None:
    said = line(method="GET", path="/v1/items", rule="default/web-reads#abc", status=200)
    told = json.loads(policyd("why", said, "--server", address, "-o", "json").stdout)
    assert (told["judged"], told["logged_now"], told["rule"]) == (
        "promoted",
        "default/web-reads#abc",
        "default/web-reads",
    )
    of_node = line(node="default/checkout/v1/10.0.0.1", method="GET", path="/v1/items")
    lost = policyd("why", of_node, "--server", address)
    assert (lost.exit_code, "there is no node `node:default/checkout/v1/10.0.0.1`" in lost.stderr) == (2, True)
    assert json.loads(policyd("why", of_node, "--server", address, "--at", "head", "-o", "json").stdout)["live"]
    assert "leave one of them out" in policyd("why", said, "--at", "head", "--path", ".").stderr


def test_what_the_proxies_write_is_read() -> None:
    haproxy = line(start="2026-11-25T15:00:00Z", rule="", would="", caller=WEB)
    assert read_line(haproxy).start == datetime(2026, 11, 25, 15, tzinfo=UTC)
    assert [read_line(line(start=start)).start for start in (None, "", "-")] == [None] * 3
    outbound = line(listener="outbound", node="pay/front/v1/10.0.0.1", caller=None, host="payments")
    assert destination_of(read_line(outbound), Known("shop.example", {}, ())) == Name("pay", "payments")
    assert [read_line(line(status=status)).outcome for status in (200, 400, 401, 403)] == [
        None, Outcome.REJECT, Outcome.DENY, Outcome.DENY,
    ]  # fmt: skip
    assert read_line(line(status=403, rule="default/r#1")).outcome is Outcome.ALLOW


def outbound(**said: Any) -> str:
    """A line of an Envoy's outbound log."""
    own = {"listener": "outbound", "caller": None, "route": "split", "upstream": "default/checkout/v2",
           "upstream_host": "127.0.3.22:15006", "upstream_failure": None, "attempts": 1}  # fmt: skip
    return line(**{**own, **said})


def test_a_failed_call_is_explained_by_its_flags_tries_and_version(policyd: Policyd, shop: Path) -> None:
    said = outbound(
        status=503, flags="UF,URX", attempts=3, upstream_failure="delayed connect error: 111", trace_id="4bf9"
    )
    done = policyd("why", said, "--path", shop, "--from", "web")
    assert done.exit_code == 0
    lines = [each.strip() for each in done.stdout.splitlines()]
    assert "· went to version `v2` of `checkout` at 127.0.3.22:15006, by its weight, in 3 tries" in lines
    assert any(each.startswith("· `UF`: no connection to the upstream came about") for each in lines)
    assert "· `URX`: every try has failed, and there is none left: see `retries`" in lines
    assert "· in the proxy's own words: delayed connect error: 111" in lines
    assert "· in trace `4bf9`" in lines
    assert lines[-1].startswith("the caller's own sidecar knows no rules")
    told = json.loads(policyd("why", said, "--path", shop, "--from", "web", "-o", "json").stdout)["way"]
    assert (told["version"], told["attempts"], [each["flag"] for each in told["flags"]]) == ("v2", 3, ["UF", "URX"])


def test_a_host_out_of_scope_was_refused_by_the_callers_own_sidecar(policyd: Policyd, shop: Path) -> None:
    said = outbound(host="payments", status=403, route="denied-not-in-scope", upstream=None, path="/v1/charges")
    done = policyd("why", said, "--path", shop, "--from", "web", "--to", "payments")
    assert "no rule lets the caller call this host, so its own sidecar answered" in done.stdout


OUTSIDE = """\
apiVersion: policyd.dev/v1alpha1
kind: Egress
metadata: {name: cards, owner: team}
spec: {host: api.cards.example, port: 8443}
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: web-charges, owner: team}
spec: {to: cards, from: [web], allow: [{methods: [POST], paths: [/v1/charges]}]}
"""


def test_a_host_outside_is_known_by_its_name(policyd: Policyd, shop: Path) -> None:
    (shop / "outside.yaml").write_text(OUTSIDE)
    node = "default/web/v1/127.0.7.11"
    refused = outbound(host="api.cards.example:8443", status=403, upstream=None, path="/v1/charges", method="GET")
    refused = json.dumps({**json.loads(refused), "node": node, "rule": "no-rule-for-request"})
    done = policyd("why", refused, "--path", shop)
    assert (done.exit_code, done.stdout.split("\n")[0]) == (0, "deny (403)  web → cards  GET /v1/charges")
    assert "web-charges" in done.stdout


def test_a_controller_knows_hosts_outside_by_their_names(policyd: Policyd, address: str) -> None:
    refused = outbound(host="api.cards.example:8443", status=403, upstream=None, path="/v1/charges", method="GET")
    refused = json.dumps({**json.loads(refused), "node": "default/web/v1/10.0.0.1", "rule": "no-rule-for-request"})
    done = policyd("why", refused, "--server", address)
    assert (done.exit_code, done.stdout.split("\n")[0]) == (0, "deny (403)  web → cards  GET /v1/charges")


def test_a_host_that_nobody_knows_was_refused_and_needs_no_name(policyd: Policyd, shop: Path) -> None:
    said = outbound(host="api.evil.example", status=403, route="denied-not-in-scope", upstream=None, path="/x")
    done = policyd("why", said, "--path", shop, "--from", "web")
    assert done.exit_code == 0
    assert "nobody who is called `api.evil.example`" in done.stdout
    assert "no rule lets the caller call this host" in done.stdout


INSTANCES = by_address(
    [
        *("default/checkout/v2/127.0.3.22", "default/backup/v3/127.0.3.23"),
        *("default/checkout/v2/127.0.3.24", "default/edge/v1/127.0.3.24"),
    ]
)
"""The last two are one address, so that nobody knows which of them is meant."""


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"route": "rule:beta", "upstream": "default/checkout/v2/pinned"},
         ["rule `beta` of the route took it",
          "went to version `v2` of `checkout` at 127.0.3.22:15006, which the rule names"]),
        ({"route": "rule:moved", "upstream": "default/old/v1", "attempts": 2},
         ["rule `moved` of the route took it", "went to version `v1` of `old` at 127.0.3.22:15006, in 2 tries"]),
        ({"route": "rule:away", "upstream": None, "status": 302, "upstream_host": None},
         ["rule `away` of the route took it, and it went nowhere"]),
        ({"upstream": "default/checkout/v1/failover/default/backup/v3", "attempts": 2},
         ["went to version `v1` of `checkout`, by its weight, in 2 tries",
          "all its instances were down, and fallback `v3` of `backup` at 127.0.3.22:15006 took its place"]),
        ({"upstream": "default/checkout/v1/failover"},
         ["went to version `v1` of `checkout`, by its weight",
          "all its instances were down, and fallback `v2` of `checkout` at 127.0.3.22:15006 took its place"]),
        ({"upstream": "default/checkout/v1/failover", "upstream_host": "127.0.3.23:15006", "attempts": 3,
          "status": 503, "flags": "UF,URX"},
         ["went to version `v1` of `checkout`, by its weight, in 3 tries",
          "all its instances were down, and fallback `v3` of `backup` at 127.0.3.23:15006 was tried last",
          *(f"`{flag}`: {FLAGS[flag]}" for flag in ("UF", "URX"))]),
        ({"upstream": "default/checkout/v2/failover"},
         ["went to version `v2` of `checkout` at 127.0.3.22:15006, by its weight"]),
        ({"upstream": "default/checkout/v2/failover", "upstream_host": "127.0.3.99:15006"},
         ["went to version `v2` of `checkout` at 127.0.3.99:15006, by its weight",
          "it may have been led on from there: no instance of the mesh has that address now, see `failover`"]),
        ({"upstream": "default/checkout/v2/failover", "upstream_host": "127.0.3.24:15006"},
         ["went to version `v2` of `checkout` at 127.0.3.24:15006, by its weight",
          "it may have been led on from there: no instance of the mesh has that address now, see `failover`"]),
    ],
)  # fmt: skip
def test_the_way_of_a_call_is_said_rule_by_rule(said: dict[str, Any], words: list[str]) -> None:
    assert list(way_text(read_line(outbound(**said)).way, INSTANCES)) == words


def test_a_controller_knows_whose_address_a_fallback_had(policyd: Policyd, address: str) -> None:
    said = outbound(
        node="default/front/v1/10.0.0.1", upstream="default/checkout/v2/failover", upstream_host="127.0.0.1:15006"
    )
    told = json.loads(policyd("why", said, "--server", address, "-o", "json").stdout)
    assert (told["way"]["led_on"], told["way"]["instance"]) == ("default/web/v1", "default/web/v1/127.0.0.1")
    assert told["destination"] == "default/web", "whose rules judged it"


def test_haproxys_flags_are_not_taken_for_envoys() -> None:
    text = json.dumps({
        "listener": "outbound", "method": "GET", "host": "pay", "path": "/", "status": 503, "flags": "SI",
        "upstream": "default/pay/v1", "retries": 2, "route": "",
    })  # fmt: skip
    way = read_line(text).way
    assert (way.flags, way.attempts) == ("", 3)


def test_a_connection_is_replayed_though_it_has_no_path(policyd: Policyd, shop: Path) -> None:
    (shop / "db.yaml").write_text(
        "apiVersion: policyd.dev/v1alpha1\nkind: Service\nmetadata: {name: db}\n"
        "spec: {port: 5432, protocol: tcp, versions: {v1: {endpoints: [10.9.9.9]}}, version: v1}\n---\n"
        "apiVersion: policyd.dev/v1alpha1\nkind: AccessRule\nmetadata: {name: web-connects}\n"
        "spec: {to: db, from: [web], allow: [{connections: true}]}\n"
    )
    asked = policyd("explain", "--from", "web", "--to", "db", "CONNECT", str(shop))
    assert (asked.exit_code, "rule `web-connects` allows `web` to connect to `db`" in asked.stdout) == (0, True)
    assert "its bytes pass unseen until one side ends it, after 3600 s of silence" in " ".join(asked.stdout.split())
    line = {"method": "CONNECT", "path": None, "host": "db", "status": 200, "listener": "inbound"}
    told = {"caller": "spiffe://shop.example/ns/default/svc/web", "node": "default/db/v1/10.9.9.9"}
    found = policyd("why", json.dumps(line | told), "--path", str(shop))
    assert "allow  web → db  CONNECT" in found.stdout
    denied = policyd("explain", "--from", "web", "--to", "db", "GET /", str(shop))
    assert "it takes connections, not requests" in denied.stdout
