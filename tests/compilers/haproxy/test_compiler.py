"""Compiled nodes as values: sharing, determinism, scope, words that no value can end, and losses."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.base.diagnostics import Severity
from policyd.compiler.artifact import Artifact, Compiled
from policyd.compiler.memo import Memo
from policyd.model.access import Mode, Permit, Source
from policyd.model.balancing import Key, LoadBalancing, Policy, SlowStart, ZonePreference
from policyd.model.external import External
from policyd.model.failover import Fallback
from policyd.model.gateway import Gateway
from policyd.model.mesh import Mesh
from policyd.model.names import Name, common_name
from policyd.model.node import nodes
from policyd.model.paths import PathPattern
from policyd.model.rate_limit import RateLimit
from policyd.model.resilience import CircuitBreaker, OutlierDetection, Resilience, Retries, Timeouts
from policyd.model.route import Override, Route, RouteRule
from policyd.model.route_actions import Fault, Mirror
from policyd.model.service import HeaderMatch, Protocol, Service, Split, Version
from policyd.model.tracing import Tracing
from policyd_compilers.haproxy import COMPILER
from policyd_compilers.haproxy.text import argument, literal, word
from tests.compilers.meshes import PAYMENTS, SETTINGS, WEB, endpoint, mesh, rule, service, shop, with_service

WEB_NODE = "shop/web/v1/10.0.0.1"
PAYMENTS_NODE = "pay/payments/v1/10.0.1.1"
DESTINATION = "50-pay.payments.cfg"


def compile_all(of: Mesh, memo: Memo | None = None) -> dict[str, Compiled]:
    memo = memo or Memo()
    return {node.id: COMPILER.compile(of, node, memo) for node in nodes(of)}


def files(compiled: Compiled) -> dict[str, str]:
    return {artifact.name: COMPILER.render(artifact) for artifact in compiled.artifacts}


def inbound(of: Mesh, node: str = PAYMENTS_NODE) -> str:
    return files(compile_all(of)[node])["20-inbound.cfg"]


def test_a_node_gets_its_folder_and_nothing_beyond_its_scope() -> None:
    compiled = compile_all(shop())
    common = ["05-node.cfg", "10-process.cfg", "20-inbound.cfg", "30-outbound.cfg"]
    assert list(files(compiled[WEB_NODE])) == [*common, DESTINATION]
    assert list(files(compiled[PAYMENTS_NODE])) == common
    assert "payments" not in files(compiled["shop/other/v1/10.0.3.1"])["30-outbound.cfg"]


def test_a_sidecar_can_be_reached_at_two_ports_while_the_port_changes() -> None:
    memo = Memo()
    before, during = (
        files(compile_all(of, memo)[PAYMENTS_NODE])["20-inbound.cfg"]
        for of in (shop(), replace(shop(), also_inbound=(15_007,)))
    )
    assert re.findall(r"bind (\S+)", before) == ["10.0.1.1:15006"]
    assert re.findall(r"bind (\S+)", during) == ["10.0.1.1:15006", "10.0.1.1:15007"]
    assert re.sub(r"\n.*bind 10.0.1.1:15007.*", "", during) == before


def test_equal_files_are_one_object() -> None:
    compiled = compile_all(shop())
    for name in ("10-process.cfg", "30-outbound.cfg", DESTINATION):
        one, two = (
            next(each for each in compiled[node].artifacts if each.name == name)
            for node in (WEB_NODE, "shop/web/v1/10.0.0.2")
        )
        assert one is two


def test_a_split_touches_only_what_callers_choose() -> None:
    base, memo = shop(), Memo()
    before = compile_all(base, memo)
    builds = memo.builds
    changed = with_service(base, replace(base.services[PAYMENTS], split=Split((("v1", 9_500), ("v2", 500)))))
    after = compile_all(changed, memo)
    old, new = files(before[WEB_NODE]), files(after[WEB_NODE])
    assert {name for name in new if new[name] != old[name]} == {"30-outbound.cfg"}
    assert memo.builds - builds == 1  # both sidecars of `web` listen on 127.0.0.1, so they share the file
    assert after["shop/other/v1/10.0.3.1"] is before["shop/other/v1/10.0.3.1"]


def test_an_instance_touches_only_its_destination_s_file() -> None:
    base, memo = shop(), Memo()
    before = compile_all(base, memo)[WEB_NODE]
    payments = base.services[PAYMENTS]
    v1 = replace(payments.versions[0], endpoints=(endpoint("10.9.9.9"), endpoint("fd00::9")))
    after = compile_all(with_service(base, replace(payments, versions=(v1, payments.versions[1]))), memo)[WEB_NODE]
    old, new = files(before), files(after)
    assert {name for name in new if new[name] != old[name]} == {DESTINATION}
    assert "server fd00::9 [fd00::9]:15006" in new[DESTINATION]


def test_incremental_equals_full() -> None:
    memo, current = Memo(), shop()
    for share in (1, 5_000, 9_999):
        memo.age()
        changed = replace(current.services[PAYMENTS], split=Split((("v1", share), ("v2", 10_000 - share))))
        current = with_service(current, changed)
        assert compile_all(current, memo) == compile_all(current)


def test_weights_become_parts_of_one_draw() -> None:
    base = shop()
    split = Split((("v1", 7_000), ("v2", 3_000)), HeaderMatch("x-canary", 'it\'s "on" # 5%'), "v2")
    web = files(compile_all(with_service(base, replace(base.services[PAYMENTS], split=split)))[WEB_NODE])
    lines = [line.strip() for line in web["30-outbound.cfg"].splitlines()]
    assert "http-request set-var(txn.draw) rand(10000)" in lines
    assert [line for line in lines if line.startswith("use_backend")] == [
        "use_backend pay.payments.v2 if pay.payments:named pay.payments:first",
        "use_backend pay.payments.v1 if pay.payments:named { var(txn.draw) -m int lt 7000 }",
        "use_backend pay.payments.v2 if pay.payments:named",
    ]
    assert r"req.fhdr(x-canary) -m str -- it\x27s\x20\x22on\x22\x20\x23\x205\x25" in web["30-outbound.cfg"]


def test_callers_are_hashed_names_and_prefixes_that_cut_no_name() -> None:
    sources = (Source(services=(WEB,)), Source(namespaces=("ops",)), Source(anyone=True))
    text = inbound(mesh([service(PAYMENTS, v1=["10.0.1.1"])], (PAYMENTS, rule(PAYMENTS, sources))))
    identity = "spiffe://shop.example/ns/shop/svc/web"
    assert f"var(txn.name) -m str -- {common_name(identity)} # {identity}" in text
    prefixes = re.findall(r"var\(txn\.caller\) -m beg -- (\S+)", text)
    assert prefixes == ["spiffe://shop.example/", "spiffe://shop.example/ns/ops/svc/"]


def test_a_source_that_means_nobody_allows_nobody() -> None:
    narrow = (Source(services=(WEB,), namespaces=("ops",)), Source())
    text = inbound(mesh([service(PAYMENTS, v1=["10.0.1.1"])], (PAYMENTS, rule(PAYMENTS, narrow))))
    assert "set-var(txn.rule)" not in text


@pytest.mark.parametrize("rules", [0, 3])
def test_every_frontend_ends_by_denying_what_no_rule_allowed(rules: int) -> None:
    several = [(PAYMENTS, rule(PAYMENTS, name=f"r{i}")) for i in range(rules)]
    lines = inbound(mesh([service(PAYMENTS, v1=["10.0.1.1"])], *several)).splitlines()
    denials = [n for n, line in enumerate(lines) if "no-rule-for-request" in line and "http-request deny" in line]
    assert len(denials) == 1
    assert lines[denials[0]].endswith("unless allowed")
    assert denials[0] > max([n for n, line in enumerate(lines) if "set-var(txn.rule)" in line], default=0)
    allowing = [line for line in lines if re.match(r"\s*http-request (allow|return)", line)]
    assert allowing == []


def test_expiry_is_rounded_down_and_travels_in_the_file() -> None:
    ends = datetime(2027, 6, 30, 0, 0, 0, 1_999, tzinfo=UTC)
    text = inbound(mesh([service(PAYMENTS, v1=["10.0.1.1"])], (PAYMENTS, replace(rule(PAYMENTS), expires=ends))))
    assert f"{{ date(0,ms) lt {int(ends.timestamp()) * 1_000 + 1} }}" in text


def test_observed_rules_decide_nothing() -> None:
    text = inbound(
        mesh([service(PAYMENTS, v1=["10.0.1.1"])], (PAYMENTS, rule(PAYMENTS, name="watch", mode=Mode.OBSERVE)))
    )
    assert "set-var(txn.rule)" not in text
    assert "set-var(txn.would_rule) str(pay/watch" in text
    assert "would_rule) str" not in inbound(shop())


def test_losses_say_what_haproxy_cannot() -> None:
    queue = replace(service(Name("pay", "queue"), v1=["10.0.5.1"]), protocol=Protocol.TCP)
    odd = replace(
        service(Name("pay", "odd"), v1=["10.0.6.1"]),
        resilience=Resilience(
            Timeouts(request_ms=0, stream_ms=60_000),
            Retries(2, ("timeout", "503", "429", "refused-stream"), base_ms=50),
            CircuitBreaker(pending=1),
            OutlierDetection(5),
            LoadBalancing(
                Policy.MAGLEV, Key("x-user"), zone=ZonePreference(2, 7_000), slow_start=SlowStart(1_000, 2_000)
            ),
            panic=5_000,
        ),
        opaque_paths=True,
        rate_limits=(RateLimit(1, 1_000, 1),),
        failover=(Fallback(version="v0"),),
        route=Route(
            Name("pay", "odd"),
            (RouteRule("bound", override=Override(request_ms=1), mirrors=(Mirror(1, "v1"),), fault=Fault(1, 1)),),
        ),
    )
    trace = replace(rule(odd.name), permits=(Permit(("TRACE",), (PathPattern.parse("/x"),)),))
    outside = Service(
        Name("shop", "outside"), Protocol.HTTP, 443, (Version("external"),), Split.all_to("external"),
        external=External("a.example"),
    )  # fmt: skip
    edge = replace(service(Name("shop", "edge"), edge=["10.0.9.1"]), gateway=Gateway((), ()))
    the_mesh = mesh(
        [queue, odd, outside, edge, service(WEB, v1=["10.0.0.1"])],
        (queue.name, rule(queue.name)),
        (outside.name, rule(outside.name)),
        (odd.name, trace),
        settings=replace(SETTINGS, tracing=Tracing("main", 100)),
    )
    compiled = compile_all(the_mesh)
    found = {
        node: [(loss.code, loss.severity) for loss in each.losses if loss.code not in {"PD1307", "PD1330"}]
        for node, each in compiled.items()
    }
    error, warning, info = Severity.ERROR, Severity.WARNING, Severity.INFO
    retries = [("PD1302", warning), ("PD1302", warning), ("PD1305", info), ("PD1306", warning), ("PD1315", info)]
    left_out = [("PD1316", warning), ("PD1309", warning), ("PD1310", warning)]
    left_out += [("PD1311", info), ("PD1312", warning), ("PD1313", warning), ("PD1314", info), ("PD1333", warning)]
    left_out += [("PD1317", warning)]
    left_out += [("PD1320", warning), ("PD1321", warning), ("PD1322", warning)]
    assert found["pay/queue/v1/10.0.5.1"] == [("PD1301", error)]
    assert found["pay/odd/v1/10.0.6.1"] == [("PD1303", error), ("PD1304", error), *retries, *left_out]
    assert found["shop/web/v1/10.0.0.1"] == [*retries, *left_out, ("PD1301", error), ("PD1334", error)]
    assert ("PD1338", error) in found["shop/edge/edge/10.0.9.1"]
    for closed in ("pay/queue/v1/10.0.5.1", "shop/edge/edge/10.0.9.1"):
        assert "20-inbound.cfg" not in files(compiled[closed])
    assert not [name for name in files(compiled["shop/web/v1/10.0.0.1"]) if "queue" in name]
    odd_rules = files(compiled["pay/odd/v1/10.0.6.1"])["20-inbound.cfg"]
    assert "set-var(txn.rule)" not in odd_rules
    assert all(
        ("PD1330", warning) in [(loss.code, loss.severity) for loss in each.losses] for each in compiled.values()
    )
    assert {loss.code for each in compiled.values() for loss in each.losses} >= set(COMPILER.codes)


def test_the_bound_of_a_call_is_each_wait() -> None:
    payments = replace(
        service(PAYMENTS, v1=["10.0.1.1"]), resilience=Resilience(Timeouts(request_ms=2_000, per_try_ms=600))
    )
    the_mesh = mesh([payments, service(WEB, v1=["10.0.0.1"])], (PAYMENTS, rule(PAYMENTS)))
    assert "timeout server 600ms" in files(compile_all(the_mesh)[WEB_NODE])[DESTINATION]
    lost = [loss for loss in compile_all(the_mesh)[WEB_NODE].losses if loss.about.name == PAYMENTS]
    assert [(loss.code, loss.severity) for loss in lost] == [("PD1307", Severity.INFO)]


@given(st.text(max_size=20))
def test_words_hold_whatever_is_in_them(text: str) -> None:
    for made in (word(text), literal(text), argument(text)):
        assert re.fullmatch(r"[!-~]*", made)
        assert not re.search(r"[\s'\"#$%&{}()\[\]*?|^;<>`!]", made)
    assert re.sub(r"\\x(..)", lambda found: chr(int(found[1], 16)), word(text)).encode("latin-1").decode() == text


def test_render_refuses_what_it_did_not_write() -> None:
    with pytest.raises(ValueError, match="not an artefact"):
        COMPILER.render(Artifact("type.googleapis.com/x", "x", b""))
