"""A line that a real sidecar has logged is replayed to what it decided, by the rule that it names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest

from policyd.cli.access_line import destination_of, differences, read_line
from policyd.cli.asking import Known
from policyd.decisions import Index, Request, Said, replay
from policyd.model.access import Mode
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import RealMesh, Sidecars, loopback, running

pytestmark = pytest.mark.e2e
NET = loopback(os.getpid())
NODE = f"pay/payments/v1/{NET}1"


@pytest.fixture(scope="module")
def world(sidecars: Sidecars) -> Iterator[RealMesh]:
    soon = datetime.now(UTC) + timedelta(hours=1)
    the_mesh = mesh(
        [service(PAYMENTS, v1=[NET + "1"]), service(WEB, v1=[NET + "3"])],
        (PAYMENTS, rule(PAYMENTS, methods=("GET",), paths=("/v1/charges", "/v1/charges/{id}"), name="reads")),
        (PAYMENTS, replace(rule(PAYMENTS, methods=("POST",), paths=("/v1/charges",), name="pays"), expires=soon)),
        (PAYMENTS, rule(PAYMENTS, methods=("GET",), paths=("/watched",), name="watch", mode=Mode.OBSERVE)),
    )
    with running(the_mesh, sidecars) as started:
        yield started


@pytest.mark.parametrize(
    ("method", "path", "host", "status"),
    [
        ("GET", "/v1/charges?a", "payments.pay", 200),
        ("GET", "/v1/charges/7?b", "payments.pay.shop.example", 200),
        ("POST", "/v1/charges?c", "payments.pay:8080", 200),
        ("DELETE", "/v1/charges?d", "payments.pay", 403),
        ("GET", "/watched?e", "payments.pay", 403),
        ("GET", "/v1//charges?f", "payments.pay", 400),
        ("GET", "/v1/charges/%2e?g", "payments.pay", 400),
    ],
)
def test_the_log_of_a_sidecar_says_what_the_replay_says(
    world: RealMesh, method: str, path: str, host: str, status: int
) -> None:
    (endpoint,) = world.mesh.services[PAYMENTS].versions[0].endpoints
    with world.peer_of(endpoint, WEB) as peer:
        assert peer.send(method, path, host).status == status
    logged = read_line(json.dumps(world.logged(NODE, path)))
    known = Known.of(world.mesh)
    assert logged.node == NODE
    assert destination_of(replace(logged, host="10.0.0.1"), known) == PAYMENTS
    assert logged.start is not None
    index, said = Index.build(world.mesh), Said(world.mesh, {})
    asked = Request(logged.caller, PAYMENTS, logged.method, logged.path, logged.host)
    answer = replay(index, asked, logged.start, said, logged.rule)
    assert (answer.status, logged.status) == (status, status)
    assert differences(logged, asdict(answer)) == ()

    closed = replace(
        world.mesh, access={**world.mesh.access, PAYMENTS: replace(world.mesh.access[PAYMENTS], rules=())}
    )
    other = Index.build(closed)
    later = asdict(replay(other, asked, logged.start, said, logged.rule))
    assert bool(differences(logged, later)) is (status == 200 or logged.would.startswith("would-allow"))
