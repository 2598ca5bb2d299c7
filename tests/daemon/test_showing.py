"""Certificates for gateways in the running controller: looked at again and again, told of only when one changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2

from policyd.compiler.artifact import Artifact
from policyd.daemon.showing import LOOK_S, Showing
from policyd.daemon.troubles import Troubles
from policyd.identity.certificates import Certificates, Files
from policyd.testing.clock import FakeClock
from tests.compilers.envoy.outside import certificate


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "chain.pem", tmp_path / "key.pem")


def renew(files: Files, *, only_chain: bool = False) -> bytes:
    """Put another pair there, or half of it; returns its key."""
    _, pair = certificate(files.chain.parent, "shop.example")
    chain, _, key = pair.read_bytes().partition(b"-----BEGIN PRIVATE")
    files.chain.write_bytes(chain)
    if not only_chain:
        files.key.write_bytes(b"-----BEGIN PRIVATE" + key)
    return b"-----BEGIN PRIVATE" + key


class Heard(FakeClock):
    """Says when somebody has gone to sleep by it."""

    def __init__(self) -> None:
        super().__init__(datetime.now(UTC))
        self.asleep = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.asleep.set()
        await super().sleep(seconds)


class Followed:
    """A `Showing` that is being followed, by a clock that only `look` moves."""

    def __init__(self, files: Files) -> None:
        self.clock, self.troubles, self.told = Heard(), Troubles(), 0
        self.showing = Showing(Certificates({"shop": files}, self.clock), self.troubles)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        following = asyncio.create_task(self.showing.follow(self.clock, self._changed))
        try:
            await self.clock.asleep.wait()
            yield
        finally:
            following.cancel()
            with suppress(asyncio.CancelledError):
                await following

    async def look(self) -> None:
        """Let the time of the next look come; return when it has been had."""
        await asyncio.sleep(0)  # whoever said so is asleep only now
        self.clock.asleep.clear()
        self.clock.advance(LOOK_S)
        await self.clock.asleep.wait()

    def _changed(self) -> None:
        self.told += 1


def key_in(secret: Artifact) -> bytes:
    read = secret_pb2.Secret.FromString(secret.body)
    assert read.name == "certificate/shop"
    return bytes(read.tls_certificate.private_key.inline_bytes)


def test_what_is_there_at_the_start_is_shown_at_once(files: Files) -> None:
    key = renew(files)
    followed = Followed(files)
    assert key_in(followed.showing.secrets()["shop"]) == key
    assert not followed.troubles.all()


async def test_a_new_pair_is_shown_and_told_once(files: Files) -> None:
    renew(files)
    followed = Followed(files)
    async with followed.running():
        before = followed.showing.secrets()
        await followed.look()
        assert followed.showing.secrets() is before, "else every node would be made anew"
        assert followed.told == 0
        key = renew(files)
        await followed.look()
        await followed.look()
        assert (key_in(followed.showing.secrets()["shop"]), followed.told) == (key, 1)


async def test_half_of_a_pair_is_a_trouble_and_the_last_one_stays(files: Files) -> None:
    first = renew(files)
    followed = Followed(files)
    async with followed.running():
        second = renew(files, only_chain=True)
        await followed.look()
        (trouble,) = followed.troubles.all()
        assert (trouble.about, "what was there before is shown" in trouble.said) == ("certificates", True)
        assert (key_in(followed.showing.secrets()["shop"]), followed.told) == (first, 0)
        files.key.write_bytes(second)
        await followed.look()
        assert not followed.troubles.all()
        assert (key_in(followed.showing.secrets()["shop"]), followed.told) == (second, 1)


async def test_one_that_comes_late_opens_what_was_closed(files: Files) -> None:
    followed = Followed(files)
    assert not followed.showing.secrets()
    assert "its listeners are closed" in str(followed.troubles)
    async with followed.running():
        renew(files)
        await followed.look()
    assert ([*followed.showing.secrets()], followed.told) == (["shop"], 1)
    assert not followed.troubles.all()
