"""One bundle, two engines: a real OPA verifies what a decision server follows, and answers the same from it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from policyd.model.access import Access, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.tokens import Issuer, TokenCondition
from policyd.testing import build
from tests.decider.meshes import READS, WEB, question
from tests.decider.opa import opa_server
from tests.decider.server import COMMIT, Server, publish, serving

PROBE = "spiffe://test.example/ns/ops/svc/probe"
LOGIN = "https://login.example/"


def shop() -> Mesh:
    """Rules of every kind."""
    web = Source(services=(Name.parse("web"),))
    near = Source(namespaces=("ops",), ip_blocks=("10.0.0.0/8", "2001:db8::/32"))
    admin = TokenCondition("login", (("role", ("admin",)),))

    def permits(text: str, *methods: str, ports: tuple[int, ...] = ()) -> tuple[Permit, ...]:
        return (Permit(methods, (PathPattern.parse(text),), ports),)

    rules = (
        READS,
        Rule(Name.parse("admins"), (web,), permits("/v1/admin/**", "*"), token=admin),
        Rule(Name.parse("ended"), (web,), permits("/v1/old", "GET"), expires=datetime(2020, 1, 1, tzinfo=UTC)),
        Rule(Name.parse("near"), (near,), permits("/metrics", "GET")),
        Rule(Name.parse("other-port"), (web,), permits("/v1/port", "GET", ports=(9090,))),
        Rule(Name.parse("watched"), (web,), permits("/v1/soon", "GET"), Mode.OBSERVE),
        Rule(Name.parse("z-instead"), (web,), permits("/never", "GET"), Mode.OBSERVE, replaces=(READS.name,)),
    )
    ordered = tuple(sorted(rules, key=lambda rule: rule.name))
    services = [
        build.service(name, {"v1": [f"10.0.0.{at}"]}) for at, name in enumerate(("web", "payments", "depot"), 1)
    ]
    cut = Access(Name.parse("depot"), (build.rule("any", ["*"]),), (WEB,))
    settings = Settings("test", "test.example", issuers=(Issuer("login", LOGIN),))
    return build.mesh(services, [Access(Name.parse("payments"), ordered), cut], settings=settings)


class Both(NamedTuple):
    ours: Server
    opa: httpx.Client


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, opa_binary: Path) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("one-bundle")
    publish(folder, shop())
    with serving(folder) as ours:
        key = ("--verification-key", str(folder / "key.pem"), "--verification-key-id", "policyd")
        bundle = ("--bundle", str(folder / "mesh.tar.gz"), "--signing-alg", "ES256")
        with opa_server(opa_binary, folder, *bundle, *key) as opa:
            yield Both(ours, opa)


def token(state: str, **claims: Any) -> dict[str, Any]:
    return {"jwt": {"state": state, "issuer": LOGIN, "claims": claims}}


def probe(said: str, ip: str) -> dict[str, Any]:
    asked = question(said, source=PROBE)
    return {**asked, "source": {**asked["source"], "ip": ip}}


def at_port(said: str, port: Any) -> dict[str, Any]:
    asked = question(said)
    return {**asked, "destination": {**asked["destination"], "port": port}}


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        (question(), "allowed"),
        (question("GET /v1/charges/7?limit=3"), "allowed"),
        (question("PUT /v1/charges/7"), "no-rule"),
        (question("GET /v1/charges/"), "no-rule"),
        (question("GET /v1//charges"), "not-canonical"),
        (question("TRACE /v1/charges/7"), "not-canonical"),
        ({**question(), "host": "a b"}, "not-canonical"),
        (question(service="nobody"), "unknown-destination"),
        (question(service="depot"), "revoked"),
        (question("GET /x", source=PROBE, service="depot"), "allowed"),
        (question("GET /v1/admin/x"), "token-needed"),
        ({**question("GET /v1/admin/x"), **token("invalid", role="admin")}, "token-needed"),
        ({**question("GET /v1/admin/x"), **token("valid", role="admin")}, "allowed"),
        ({**question("GET /v1/admin/x"), **token("valid", role=["other", "admin"])}, "allowed"),
        ({**question("GET /v1/admin/x"), **token("valid", role="clerk")}, "no-rule"),
        (question("GET /v1/old"), "no-rule"),
        (question("GET /v1/port"), "no-rule"),
        (question("GET /v1/soon"), "no-rule"),
        (probe("GET /metrics", "10.1.2.3"), "allowed"),
        (probe("GET /metrics", "::ffff:10.1.2.3"), "allowed"),
        (probe("GET /metrics", "2001:db8::7"), "allowed"),
        (probe("GET /metrics", "11.1.2.3"), "no-rule"),
        (question("GET /metrics", source=PROBE), "no-rule"),
        (at_port("GET /v1/charges/7", 8080), "allowed"),
        (at_port("GET /v1/charges/7", 9090), "unknown-port"),
        ({}, "malformed"),
        (7, "malformed"),
        ({**question(), "method": 7}, "malformed"),
    ],
)
def test_both_decide_alike(both: Both, asked: Any, reason: str) -> None:
    ours = both.ours.ask("policyd/authz", asked)["result"]
    theirs = both.opa.post("/v1/data/policyd/authz", json={"input": asked}).json()["result"]
    assert theirs["reason"] == reason
    assert {part: ours[part] for part in theirs} == theirs
    assert ours["commit"] == COMMIT
