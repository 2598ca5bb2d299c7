"""What rules ask for besides callers, methods and paths, with real traffic: one table for every real proxy."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from policyd.model.access import Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name, spiffe_id
from policyd.model.paths import EVERYTHING, PathPattern
from policyd.model.tokens import TokenCondition
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import RealMesh, Sidecars, loopback, running

pytestmark = pytest.mark.e2e

NET = loopback(os.getpid() + 40)
OFFICE, ATTIC, STREET = NET + "66", NET + "98", NET + "130"
OFFICE_BLOCK, ATTIC_BLOCK = NET + "64/27", NET + "96/27"
FRIEND = Name("ops", "friend")
STRANGER = Name("shop", "stranger")
LEAVER = Name("shop", "leaver")
PARTNER = "spiffe://partner.example/ns/pay/svc/settle"
PAST, FUTURE = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))
THERE = Source(ip_blocks=(OFFICE_BLOCK,))


def permitting(path: str, *sources: Source, name: str, ports: tuple[int, ...] = ()) -> Rule:
    permit = Permit(("GET",), (PathPattern.parse(path),), ports)
    return replace(rule(PAYMENTS, sources or (Source(services=(WEB,)),), name=name), permits=(permit,))


def whole() -> Mesh:
    web, friends = Source(services=(WEB,)), Source(namespaces=("ops",))
    rules = [
        permitting("/office", replace(web, ip_blocks=(OFFICE_BLOCK,)), name="office"),
        permitting("/somewhere", replace(web, ip_blocks=(OFFICE_BLOCK, ATTIC_BLOCK)), name="somewhere"),
        # Two sources: neither lends its address to the other.
        permitting(
            "/apart",
            replace(web, ip_blocks=(OFFICE_BLOCK,)),
            replace(friends, ip_blocks=(ATTIC_BLOCK,)),
            name="apart",
        ),
        permitting("/either", web, THERE, name="either"),
        permitting("/verified", THERE, name="verified"),
        permitting("/own", replace(THERE, anyone=True), name="own"),
        permitting("/all-v6", replace(web, ip_blocks=("::/0",)), name="all-v6"),
        permitting("/all-v4", replace(web, ip_blocks=("::ffff:0:0/96",)), name="all-v4"),
        permitting("/v6", replace(web, ip_blocks=("2000::/3", "::/96", "::ffff:0:0/128")), name="v6"),
        permitting("/mapped", replace(web, ip_blocks=("2000::/3", f"::ffff:{OFFICE}/128")), name="mapped"),
        permitting("/port", name="port", ports=(8080,)),
        permitting("/ports", name="ports", ports=(1, 8080)),
        permitting("/other-port", name="other-port", ports=(8081,)),
        replace(permitting("/token", name="token"), token=TokenCondition("people")),
        permitting("/all/**", Source(anyone=True), name="all"),
        permitting("/was/{x}", name="was"),
        permitting("/stays", name="stays"),
        permitting("/ended/{x}", name="ended"),
        permitting("/lasts/{x}", name="lasts"),
    ]
    observed = [
        replace(permitting("/was/kept", name="is"), replaces=(Name("pay", "was"),)),
        permitting("/new", name="new"),
        permitting("/new", replace(web, ip_blocks=(ATTIC_BLOCK,)), name="newer"),
        # What has ended stands for nothing any more, unless another one goes on.
        replace(permitting("/ended/kept", name="end"), replaces=(Name("pay", "ended"),), expires=PAST),
        replace(permitting("/lasts/kept", name="last"), replaces=(Name("pay", "lasts"),), expires=PAST),
        replace(permitting("/lasts/kept", name="lasting"), replaces=(Name("pay", "lasts"),), expires=FUTURE),
    ]
    rules += [replace(each, mode=Mode.OBSERVE) for each in observed]
    made = mesh([service(PAYMENTS, v1=[NET + "1"]), service(WEB, v1=[NET + "2"])], *((PAYMENTS, r) for r in rules))
    cut = (spiffe_id("shop.example", LEAVER), "spiffe://shop.example/ns/ops/svc/gone", PARTNER + "-gone")
    return replace(made, access={**made.access, PAYMENTS: replace(made.access[PAYMENTS], revoked=cut)})


@pytest.fixture(scope="module")
def world(sidecars: Sidecars) -> Iterator[RealMesh]:
    with running(whole(), sidecars, only={PAYMENTS}) as started:
        yield started


def asked(world: RealMesh, path: str, caller: Name = WEB, identity: str = "", at: str = "") -> int:
    instance = world.mesh.services[PAYMENTS].versions[0].endpoints[0]
    with world.peer_of(instance, caller, identity, at) as peer:
        return peer.send("GET", path).status


def named(value: object) -> str | None:
    """A part of a test's name, which is the same in every process."""
    return value.removeprefix(NET) if isinstance(value, str) else None


@pytest.mark.parametrize(
    ("path", "caller", "at", "status"),
    [
        ("/office", WEB, OFFICE, 200),
        ("/office", WEB, STREET, 403),
        ("/office", WEB, ATTIC, 403),
        ("/office", FRIEND, OFFICE, 403),
        ("/somewhere", WEB, OFFICE, 200),
        ("/somewhere", WEB, ATTIC, 200),
        ("/somewhere", WEB, STREET, 403),
        ("/apart", WEB, OFFICE, 200),
        ("/apart", WEB, ATTIC, 403),
        ("/apart", FRIEND, ATTIC, 200),
        ("/apart", FRIEND, OFFICE, 403),
        ("/either", WEB, STREET, 200),
        ("/either", STRANGER, OFFICE, 200),
        ("/either", STRANGER, STREET, 403),
        ("/verified", STRANGER, OFFICE, 200),
        ("/verified", STRANGER, STREET, 403),
        ("/own", STRANGER, OFFICE, 200),
        ("/own", STRANGER, STREET, 403),
        ("/all-v6", WEB, OFFICE, 403),
        ("/all-v4", WEB, OFFICE, 200),
        ("/v6", WEB, OFFICE, 403),
        ("/mapped", WEB, OFFICE, 200),
        ("/mapped", WEB, ATTIC, 403),
        ("/port", WEB, STREET, 200),
        ("/ports", WEB, STREET, 200),
        ("/other-port", WEB, STREET, 403),
    ],
    ids=named,
)
def test_addresses_and_ports_decide(world: RealMesh, path: str, caller: Name, at: str, status: int) -> None:
    assert asked(world, path, caller, at=at) == status


def test_whoever_a_root_has_verified_is_meant_by_an_address_alone(world: RealMesh) -> None:
    assert asked(world, "/verified", identity=PARTNER, at=OFFICE) == 200
    assert asked(world, "/verified", identity=PARTNER, at=STREET) == 403
    assert asked(world, "/own", identity=PARTNER, at=OFFICE) == 403


@pytest.mark.parametrize(
    "identity",
    [
        "spiffe://shop.example/ns/shop/svc/web/",
        "spiffe://shop.example/ns/ops/svc/../friend",
        "spiffe://shop.example/ns/ops/svc/%66riend",
        "spiffe://shop.example/ns/ops/svc/friend?x",
        "spiffe://shop.example/",
        "spiffe://Partner.example/ns/pay/svc/settle",
        f"{PARTNER},spiffe://shop.example/ns/ops/svc/friend",
    ],
)
def test_what_no_workload_is_called_is_nobody(world: RealMesh, identity: str) -> None:
    """A root that has signed such a thing by mistake, its own or a partner's, opens nothing by it."""
    for path in ("/verified", "/own", "/all/x", "/apart"):
        assert asked(world, path, identity=identity, at=OFFICE) == 403, path


@pytest.mark.parametrize("header", ["x-forwarded-for", "x-real-ip", "forwarded", "x-envoy-external-address"])
def test_no_header_claims_an_address(world: RealMesh, header: str) -> None:
    instance = world.mesh.services[PAYMENTS].versions[0].endpoints[0]
    said = f"for={OFFICE}" if header == "forwarded" else OFFICE
    with world.peer_of(instance, WEB, coming_from=STREET) as peer:
        assert peer.send("GET", "/office", headers={header: said}).status == 403


@pytest.mark.parametrize("path", ["/all/x", "/office", "/nowhere", "/token"])
def test_who_is_cut_off_is_denied_before_any_rule(world: RealMesh, path: str) -> None:
    instance = world.mesh.services[PAYMENTS].versions[0].endpoints[0]
    with world.peer_of(instance, LEAVER, coming_from=OFFICE) as peer:
        reply = peer.send("GET", f"{path}?leaver")
    assert (reply.status, reply.body["error"]["reason"]) == (403, "revoked")
    assert reply.body["error"]["caller"] == "spiffe://shop.example/ns/shop/svc/leaver"
    logged = world.logged(f"pay/payments/v1/{instance.address}", f"{path}?leaver")
    assert "revoked" in (logged["rule"] or "") + logged["details"]
    assert logged["would"] in {"same", "-"}


def test_nobody_else_is_cut_off(world: RealMesh) -> None:
    assert asked(world, "/all/x", STRANGER) == 200
    assert asked(world, "/all/x", identity="spiffe://shop.example/ns/shop/svc/leaver2") == 200
    assert asked(world, "/all/x", identity="spiffe://shop.example/ns/ops/svc/gone") == 403


@pytest.mark.parametrize(
    ("path", "at", "status", "would"),
    [
        ("/stays", STREET, 200, "same"),
        ("/nowhere", STREET, 403, "same"),
        ("/was/kept", STREET, 200, "same"),
        ("/was/other", STREET, 200, "would-deny pay/was#"),
        ("/new", STREET, 403, "would-allow pay/new#"),
        ("/new", ATTIC, 403, "would-allow pay/new#"),
        ("/ended/kept", STREET, 200, "same"),
        ("/ended/other", STREET, 200, "same"),
        ("/lasts/kept", STREET, 200, "same"),
        ("/lasts/other", STREET, 200, "would-deny pay/lasts#"),
    ],
    ids=named,
)
def test_the_log_says_what_would_be_decided(world: RealMesh, path: str, at: str, status: int, would: str) -> None:
    target = f"{path}?would-{at}"
    assert asked(world, target, at=at) == status
    instance = world.mesh.services[PAYMENTS].versions[0].endpoints[0]
    assert world.logged(f"pay/payments/v1/{instance.address}", target)["would"].startswith(would)


def test_a_rule_for_a_token_allows_nothing_without_one(sidecars: Sidecars, world: RealMesh) -> None:
    """The mesh has no issuer of that name. A proxy that judges no token leaves the rule out; both deny."""
    assert asked(world, "/token") in {401, 403}


def test_a_rule_ends_at_its_instant(sidecars: Sidecars) -> None:
    net = loopback(os.getpid() + 60)
    ends = datetime.now(UTC) + timedelta(seconds=4)
    access = replace(permitting("/**", name="short"), expires=ends)
    the_mesh = mesh([service(PAYMENTS, v1=[net + "1"]), service(WEB, v1=[net + "2"])], (PAYMENTS, access))
    assert access.permits[0].paths == (EVERYTHING,)
    with running(the_mesh, sidecars, only={PAYMENTS}) as world:
        instance = the_mesh.services[PAYMENTS].versions[0].endpoints[0]
        with world.peer_of(instance, WEB) as peer:
            assert datetime.now(UTC) >= ends or peer.send("GET", "/x").status == 200
            world.until(lambda: peer.send("GET", "/x").status == 403)
            assert datetime.now(UTC) >= ends
