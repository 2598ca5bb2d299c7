"""Where calls go on: names that can be told apart, whom a fallback is for, and who stands by where."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policyd.compiler.failover import instances, ways
from policyd.compiler.naming import (
    cluster_name,
    failover_name,
    fallback_name,
    parse_cluster_name,
    parse_fallback_name,
)
from policyd.compiler.sources import Index
from policyd.model.access import Mode
from policyd.model.failover import Fallback
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.service import Endpoint, Protocol, Service, Split, Version
from policyd.testing import build

PAY, STANDBY, WEB = (Name.parse(name) for name in ("pay", "standby", "web"))
OWN, BACKUP = cluster_name(PAY, "v1"), cluster_name(STANDBY, "v1")


def shop(*fallbacks: Fallback, mode: Mode = Mode.ENFORCE, **standby: object) -> Mesh:
    """`web` may call `pay`, and `standby` by a rule of this mode."""
    pay = replace(build.service("pay", {"v1": ["10.0.0.1"], "v2": ["10.0.0.2"]}), failover=fallbacks)
    other: Service = replace(build.service("standby", {"v1": ["10.0.1.1"]}), **standby)  # type: ignore[arg-type]
    return build.mesh(
        [pay, other, build.service("web", {"v1": ["10.0.2.1"]})],
        [
            build.access("pay", build.rule("pay", ["web"])),
            build.access("standby", build.rule("standby", ["web"], mode=mode)),
        ],
    )


def clusters(mesh: Mesh, version: str = "v1") -> list[str]:
    return [member.cluster for member in ways(Index.of(mesh)[WEB]).get((PAY, version), ())]


def test_names_are_read_back_to_what_callers_meant() -> None:
    led_on = fallback_name(PAY, "v1", BACKUP)
    for name in (OWN, failover_name(PAY, "v1"), led_on, cluster_name(PAY, "v1", "b")):
        assert parse_cluster_name(name) == (PAY, "v1"), name
    assert parse_fallback_name(led_on) == (STANDBY, "v1")
    assert parse_fallback_name(failover_name(PAY, "v1")) is None
    for name in ("app", "a/b", "a//c", "a/b/c/d", "a/b/c/failover/x", "a/b/c/zone/", "a/b/c/d/e/f/g"):
        assert parse_cluster_name(name) is None, name
        assert parse_fallback_name(name) is None, name


def test_the_way_of_each_version() -> None:
    mesh = shop(Fallback(version="v2"), Fallback(service=STANDBY), Fallback(zone="b"))
    assert clusters(mesh) == [
        OWN,
        fallback_name(PAY, "v1", cluster_name(PAY, "v2")),
        fallback_name(PAY, "v1", BACKUP),
        cluster_name(PAY, "v1", "b"),
    ]
    assert clusters(mesh, "v2")[1] == fallback_name(PAY, "v2", BACKUP), "a version is no fallback of its own"


@pytest.mark.parametrize(
    "mesh",
    [
        shop(Fallback(service=STANDBY), mode=Mode.OBSERVE),
        shop(Fallback(service=STANDBY), protocol=Protocol.GRPC),
        shop(Fallback(service=Name.parse("gone"))),
        shop(Fallback(version="v9")),
        shop(),
    ],
    ids=["observed", "protocol", "no such service", "no such version", "none"],
)
def test_what_nobody_can_be_led_to_is_left_out(mesh: Mesh) -> None:
    assert clusters(mesh) == []


def test_who_is_cut_off_from_a_fallback_is_not_led_there() -> None:
    mesh = shop(Fallback(service=STANDBY))
    cut = replace(mesh.access[STANDBY], revoked=("spiffe://test.example/ns/default/svc/web",))
    assert clusters(mesh)
    assert clusters(replace(mesh, access={**mesh.access, STANDBY: cut})) == []


def test_a_rule_more_or_less_to_the_fallback_makes_other_sources() -> None:
    observed, enforced = (shop(Fallback(service=STANDBY), mode=mode) for mode in (Mode.OBSERVE, Mode.ENFORCE))
    assert Index.of(observed)[WEB].scope == Index.of(enforced)[WEB].scope
    assert Index.of(observed)[WEB].key != Index.of(enforced)[WEB].key


ZONED = Version("v1", tuple(Endpoint(f"10.0.0.{end}", "127.0.0.1", 8080, zone) for end, zone in
                            ((1, "a"), (2, "b"), (3, "c"), (4, ""))))  # fmt: skip


@pytest.mark.parametrize(
    ("standing", "caller", "found"),
    [
        (("b",), "a", {"": "134", "b": "2"}),
        (("b",), "b", {"": "134", "b": "2"}),
        (("other",), "a", {"": "1", "other": "234"}),
        (("other",), "", {"": "1234", "other": ""}),
        (("other",), "d", {"": "1234", "other": ""}),
        (("b", "other"), "a", {"": "1", "b": "2", "other": "34"}),
        ((), "a", {"": "1234"}),
    ],
)
def test_who_stands_by_for_whom(standing: tuple[str, ...], caller: str, found: dict[str, str]) -> None:
    service = Service(
        PAY, Protocol.HTTP, 80, (ZONED,), Split.all_to("v1"), failover=tuple(Fallback(zone=zone) for zone in standing)
    )
    for zone, ends in found.items():
        assert "".join(each.address[-1] for each in instances(service, ZONED, zone, caller)) == ends
