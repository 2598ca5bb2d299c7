"""What the small mesh means, value by value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from policyd.base.diagnostics import Location
from policyd.lowering import Lowered
from policyd.model.access import Access, Mode, Permit, Rule, Source
from policyd.model.mesh import DataPlane, Mesh, Settings
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.provenance import Key, Provenance
from policyd.model.release import DEFAULT_STRATEGY, IMMEDIATE, CanaryPlan, OnInconclusive, Strategy, Wave
from policyd.model.resilience import Resilience, Retries, Timeouts
from policyd.model.service import Endpoint, HeaderMatch, HealthCheck, Probe, Protocol, Service, Split, Version
from policyd.model.slo import Availability, Latency
from policyd.model.tokens import Issuer, TokenCondition

CHECKOUT = Name("default", "checkout")
LowerFiles = Callable[..., Lowered]


@pytest.fixture
def mesh(lower_with: LowerFiles) -> Mesh:
    lowered = lower_with()
    assert lowered.findings == ()
    assert lowered.mesh is not None
    return lowered.mesh


def _mesh(lowered: Lowered) -> Mesh:
    assert lowered.mesh is not None, lowered.findings
    return lowered.mesh


def test_settings(mesh: Mesh, lower_with: LowerFiles) -> None:
    assert mesh.settings == Settings("shop", "shop.example", (DataPlane("sidecars", "envoy"),))
    more = (
        "trustDomain: shop.example\n  dataPlanes: [{name: edge, compiler: envoy}]\n"
        "  identity: {leaf: 1h, root: 30d}\n  ports: {inbound: 1, outbound: 2}"
    )
    other = _mesh(lower_with(("trustDomain: shop.example", more))).settings
    assert other == Settings("shop", "shop.example", (DataPlane("edge", "envoy"),), 1, 2, 3_600, 2_592_000)


def test_a_service(mesh: Mesh) -> None:
    assert mesh.services[CHECKOUT] == Service(
        name=CHECKOUT,
        protocol=Protocol.HTTP,
        port=8080,
        versions=(
            Version(
                "v1",
                (Endpoint("10.0.1.11", "127.0.0.1", 8080), Endpoint("10.0.1.12", "127.0.0.1", 8080, "b")),
            ),
            Version("v2", (Endpoint("10.0.1.21", "127.0.0.1", 8080),)),
        ),
        split=Split.all_to("v1"),
        resilience=Resilience(
            Timeouts(1_000, 2_000, 600, 300_000),
            Retries(2, ("503", "reset"), ("DELETE", "GET", "HEAD", "OPTIONS", "PUT"), 2_000),
        ),
        health_check=HealthCheck("/healthz", 2_000, 1_000, 1, 3),
    )


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        (
            "grpc: {service: pay.v1.Payments}",
            HealthCheck("", 2_000, probe=Probe.GRPC, grpc_service="pay.v1.Payments"),
        ),
        ("grpc: {}", HealthCheck("", 2_000, probe=Probe.GRPC)),
        ("tcp: {}", HealthCheck("", 2_000, probe=Probe.TCP)),
    ],
)
def test_other_health_checks(lower_with: LowerFiles, said: str, meant: HealthCheck) -> None:
    mesh = _mesh(lower_with(("healthCheck: {path: /healthz,", f"protocol: grpc\n  healthCheck: {{{said},")))
    assert mesh.services[CHECKOUT].health_check == meant


def test_what_a_rule_may_ask_for(lower_with: LowerFiles) -> None:
    issuer = '{issuer: "https://login.example", audiences: [shop], jwksUri: "https://login.example/keys"}'
    said = f"trustDomain: shop.example\n  issuers: {{corp: {issuer}}}"
    more = (
        "apiVersion: policyd.dev/v1alpha1\nkind: AccessRule\nmetadata: {name: more}\n"
        "spec:\n  to: web\n  from: [{service: checkout, ipBlock: [10.1.0.0/16, 10.0.0.7]}]\n"
        "  jwt: {issuer: corp, claims: {role: [ops, admin], sub: ada}}\n"
        "  allow: [{methods: [GET], paths: [/a], ports: [80]}]\n"
        "---\napiVersion: policyd.dev/v1alpha1\nkind: AccessRule\nmetadata: {name: tighter}\n"
        "spec: {to: web, from: [checkout], mode: observe, replaces: more, allow: [{methods: [GET], paths: [/a]}]}\n"
    )
    mesh = _mesh(lower_with(("trustDomain: shop.example", said), more=more))
    assert mesh.settings.issuers == (
        Issuer("corp", "https://login.example", ("shop",), keys_url="https://login.example/keys"),
    )
    access = mesh.access[Name("default", "web")]
    asking, tighter = access.rules
    assert asking.sources == (
        Source(services=(Name("default", "checkout"),), ip_blocks=("10.0.0.7/32", "10.1.0.0/16")),
    )
    assert asking.token == TokenCondition("corp", (("role", ("admin", "ops")), ("sub", ("ada",))))
    assert asking.permits == (Permit(("GET",), (PathPattern(("a",), rest=False),), (80,)),)
    assert tighter.replaces == (asking.name,)
    assert access.enforced == (asking,)
    assert access.would_be(datetime(2026, 11, 23, tzinfo=UTC)) == (tighter,)


@pytest.mark.parametrize(
    ("cut", "cuts_web", "cuts_others"),
    [
        ("identity: web", True, True),
        ("from: web, to: checkout", True, False),
        (f"root: {'ab' * 32}", False, False),
    ],
)
def test_a_revocation_cuts_a_caller_off(lower_with: LowerFiles, cut: str, cuts_web: bool, cuts_others: bool) -> None:
    more = (
        "apiVersion: policyd.dev/v1alpha1\nkind: Revocation\nmetadata: {name: leak}\n"
        f"spec: {{cut: {{{cut}}}, reason: key in a log}}\n"
    )
    (revocation,) = _mesh(lower_with(more=more)).revocations.values()
    web = "spiffe://shop.example/ns/default/svc/web"
    assert revocation.cuts(CHECKOUT) == (web if cuts_web else "")
    assert revocation.cuts(Name("pay", "ledger")) == (web if cuts_others else "")
    assert bool(revocation.root) == cut.startswith("root")


def test_services_and_access_are_sorted_and_every_service_has_access(mesh: Mesh) -> None:
    names = [Name("default", "checkout"), Name("default", "registry"), Name("default", "web"), Name("pay", "ledger")]
    assert list(mesh.services) == list(mesh.access) == names
    assert mesh.access[Name("default", "web")] == Access(Name("default", "web"))
    assert mesh.services[Name("pay", "ledger")].protocol is Protocol.TCP


def test_an_application_on_loopback_shares_its_instances_address(mesh: Mesh) -> None:
    (version,) = mesh.services[Name("default", "web")].versions
    assert version.endpoints == (
        Endpoint("127.0.0.5", "127.0.0.5", 80),
        Endpoint("127.0.0.6", "127.0.0.1", 9_000),
    )


def test_access(mesh: Mesh) -> None:
    status, order = PathPattern.parse("/v1/status"), PathPattern.parse("/v1/orders/{id}")
    assert mesh.access[CHECKOUT] == Access(
        CHECKOUT,
        (
            Rule(
                Name("default", "everyone-looks"),
                (Source(anyone=True),),
                (Permit(("GET",), (status,)),),
                Mode.OBSERVE,
            ),
            Rule(
                Name("default", "web-checks-out"),
                (
                    Source(services=(Name("default", "web"),)),
                    Source(namespaces=("default", "pay")),
                    Source(identities=("spiffe://partner.example/ns/x/svc/y",)),
                ),
                (Permit(("GET", "POST"), (order, status)), Permit(("*",), (PathPattern.parse("/v2/**"),))),
                Mode.ENFORCE,
                datetime(2027, 3, 31, tzinfo=UTC),
            ),
        ),
    )
    (rule,) = mesh.access[Name("pay", "ledger")].rules
    assert rule.sources == (Source(services=(CHECKOUT,)),)


def test_the_canary_of_a_service(mesh: Mesh) -> None:
    assert mesh.releases.canaries == {
        CHECKOUT: CanaryPlan(
            name=CHECKOUT,
            service=CHECKOUT,
            steps=(500, 2_550, 10_000),
            hold_s=60.0,
            gates=(Name("default", "checkout-availability"), Name("default", "checkout-latency-99")),
            first=HeaderMatch("x-canary", "yes"),
            min_requests=50,
            on_inconclusive=OnInconclusive.HOLD,
        )
    }


def test_a_split_says_how_many_proxies_may_refuse(lower_with: LowerFiles) -> None:
    lowered = lower_with(("  onInconclusive: hold", "  onInconclusive: hold\n  maxRefused: 1"))
    assert _mesh(lowered).releases.canaries[CHECKOUT].max_refused == 1


def test_short_objectives(mesh: Mesh) -> None:
    slos = mesh.releases.slos
    assert [name.name for name in slos] == ["checkout-availability", "checkout-latency-99", "checkout-latency-99-9"]
    availability, latency, slow = slos.values()
    assert (availability.objective, availability.indicator) == (0.999, Availability())
    assert (latency.objective, latency.indicator) == (0.99, Latency(300))
    assert (slow.objective, slow.indicator) == (0.999, Latency(1_000))
    assert {slo.service for slo in slos.values()} == {CHECKOUT}
    assert [(alert.factor, alert.long_s, alert.short_s) for alert in availability.alerts] == [
        (14.4, 3_600, 300),
        (6.0, 21_600, 1_800),
        (3.0, 86_400, 7_200),
        (1.0, 259_200, 21_600),
    ]


def test_the_mesh_chooses_a_strategy(mesh: Mesh, lower_with: LowerFiles) -> None:
    assert mesh.releases.strategy == DEFAULT_STRATEGY
    named = ("trustDomain: shop.example", "trustDomain: shop.example\n  strategy: careful")
    assert _mesh(lower_with(named)).releases.strategy == Strategy(
        Name("default", "careful"), (Wave(count=1), Wave(share=2_000), Wave(share=10_000)), hold_s=30.0
    )
    built_in = ("trustDomain: shop.example", "trustDomain: shop.example\n  strategy: immediate")
    assert _mesh(lower_with(built_in)).releases.strategy == IMMEDIATE
    lenient = ("  hold: 30s\n  gates: touched", "  hold: 30s\n  maxRefused: 2\n  gates: touched")
    assert _mesh(lower_with(named, lenient)).releases.strategy.max_refused == 2
    gates = ("gates: touched", "gates: [checkout-availability]")
    chosen = _mesh(lower_with(named, gates)).releases.strategy
    assert chosen.gates == (Name("default", "checkout-availability"),)


def test_where_every_value_came_from(lower_with: LowerFiles) -> None:
    provenance = lower_with().provenance
    assert provenance[Key("Service", CHECKOUT)] == Provenance(Location("services.yaml", 3, 18), "team-buy")
    assert provenance[Key("AccessRule", Name("pay", "shop-pays"))] == Provenance(Location("rules.yaml", 23, 18))
    slo = provenance[Key("SLO", Name("default", "checkout-latency-99"))]
    assert slo == Provenance(Location("services.yaml", 11, 43), "team-buy")
    assert {key.kind for key in provenance} == {
        "Mesh",
        "Service",
        "AccessRule",
        "CanarySplit",
        "RolloutStrategy",
        "SLO",
    }


def test_order_in_lists_means_nothing_where_it_should_not(mesh: Mesh, lower_with: LowerFiles) -> None:
    swapped = _mesh(
        lower_with(
            ("[POST, GET, GET]", "[GET, POST]"),
            ('[/v1/status, "/v1/orders/{id}"]', '["/v1/orders/{id}", /v1/status]'),
            ("[503, reset]", "[reset, 503]"),
            ("[{address: 10.0.1.12, zone: b}, 10.0.1.11]", "[10.0.1.11, {address: 10.0.1.12, zone: b}]"),
        )
    )
    assert swapped.services == mesh.services
    assert swapped.access == mesh.access
