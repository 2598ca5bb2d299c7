"""`policyd why` on lines that a real Envoy has written: what decided, or came nearest, and where that stands."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from policyd.cli.judged import judge
from policyd.cli.main import build
from policyd.model.names import Name
from policyd.plan.floor import without_own_cuts
from policyd.source import DirectoryTree
from tests.compilers.envoy.people import People
from tests.compilers.envoy.proxies import Envoys
from tests.compilers.world import RealMesh, loopback, running

pytestmark = pytest.mark.e2e

NET = loopback(os.getpid() + 43)
LED_NET = loopback(os.getpid() + 44)
PEOPLE = People()
PAYMENTS, WEB, BATCH, OLD = (Name("default", name) for name in ("payments", "web", "batch", "old"))


def service(name: Name, last: int) -> str:
    return (
        f"apiVersion: policyd.dev/v1alpha1\nkind: Service\nmetadata: {{name: {name.name}, owner: team}}\n"
        f"spec: {{port: 8080, versions: {{v1: {{endpoints: [{NET}{last}]}}}}, version: v1}}\n"
    )


def rule(name: str, sources: str, allow: str, more: str = "") -> str:
    return (
        f"apiVersion: policyd.dev/v1alpha1\nkind: AccessRule\nmetadata: {{name: {name}, owner: team-{name}}}\n"
        f"spec: {{to: payments, from: [{sources}], allow: [{allow}]{more}}}\n"
    )


def intents(ends: datetime) -> Mapping[str, Sequence[str]]:
    """One rule for each file, so that a place names the rule."""
    mesh = (
        "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec:\n  trustDomain: shop.example\n"
        "  issuers:\n    people: {issuer: 'https://people.example/', audiences: [shop], "
        f"jwks: '{PEOPLE.keys}'}}\n"
    )
    stolen = (
        "apiVersion: policyd.dev/v1alpha1\nkind: Revocation\nmetadata: {name: stolen, owner: security}\n"
        "spec: {cut: {identity: old}, reason: key found in a build log}\n"
    )
    until = f", expires: {ends:%Y-%m-%dT%H:%M:%SZ}"
    return {
        "mesh": [mesh],
        "services": [service(each, last) for last, each in enumerate((PAYMENTS, WEB, BATCH, OLD), 1)],
        "reads": [rule("reads", "web, old", '{methods: [GET], paths: [/v1/charges, "/v1/charges/{id}"]}')],
        "admin": [
            rule("admin", "web", "{methods: [DELETE], paths: [/v1/**]}", ", jwt: {issuer: people, claims: {role: a}}")
        ],
        "sale": [rule("sale", "web", "{methods: [PUT], paths: [/sale]}", until)],
        "tries": [rule("tries", "web", "{methods: [GET], paths: [/v2]}", ", mode: observe")],
        "less": [rule("less", "web", "{methods: [GET], paths: [/v1/charges]}", ", mode: observe, replaces: reads")],
        "stolen": [stolen],
    }


@dataclass
class Shop:
    """The folder of intents, and the sidecars of `payments` and `web` that run what it says."""

    folder: Path
    world: RealMesh
    ends: datetime

    def node(self, of: Name) -> str:
        return f"{of}/v1/{self.world.mesh.services[of].versions[0].endpoints[0].address}"

    def line(self, of: Name, path: str) -> str:
        """The line about a path as the sidecar has written it, byte for byte."""
        self.world.logged(self.node(of), path)
        lines = self.world.logs[self.node(of)].read_text().splitlines()
        return next(line for line in lines if f'"path":"{path}"' in line)

    def called(
        self, path: str, caller: Name = WEB, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> str:
        """Call `payments` as somebody's sidecar does: the line about it."""
        (endpoint,) = self.world.mesh.services[PAYMENTS].versions[0].endpoints
        with self.world.peer_of(endpoint, caller) as peer:
            peer.send(method, path, "payments", headers)
        return self.line(PAYMENTS, path)

    def went(self, host: str, path: str) -> str:
        """Call a host from the application of `web`: the line that its own sidecar has written."""
        (endpoint,) = self.world.mesh.services[WEB].versions[0].endpoints
        with self.world.app_of(endpoint) as application:
            application.send("GET", path, host)
        return self.line(WEB, path)

    def why(self, line: str, *words: str) -> tuple[int, list[str]]:
        """Exit code and words, with places as files of the folder."""
        done = CliRunner().invoke(build(), ["why", line, "--path", str(self.folder), *words], catch_exceptions=False)
        return done.exit_code, [each.strip() for each in done.output.replace(f"{self.folder}/", "").splitlines()]


@pytest.fixture(scope="module")
def shop(envoy_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("intents")
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1)
    for name, documents in intents(ends).items():
        (folder / f"{name}.yaml").write_text("---\n".join(documents))
    mesh = without_own_cuts(judge(DirectoryTree(folder)).mesh())
    with running(mesh, Envoys(envoy_binary), only={PAYMENTS, WEB}) as world:
        yield Shop(folder, world, ends)


NONE_VALID = "asks for a token of `people` with `role` `a`; there is no valid one"
CASES: tuple[tuple[str, dict[str, Any], str, str, str, str], ...] = (
    ("/v1/charges?ok", {}, "allow", "reads", "allows `web` to `GET /v1/charges` on `payments`", ""),
    ("/v1/charges?who", {"caller": BATCH}, "deny (403)", "reads", "allows it, but only from `web`, `old`", ""),
    ("/v1/charges?how", {"method": "POST"}, "deny (403)", "reads", "allows `GET` on this path, not `POST`", ""),
    ("/charge?on", {}, "deny (403)", "reads", "allows other paths: `/v1/charges`, `/v1/charges/{any}`", ""),
    (
        *("/v1/x?absent", {"method": "DELETE"}, "deny (401)", "admin", NONE_VALID),
        "a log does not say whether there was no token, or one that was forged, ended or not meant",
    ),
    ("/v1/x?bad", {"method": "DELETE", "authorization": "Bearer x"}, "deny (401)", "admin", NONE_VALID, ""),
    ("/v1/x?old", {"method": "DELETE", "token": {"exp": 100, "role": "a"}}, "deny (401)", "admin", NONE_VALID, ""),
    (
        *("/v1/x?other", {"method": "DELETE", "token": {"role": "b"}}, "deny (403)", "admin"),
        "asks for a token of `people` with `role` `a`; the one that was sent is another",
        "a valid token was sent: without one, the proxy had answered 401",
    ),
    (
        *("/v1/x?good", {"method": "DELETE", "token": {"role": "a"}}, "allow", "admin"),
        "allows `web` to `DELETE /v1/x` on `payments`",
        "the token is taken for one that rule `admin` asks for, since that allowed: a log has none",
    ),
    ("/v2?would", {}, "deny (403)  would-allow", "tries", "would allow it, but it only observes", ""),
    ("/v1/charges/8?l", {}, "allow  would-deny", "less", "observed in place of `reads`, would deny it", ""),
)
"""Path, who calls how, the answer, the rule that is named with its place, what is said of it, and what besides."""


@pytest.mark.parametrize(("path", "call", "head", "rule", "said", "besides"), CASES)
def test_what_a_sidecar_logged_is_explained_by_a_rule_and_its_place(
    shop: Shop, path: str, call: Mapping[str, Any], head: str, rule: str, said: str, besides: str
) -> None:
    headers = {"authorization": call["authorization"]} if "authorization" in call else {}
    if "token" in call:
        headers = {"authorization": f"Bearer {PEOPLE.token(**call['token'])}"}
    caller, method = call.get("caller", WEB), call.get("method", "GET")
    code, told = shop.why(shop.called(path, caller, method, headers))
    assert (code, told[0]) == (0, f"{head}  {caller.name} → payments  {method} {path}"), told
    named = [each for each in told if each.startswith(f"rule `{rule}`") and each.endswith(f"   {rule}.yaml:3:18")]
    assert [said in each for each in named] == [True], told
    assert besides in ("", *told)
    assert "the log says the same" in told


def test_who_was_cut_off_is_told_by_the_revocation_and_its_place(shop: Shop) -> None:
    code, told = shop.why(shop.called("/v1/charges?cut", OLD))
    assert (code, told[0]) == (0, "deny (403)  old → payments  GET /v1/charges?cut")
    assert "revocation `default/stolen`: key found in a build log   stolen.yaml:3:18" in told


def test_what_is_not_canonical_was_refused_before_any_rule(shop: Shop) -> None:
    code, told = shop.why(shop.called("/v1//charges?odd"))
    assert (code, told[0]) == (0, "reject (400)  web → payments  GET /v1//charges?odd")
    assert told[1] == "path `/v1//charges` is not canonical: two parsers could read it differently"


def test_a_rule_that_has_ended_is_the_nearest_miss_after_and_what_allowed_before(shop: Shop) -> None:
    number = 0

    def denied() -> bool:
        nonlocal number
        number += 1
        return bool(json.loads(shop.called(f"/sale?{number}", method="PUT"))["status"] == 403)

    shop.world.until(denied)
    code, told = shop.why(shop.line(PAYMENTS, f"/sale?{number}"))
    assert (code, told[0]) == (0, f"deny (403)  web → payments  PUT /sale?{number}")
    assert f"rule `sale` allowed it until {shop.ends:%Y-%m-%dT%H:%M:%SZ}   sale.yaml:3:18" in told
    before = json.dumps({**json.loads(shop.line(PAYMENTS, f"/sale?{number}")), "start": "2026-01-01T00:00:00Z"})
    assert shop.why(before)[0] == 1, "the line says that it was denied, and at that instant it was allowed"


@pytest.mark.parametrize("host", ["nowhere.example", "some.host.of.another.example", "nobody"])
def test_a_host_that_nobody_knows_is_no_service_of_an_odd_name(shop: Shop, host: str) -> None:
    code, told = shop.why(shop.went(host, f"/x?{host}"))
    assert (code, told[0]) == (0, f"deny (403)  {shop.node(WEB)} → {host}  GET /x?{host}")
    assert told[1] == f"the caller may call nobody who is called `{host}`: no service, and no host of an `Egress`"
    done = CliRunner().invoke(
        build(), ["why", shop.line(WEB, f"/x?{host}"), "--path", str(shop.folder), "-o", "json"]
    )
    assert (json.loads(done.output)["cause"], json.loads(done.output)["agrees"]) == ("unknown-destination", True)


def test_a_service_that_is_closed_to_the_caller_is_said_with_its_rules(
    shop: Shop,
) -> None:
    code, told = shop.why(shop.went("batch", "/x?batch"))
    assert (code, told[0]) == (0, "deny (403)  web → batch  GET /x?batch")
    assert "nobody may call `batch`: it has no rules" in told
    assert "· no rule lets the caller call this host, so its own sidecar answered" in told


@pytest.mark.parametrize(
    ("raw", "details"),
    [
        (b"GET /v1/ch arges HTTP/1.1\r\nhost: payments\r\n\r\n", "http1.codec_error"),
        (b"GET /v1/charges HTTP/1.1\r\nhost: pay ments\r\n\r\n", "http.invalid_authority"),
    ],
)
def test_what_the_proxy_could_not_read_is_said_and_not_replayed(shop: Shop, raw: bytes, details: str) -> None:
    (endpoint,) = shop.world.mesh.services[PAYMENTS].versions[0].endpoints
    log = shop.world.logs[shop.node(PAYMENTS)]
    with shop.world.peer_of(endpoint, WEB) as peer:
        assert peer.send_as_it_is("GET", raw).status == 400
    shop.world.until(lambda: f'"{details}"' in log.read_text())
    line = next(line for line in log.read_text().splitlines() if f'"{details}"' in line)
    code, told = shop.why(line)
    assert (code, told[0]) == (0, f"reject (400)  spiffe://shop.example/ns/default/svc/web → {shop.node(PAYMENTS)}")
    assert told[1] == f"the proxy could not read the request, and refused it before any rule: `{details}`"
    assert "· `DPE`: the caller broke the HTTP protocol" in told


def led(name: str, last: int, more: str = "") -> str:
    return (
        f"apiVersion: policyd.dev/v1alpha1\nkind: Service\nmetadata: {{name: {name}, owner: team}}\n"
        f"spec: {{port: 8080, versions: {{v1: {{endpoints: [{LED_NET}{last}]}}}}, version: v1{more}}}\n---\n"
        f"apiVersion: policyd.dev/v1alpha1\nkind: AccessRule\nmetadata: {{name: to-{name}, owner: team}}\n"
        f"spec: {{to: {name}, from: [caller], allow: [{{methods: [GET], paths: [/**]}}]}}\n"
    )


def test_who_took_the_place_of_a_service_that_is_down_is_named(envoy_binary: Path, tmp_path: Path) -> None:
    ledger, books, caller = (Name("default", name) for name in ("ledger", "books", "caller"))
    (tmp_path / "mesh.yaml").write_text(
        "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec: {trustDomain: shop.example}\n"
    )
    services = (led("ledger", 1, ", failover: [{service: books}]"), led("books", 2), led("caller", 3))
    (tmp_path / "services.yaml").write_text("---\n".join(services))
    mesh = judge(DirectoryTree(tmp_path)).mesh()
    with running(mesh, Envoys(envoy_binary)) as world:
        shop = Shop(tmp_path, world, datetime.now(UTC))

        def told(path: str) -> tuple[int, list[str]]:
            (endpoint,) = mesh.services[caller].versions[0].endpoints
            with world.app_of(endpoint) as application:
                assert application.send("GET", path, "ledger").status == 200
            return shop.why(shop.line(caller, path))

        code, words = told("/well")
        assert (code, words[0]) == (0, "allow  caller → ledger  GET /well")
        assert f"· went to version `v1` of `ledger` at {LED_NET}1:15006, by its weight" in words
        assert not [each for each in words if "fallback" in each or "led on" in each]
        world.stop_application(shop.node(ledger))
        code, words = told("/down")
        assert (code, words[0]) == (0, "allow  caller → books  GET /down")
        assert [each for each in words if each.startswith("· went to version `v1` of `ledger`, by its weight")]
        assert (
            f"· all its instances were down, and fallback `v1` of `books` at {LED_NET}2:15006 took its place" in words
        )
        line = shop.line(caller, "/down")
        done = CliRunner().invoke(build(), ["why", line, "--path", str(tmp_path), "-o", "json"])
        way = json.loads(done.output)["way"]
        assert (way["led_on"], way["instance"]) == ("default/books/v1", shop.node(books))


def test_what_observed_rules_said_then_and_say_now_is_compared(shop: Shop) -> None:
    line = json.loads(shop.called("/v1/charges?then"))
    code, told = shop.why(json.dumps({**line, "would": "would-deny default/reads#0"}))
    assert code == 1
    assert any("observed rules said `would-deny default/reads#0` then and `same` now" in each for each in told)
