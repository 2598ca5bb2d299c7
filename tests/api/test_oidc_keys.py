"""The keys of the provider that callers are known by: from allowed hosts over TLS, kept while he is away."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from policyd.api.decide_settings import Decide
from policyd.api.oidc import Oidc, OidcTokens, check_keys, refresh
from policyd.base.errors import UsageError
from policyd.decider.choice import check
from policyd.identity.key_sets import Fetching
from tests.api.test_credentials import NOW, OTHER, SETTINGS, jwks, signed
from tests.decider.server import wait_for
from tests.identity.test_key_sets import Issuer, issuer

__all__ = ["issuer"]

PUBLIC = json.loads(jwks())["keys"][:2]
SHARED = {"kty": "oct", "kid": "ec", "k": base64.urlsafe_b64encode(b"x" * 32).decode()}


@contextlib.asynccontextmanager
async def following(provider: Issuer) -> AsyncIterator[OidcTokens]:
    """Tokens whose keys are asked for all the time."""
    settings = SETTINGS.model_copy(update={"jwks": provider.url, "refresh_s": 0.01})
    tokens = OidcTokens(settings, now=lambda: NOW)
    allowed = Fetching(frozenset({provider.host}), provider.authorities)
    task = asyncio.create_task(refresh(tokens, settings, allowed))
    try:
        yield tokens
    finally:
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()


async def asked_again(provider: Issuer) -> None:
    """Return once an answer has been taken that was given from here on."""
    before = provider.asked
    await asyncio.to_thread(wait_for, lambda: provider.asked > before + 2)


async def test_keys_are_fetched_and_followed_when_they_are_exchanged(issuer: Issuer) -> None:
    issuer.offers(*PUBLIC)
    async with following(issuer) as tokens:
        await asked_again(issuer)
        assert tokens.roles(signed()) is not None
        issuer.offers({**json.loads(jwks(OTHER))["keys"][0], "kid": "new"})
        await asked_again(issuer)
        assert tokens.roles(signed()) is None
        assert tokens.roles(signed(OTHER, kid="new")) is not None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (302, b""),
        (200, b"nope"),
        (200, b'{"keys": []}'),
        (200, json.dumps({"keys": [{"kty": "none", "alg": "none", "kid": "ec"}]}).encode()),
        (200, json.dumps({"keys": [*PUBLIC, SHARED]}).encode()),
        (200, b"x" * 300_000),
    ],
)
async def test_what_is_no_answer_leaves_the_keys_that_are_known(issuer: Issuer, status: int, body: bytes) -> None:
    issuer.offers(*PUBLIC)
    async with following(issuer) as tokens:
        await asked_again(issuer)
        issuer.status, issuer.body = status, body
        with capture_logs() as logged:
            await asked_again(issuer)
        assert any(event["event"] == "keys not fetched" for event in logged)
        assert tokens.roles(signed()) is not None
        assert tokens.roles(signed(b"x" * 32, "HS256", "ec")) is None
        issuer.status = 200
        issuer.offers(*PUBLIC[1:])  # he is back, and has taken one away
        await asked_again(issuer)
        assert tokens.roles(signed()) is None


async def test_who_is_down_leaves_the_keys_that_are_known(issuer: Issuer) -> None:
    issuer.offers(*PUBLIC)
    async with following(issuer) as tokens:
        await asked_again(issuer)
        with capture_logs() as logged:
            await asyncio.to_thread(issuer.stop)
            await asyncio.to_thread(wait_for, lambda: any(each["event"] == "keys not fetched" for each in logged))
        assert tokens.roles(signed()) is not None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://elsewhere.example/keys", "host `elsewhere.example` is not among `fetch.hosts`"),
        ("https://login.example:444/keys", None),
        ("https://login.example.evil.example/keys", "is not among"),
        ("https://login.example@evil.example/keys", "is not among"),
        ("http://login.example/keys", "over `https` only"),
        ("https://login.example/keys", None),
        ("/etc/policyd/keys.json", None),
    ],
)
def test_only_allowed_hosts_are_asked_and_that_is_said_before_anything_starts(url: str, words: str | None) -> None:
    settings = Oidc(issuer="https://login.example/", audience="policyd", jwks=url)
    fetching = Fetching(frozenset({"login.example"}))
    with pytest.raises(UsageError, match=words) if words else contextlib.nullcontext():
        check_keys(settings, fetching)


def test_a_decision_server_asks_only_allowed_hosts_too(tmp_path: Path) -> None:
    oidc = {"issuer": "https://login.example/", "audience": "policyd", "jwks": "https://login.example/keys"}
    with pytest.raises(UsageError, match="is not among") as refused:
        check(Decide.model_validate({"auth": {"oidc": oidc}}))
    assert refused.value.hint == "`fetch: {hosts: [login.example]}` allows it"
    check(Decide.model_validate({"auth": {"oidc": oidc}, "fetch": {"hosts": ["login.example"]}}))
