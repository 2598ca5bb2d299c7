"""Tokens through the real Envoy: which are believed, what rules ask of them, and that nothing else needs them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from policyd.model.access import Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.tokens import Issuer, TokenCondition
from policyd_compilers.envoy.keys import LONGEST_RSA_BITS, usable_keys
from policyd_compilers.envoy.tokens import CLOCK_SKEW_S
from tests.compilers.envoy.people import People
from tests.compilers.envoy.proxies import Envoys
from tests.compilers.meshes import PAYMENTS, SETTINGS, WEB, mesh, rule, service
from tests.compilers.world import RealMesh, Reply, loopback, running

pytestmark = pytest.mark.e2e

NET = loopback(os.getpid() + 70)
PEOPLE, ROBOTS = People(), People("robots", "https://robots.example/", ("mill", "shop"))
STRANGER = Name("shop", "stranger")
ADMIN = TokenCondition("people", (("role", ("admin", "root")),))
AWAY = Issuer("away", "https://away.example/", keys_url="https://away.example/keys")


def asking(path: str, token: TokenCondition | None, name: str, mode: Mode = Mode.ENFORCE) -> Rule:
    permit = Permit(("GET",), (PathPattern.parse(path),))
    return replace(rule(PAYMENTS, name=name, mode=mode), permits=(permit,), token=token)


def whole() -> Mesh:
    rules = [
        asking("/any", TokenCondition("people"), "any"),
        asking("/admin", ADMIN, "admin"),
        asking("/both", replace(ADMIN, claims=(*ADMIN.claims, ("team", ("pay",)))), "both"),
        asking("/robots", TokenCondition("robots"), "robots"),
        asking("/away", TokenCondition("away"), "away"),
        asking("/nobody", TokenCondition("nobody"), "nobody"),
        asking("/either", ADMIN, "either-admin"),
        asking("/either", TokenCondition("robots"), "either-robot"),
        asking("/free", None, "free"),
        asking("/also-free", ADMIN, "also-1"),
        asking("/also-free", None, "also-2"),
        asking("/tried", ADMIN, "tried", Mode.OBSERVE),
        replace(asking("/there", ADMIN, "there"), sources=(Source(services=(WEB,), ip_blocks=("10.0.0.0/8",)),)),
    ]
    settings = replace(SETTINGS, issuers=(AWAY, PEOPLE.issuer, ROBOTS.issuer))
    services = [service(PAYMENTS, v1=[NET + "1"]), service(WEB, v1=[NET + "2"])]
    return mesh(services, *((PAYMENTS, each) for each in rules), settings=settings)


@pytest.fixture(scope="module")
def world(envoy_binary: Path) -> Iterator[RealMesh]:
    with running(whole(), Envoys(envoy_binary), only={PAYMENTS}) as started:
        yield started


def ask(
    world: RealMesh, path: str, *authorizations: str, caller: Name = WEB, also: Mapping[str, str] | None = None
) -> Reply:
    instance = world.mesh.services[PAYMENTS].versions[0].endpoints[0]
    sent = {("authorization", "Authorization", "AUTHORIZATION")[n]: text for n, text in enumerate(authorizations)}
    with world.peer_of(instance, caller) as peer:
        return peer.send("GET", path, headers={**sent, **(also or {})})


def bearer(token: str) -> str:
    return f"Bearer {token}"


@pytest.mark.parametrize(
    ("path", "claims", "status"),
    [
        ("/any", {}, 200),
        ("/any", {"aud": ["mill", "shop"]}, 200),
        ("/admin", {"role": "admin"}, 200),
        ("/admin", {"role": "root"}, 200),
        ("/admin", {"role": ["user", "admin"]}, 200),
        ("/admin", {}, 403),
        ("/admin", {"role": "user"}, 403),
        ("/admin", {"role": "administrator"}, 403),
        ("/admin", {"role": "user admin"}, 403),
        ("/admin", {"role": ["user"]}, 403),
        ("/admin", {"role": [["admin"]]}, 403),
        ("/admin", {"role": {"admin": True}}, 403),
        ("/admin", {"role": True}, 403),
        ("/admin", {"role": []}, 403),
        ("/both", {"role": "admin", "team": "pay"}, 200),
        ("/both", {"role": "admin", "team": "buy"}, 403),
        ("/both", {"role": "admin"}, 403),
        ("/either", {"role": "admin"}, 200),
        ("/either", {"role": "user"}, 403),
        ("/robots", {"role": "admin"}, 403),
        ("/away", {}, 403),
        ("/nobody", {}, 403),
        ("/elsewhere", {}, 403),
    ],
)
def test_claims_decide(world: RealMesh, path: str, claims: dict[str, object], status: int) -> None:
    assert ask(world, path, bearer(PEOPLE.token(**claims))).status == status


def test_each_issuer_is_asked_for_by_himself(world: RealMesh) -> None:
    assert ask(world, "/robots", bearer(ROBOTS.token())).status == 200
    assert ask(world, "/either", bearer(ROBOTS.token())).status == 200
    assert ask(world, "/admin", bearer(ROBOTS.token(role="admin"))).status == 403


def test_without_a_token_the_answer_says_what_to_bring(world: RealMesh) -> None:
    reply = ask(world, "/any")
    assert (reply.status, reply.body["error"]["reason"]) == (401, "no-valid-token")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert {ask(world, path).status for path in ("/admin", "/both", "/robots", "/either", "/away", "/nobody")} == {
        401
    }


@pytest.mark.parametrize("caller", [WEB, STRANGER])
def test_whom_no_rule_means_is_not_asked_for_a_token(world: RealMesh, caller: Name) -> None:
    assert ask(world, "/there" if caller == WEB else "/any", caller=caller).status == 403


def hs256(keys: str) -> str:
    said = PEOPLE.said({"alg": "HS256", "kid": "people"}, role="admin")
    mac = hmac.new(keys.encode(), said.encode(), hashlib.sha256).digest()
    return f"{said}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"


def swapped(token: str) -> str:
    header, _, signature = token.split(".")
    claims = json.dumps(PEOPLE.claims(role="admin")).encode()
    return f"{header}.{base64.urlsafe_b64encode(claims).rstrip(b'=').decode()}.{signature}"


NOW = int(time.time())
FORGER = People()
FORGER_KEY = json.loads(FORGER.keys)["keys"][0]
WRONG: dict[str, Callable[[], str]] = {
    "alg none": lambda: PEOPLE.said({"alg": "none"}, role="admin") + ".",
    "alg none, signed": lambda: PEOPLE.said({"alg": "none"}, role="admin") + "." + PEOPLE.token().split(".")[2],
    "alg None": lambda: PEOPLE.said({"alg": "None", "kid": "people"}, role="admin") + ".",
    "symmetric, with the public key": lambda: hs256(PEOPLE.keys),
    "symmetric, with nothing": lambda: hs256(""),
    "expired": lambda: PEOPLE.token(role="admin", exp=NOW - 3_600),
    "not yet": lambda: PEOPLE.token(role="admin", nbf=NOW + 3_600),
    "never ends": lambda: PEOPLE.token(role="admin", exp=None),
    "another audience": lambda: PEOPLE.token(role="admin", aud="mill"),
    "no audience": lambda: PEOPLE.token(role="admin", aud=None),
    "another issuer": lambda: PEOPLE.token(role="admin", iss="https://evil.example/"),
    "no issuer": lambda: PEOPLE.token(role="admin", iss=None),
    "the other issuer's name": lambda: ROBOTS.token(role="admin", iss=PEOPLE.url),
    "an issuer without keys": lambda: PEOPLE.token(role="admin", iss=AWAY.url),
    "a key nobody knows": lambda: People().token(role="admin"),
    "other claims under the signature": lambda: swapped(PEOPLE.token()),
    "what it calls critical is not known": lambda: PEOPLE.headed({"crit": ["b64"], "b64": True}, role="admin"),
    "what it calls critical is known": lambda: PEOPLE.headed({"crit": ["exp"]}, role="admin"),
    "what it calls critical is no list": lambda: PEOPLE.headed({"crit": "exp"}, role="admin"),
    "what it calls critical is an empty list": lambda: PEOPLE.headed({"crit": []}, role="admin"),
    "what it calls critical is an object": lambda: PEOPLE.headed({"crit": {}}, role="admin"),
    "what it calls critical is nothing": lambda: PEOPLE.headed({"crit": None}, role="admin"),
    "what it calls critical is lists": lambda: PEOPLE.headed({"crit": [[], {}]}, role="admin"),
    "its own key in its header": lambda: FORGER.headed({"jwk": FORGER_KEY}, role="admin"),
    "its own key in place of the known one": lambda: FORGER.headed({"jwk": FORGER_KEY, "kid": None}, role="admin"),
    "its own key by a link": lambda: FORGER.headed({"jku": "https://people.example/keys"}, role="admin"),
    "said to be RSA": lambda: PEOPLE.headed({"alg": "RS256"}, role="admin"),
    "said to be another curve": lambda: PEOPLE.headed({"alg": "ES384"}, role="admin"),
    "said to be EdDSA": lambda: PEOPLE.headed({"alg": "EdDSA"}, role="admin"),
    "no signature": lambda: PEOPLE.token(role="admin").rsplit(".", 1)[0] + ".",
    "two parts": lambda: PEOPLE.token(role="admin").rsplit(".", 1)[0],
    "nonsense": lambda: "a.b.c",
    "nothing": lambda: "",
}


@pytest.mark.parametrize("wrong", sorted(WRONG))
def test_a_token_that_cannot_be_believed_is_none(world: RealMesh, wrong: str) -> None:
    token = WRONG[wrong]()
    assert ask(world, "/admin", bearer(token)).status == 401
    assert ask(world, "/any", bearer(token)).status == 401
    assert ask(world, "/away", bearer(token)).status == 401
    assert ask(world, "/free", bearer(token)).status == 200
    assert ask(world, "/also-free", bearer(token)).status == 200


@pytest.mark.parametrize(
    ("claims", "status"),
    [({"exp": -30}, 200), ({"exp": -120}, 401), ({"nbf": 30}, 200), ({"nbf": 120}, 401), ({"iat": 3_600}, 200)],
)
def test_clocks_may_be_a_minute_apart(world: RealMesh, claims: Mapping[str, int], status: int) -> None:
    now = int(time.time())
    token = PEOPLE.token(role="admin", **{claim: now + seconds for claim, seconds in claims.items()})
    assert ask(world, "/admin", bearer(token)).status == status


def test_only_one_header_with_nothing_but_a_token_is_read(world: RealMesh) -> None:
    good, bad = PEOPLE.token(role="admin"), PEOPLE.token(role="user")
    assert ask(world, "/admin", bearer(good)).status == 200
    for several in ((bearer(good), bearer(bad)), (bearer(bad), bearer(good)), (bearer(good), bearer(good))):
        assert ask(world, "/admin", *several).status == 401
    for text in (
        f"Bearer {good}, Bearer {bad}", f"Bearer {good},", f"Bearer  {good}", f"Basic x Bearer {good}", good,
        f"bearer {good}", f"Bearer {good} {bad}", f"Basic {good}", f"xBearer {good}", f"Bearer\t{good}",
    ):  # fmt: skip
        assert ask(world, "/admin", text).status == 401, text


def test_a_token_travels_in_no_other_place(world: RealMesh) -> None:
    good = PEOPLE.token(role="admin")
    assert ask(world, f"/admin?access_token={good}").status == 401
    for header in ("x-authorization", "proxy-authorization", "cookie", "x-jwt-payload"):
        assert ask(world, "/admin", also={header: bearer(good)}).status == 401


def test_the_application_sees_the_token_that_was_judged(world: RealMesh) -> None:
    good = bearer(PEOPLE.token(role="admin"))
    assert ask(world, "/admin", good).body["headers"]["authorization"] == good


def test_rules_with_tokens_are_observed_too(world: RealMesh) -> None:
    instance = world.mesh.services[PAYMENTS].versions[0].endpoints[0]
    node = f"pay/payments/v1/{instance.address}"
    assert ask(world, "/tried?with", bearer(PEOPLE.token(role="admin"))).status == 403
    assert world.logged(node, "/tried?with")["would"].startswith("would-allow pay/tried#")
    assert ask(world, "/tried?without").status == 403
    assert world.logged(node, "/tried?without")["would"] == "same"


def _b64(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(-(-number.bit_length() // 8))).rstrip(b"=").decode()


MODULUS = {"kty": "RSA", "n": _b64((1 << 2_047) + 1), "e": _b64(65_537), "kid": "rsa"}
ODD = [
    {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
    {"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"},
    {"kty": "EC"},
    {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
    {"kty": "RSA", "n": 5, "e": None},
    {"kty": "OKP", "crv": "X25519", "x": "AA"},
    {"kty": "OKP", "crv": "Ed25519", "x": "%%"},
    {"kty": "oct", "k": "c2VjcmV0"},
    *({**FORGER_KEY, "alg": alg} for alg in ("none", "RS256", "HS256", "ES384", "")),
    {**FORGER_KEY, "alg": ["ES256"]},
    *({**MODULUS, "alg": alg} for alg in ("ES256", "HS256", "EdDSA")),
    {**MODULUS, "n": "+" + MODULUS["n"]},
    {**MODULUS, "n": _b64((1 << 20_000) + 1)},
    {**MODULUS, "e": _b64(65_539)},
    {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "alg": "ES256"},
]
"""Each of them alone would stop a whole listener, or be believed for what it is not."""


def test_keys_that_are_none_open_nothing(envoy_binary: Path) -> None:
    """The set in Git was read as JSON only: what an Envoy cannot use must neither open nor stop it."""
    net = loopback(os.getpid() + 75)
    odd = json.dumps({"keys": ODD})
    some_odd = json.dumps({"keys": [*ODD, *json.loads(ROBOTS.keys)["keys"]]})
    issuers = (replace(PEOPLE.issuer, keys=odd), replace(ROBOTS.issuer, keys=some_odd))
    settings = replace(SETTINGS, issuers=issuers)
    rules = [asking("/any", TokenCondition("people"), "any"), asking("/robots", TokenCondition("robots"), "robots")]
    services = [service(PAYMENTS, v1=[net + "1"]), service(WEB, v1=[net + "2"])]
    the_mesh = mesh(services, *((PAYMENTS, each) for each in rules), settings=settings)
    assert not any(usable_keys(json.dumps({"keys": [each]})) for each in ODD)
    with running(the_mesh, Envoys(envoy_binary), only={PAYMENTS}) as world:
        assert ask(world, "/any", bearer(PEOPLE.token())).status == 401
        assert ask(world, "/robots", bearer(ROBOTS.token())).status == 200


def test_an_envoy_reads_every_key_that_is_kept(envoy_binary: Path) -> None:
    net = loopback(os.getpid() + 76)
    outer = [
        MODULUS,
        {**MODULUS, "alg": "PS512"},
        {**MODULUS, "n": _b64((1 << LONGEST_RSA_BITS - 1) + 1), "e": "Aw"},
        {"kty": "OKP", "crv": "Ed25519", "x": "A" * 43, "alg": "EdDSA"},
        {**FORGER_KEY, "x": "AAAA" + FORGER_KEY["x"] + "="},
        {**FORGER_KEY, "kid": "a\0b", "key_ops": ["sign"], "use": "enc"},
        *json.loads(PEOPLE.keys)["keys"],
    ]
    for key in outer:
        assert usable_keys(json.dumps({"keys": [key]})), key
    issuers = [replace(PEOPLE.issuer, name=f"p{n}", keys=json.dumps({"keys": [key]})) for n, key in enumerate(outer)]
    settings = replace(SETTINGS, issuers=tuple(issuers))
    services = [service(PAYMENTS, v1=[net + "1"]), service(WEB, v1=[net + "2"])]
    last = asking("/any", TokenCondition(issuers[-1].name), "any")
    with running(mesh(services, (PAYMENTS, last), settings=settings), Envoys(envoy_binary), only={PAYMENTS}) as world:
        assert ask(world, "/any", bearer(PEOPLE.token())).status == 200


def test_an_end_and_a_beginning_hold_to_the_second(world: RealMesh) -> None:
    """Clocks may differ by a minute: good from the second `nbf` - 60 s to the second `exp` + 60 s, both included."""
    begins = ends = int(time.time()) + 2
    ending = bearer(PEOPLE.token(role="admin", exp=ends - CLOCK_SKEW_S))
    beginning = bearer(PEOPLE.token(role="admin", nbf=begins + CLOCK_SKEW_S))
    seen: dict[str, dict[int, set[int]]] = {ending: {}, beginning: {}}
    while (now := int(time.time())) <= ends + 1:
        for token, statuses in seen.items():
            status = ask(world, "/admin", token).status
            if int(time.time()) == now:  # else it is not known in which second the proxy looked
                statuses.setdefault(now, set()).add(status)
        time.sleep(0.02)
    assert all(statuses == {200 if second <= ends else 401} for second, statuses in seen[ending].items())
    assert all(statuses == {200 if second >= begins else 401} for second, statuses in seen[beginning].items())
    assert all({ends, ends + 1} <= statuses.keys() for statuses in seen.values())
    assert begins - 1 in seen[beginning]
