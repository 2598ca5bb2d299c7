"""Who may ask: tokens by their hash, OIDC by the provider's keys, and none of the known ways around."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from policyd.api.credentials import Auth, Gatekeeper, Token, check_exposure
from policyd.api.gate import role_for
from policyd.api.oidc import LEEWAY_S, Oidc, OidcTokens
from policyd.base.errors import UsageError

NOW = 1_900_000_000.0
RSA, EC, OTHER = (
    rsa.generate_private_key(65537, 2048),
    ec.generate_private_key(ec.SECP256R1()),
    ec.generate_private_key(ec.SECP256R1()),
)
SETTINGS = Oidc(
    issuer="https://login.example/", audience="policyd", jwks="/nowhere", roles={"sre": "operate", "bots": "decide"}
)
CLAIMS = {"iss": "https://login.example/", "aud": "policyd", "exp": 4_000_000_000, "roles": ["sre", "read"]}


def jwks(key: ec.EllipticCurvePrivateKey = EC, *, with_rsa: bool = True) -> bytes:
    keys = [{**json.loads(ECAlgorithm.to_jwk(key.public_key())), "kid": "ec", "alg": "ES256"}]
    if with_rsa:
        keys.append({**json.loads(RSAAlgorithm.to_jwk(RSA.public_key())), "kid": "rsa", "alg": "RS256"})
    keys.append({"kty": "oct", "kid": "shared", "k": base64.urlsafe_b64encode(b"x" * 32).decode()})
    return json.dumps({"keys": keys}).encode()


def signed(key: Any = EC, algorithm: str = "ES256", kid: str = "ec", **claims: Any) -> bytes:
    said = {name: value for name, value in {**CLAIMS, **claims}.items() if value is not None}
    return jwt.encode(said, key, algorithm, headers={"kid": kid}).encode()


def headed(**said: Any) -> bytes:
    """A good token with more in its header."""
    signature = jwt.get_algorithm_by_name("ES256")
    parts = [json.dumps(part).encode() for part in ({"alg": "ES256", "kid": "ec", **said}, CLAIMS)]
    text = b".".join(_encoded(part) for part in parts)
    return text + b"." + _encoded(signature.sign(text, EC))


def forged(algorithm: str, signature: Callable[[bytes], bytes]) -> bytes:
    """A token that no library would make."""
    parts = [json.dumps(part).encode() for part in ({"alg": algorithm, "kid": "ec"}, CLAIMS)]
    said = b".".join(_encoded(part) for part in parts)
    return said + b"." + _encoded(signature(said))


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def with_the_public_key(said: bytes) -> bytes:
    """HS256 with the provider's public key as the secret: a verifier that believes `alg` takes it."""
    public = EC.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hmac.digest(public, said, "sha256")


@pytest.fixture
def oidc() -> OidcTokens:
    found = OidcTokens(SETTINGS, now=lambda: NOW)
    found.keys(jwks())
    return found


def test_a_token_that_holds_gives_the_roles_that_its_words_stand_for(oidc: OidcTokens) -> None:
    for token in (signed(), signed(RSA, "RS256", "rsa"), headed(jku="https://elsewhere.example/keys")):
        assert oidc.roles(token) == oidc.roles(token) == frozenset({"operate", "read"})
    assert oidc.roles(signed(roles="bots read")) == frozenset({"decide", "read"})
    assert oidc.roles(signed(roles=None)) == frozenset()


@pytest.mark.parametrize(
    "token",
    [
        forged("none", lambda said: b""),
        forged("None", lambda said: b""),
        forged("HS256", with_the_public_key),
        signed(b"x" * 32, "HS256", "shared"),
        signed(OTHER),
        signed(kid="unknown"),
        signed(RSA, "RS256", "ec"),
        signed(RSA, "PS256", "rsa"),
        signed(iss="https://login.example"),
        signed(aud="another"),
        signed(exp=1),
        signed(exp=None),
        signed(exp=10**400),
        headed(crit=[]),
        headed(crit={}),
        headed(crit=["exp"]),
        headed(crit=["b64"], b64=False),
        signed(nbf=4_000_000_000),
        signed()[:-4] + b"AAAA",
        b"",
        b"a.b.c",
        b"\xff\xfe",
    ],
)
def test_what_does_not_hold_gives_nothing(oidc: OidcTokens, token: bytes) -> None:
    assert oidc.roles(token) is None


def test_a_token_ends_and_a_key_that_is_gone_verifies_nothing() -> None:
    now = [NOW]
    oidc = OidcTokens(SETTINGS, now=lambda: now[0])
    oidc.keys(jwks())
    token = signed(RSA, "RS256", "rsa")
    assert oidc.roles(token) is not None
    now[0] = 4_000_000_001.0 + LEEWAY_S
    assert oidc.roles(token) is None
    now[0] = NOW
    oidc.keys(jwks(with_rsa=False))
    assert oidc.roles(token) is None


@pytest.mark.parametrize(
    ("seconds", "holds"),
    [
        ({"exp": -LEEWAY_S + 20}, True),
        ({"exp": -LEEWAY_S - 10}, False),
        ({"nbf": LEEWAY_S - 20}, True),
        ({"nbf": LEEWAY_S + 600}, False),
    ],
)
def test_a_clock_that_is_a_little_off_is_no_reason_to_refuse(seconds: dict[str, float], holds: bool) -> None:
    oidc = OidcTokens(SETTINGS)
    oidc.keys(jwks())
    said: dict[str, Any] = {name: int(time.time() + off) for name, off in seconds.items()}
    token = signed(**said)
    assert [oidc.roles(token) is not None for _ in range(2)] == [holds, holds]


KIDS = jwks(with_rsa=False).replace(b'"kid": "ec"', b'"kid": ["ec"]')


@pytest.mark.parametrize(
    "document", [b"", b"[]", b"{}", b'{"keys": []}', b'{"keys": 7}', b"\xff", b'{"keys": [{}]}', KIDS]
)
def test_keys_that_are_none_leave_those_that_are_known(oidc: OidcTokens, document: bytes) -> None:
    with pytest.raises(ValueError, match="not a set of keys"):
        oidc.keys(document)
    assert oidc.roles(signed()) is not None


def test_bearer_tokens_are_known_by_their_hash(oidc: OidcTokens) -> None:
    token = Token(name="ci", sha256=hashlib.sha256(b"secret").hexdigest(), roles=("decide",))
    keeper = Gatekeeper(Auth(tokens=(token,), oidc=SETTINGS), oidc)
    assert keeper.admits(b"Bearer secret", "decide") == keeper.admits(b"bearer  secret ", "decide") == 0
    assert keeper.admits(b"Bearer secret", "operate") == 403
    assert keeper.admits(b"Bearer " + signed(), "operate") == 0
    for said in (
        b"",
        b"Bearer",
        b"Bearer ",
        b"secret",
        b"Basic secret",
        b"Bearer Secret",
        b"Bearer " + b"x" * 10_000,
    ):
        assert keeper.admits(said, "decide") == 401


def test_nobody_listens_beyond_loopback_without_asking_who_calls() -> None:
    some = Auth(tokens=(Token(name="ci", sha256="0" * 64),))
    check_exposure("127.0.0.1:1", Auth(), "it")
    check_exposure("0.0.0.0:1", some, "it")
    for address in ("0.0.0.0:1", "192.0.2.1:1"):
        with pytest.raises(UsageError, match="without authentication"):
            check_exposure(address, Auth(), "it")


@pytest.mark.parametrize(
    ("method", "path", "role"),
    [
        ("GET", "/v1/status", "read"),
        ("GET", "/metrics", "read"),
        ("GET", "/bundles/mesh.tar.gz", "decide"),
        ("POST", "/v1/data/policyd/authz", "decide"),
        ("POST", "/v1/explain", "decide"),
        ("POST", "/v1/releases/r1/abort", "operate"),
        ("POST", "/v1/revocations", "operate"),
        ("POST", "/v1/clock/accept", "operate"),
        ("DELETE", "/unheard-of", "operate"),
    ],
)
def test_what_a_caller_has_to_be_allowed(method: str, path: str, role: str) -> None:
    assert role_for(method, path) == role
