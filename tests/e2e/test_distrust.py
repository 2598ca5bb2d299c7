"""A root whose key was stolen: trusted no more at once, under load, and by nothing that goes back."""

from __future__ import annotations

import asyncio
import os
import shutil
import ssl
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from policyd.base.clock import SystemClock
from policyd.daemon.admins import AdminAddresses
from policyd.demo.acts import all_in_sync
from policyd.demo.load import Load, Stream
from policyd.demo.world import World
from policyd.identity import CertificateAuthority, fingerprint
from policyd.identity.authority import key_pem
from policyd.model.names import Name
from policyd.telemetry.running import RunningEnvoys
from tests.e2e.conftest import answered

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

StartPair = Callable[..., Awaitable[World]]
BACK = ("127.0.7.21", 15_006)
NODES = ("default/front/v1/127.0.7.11", "default/back/v1/127.0.7.21", "default/back/v2/127.0.7.22")
WITHIN_S = 60


async def test_a_stolen_root_opens_nothing_from_the_moment_that_it_is_distrusted(
    start_pair: StartPair, short_folder: Path, record_property: Callable[[str, object], None]
) -> None:
    world = await start_pair()
    identity, stolen = short_folder / "state" / "identity", short_folder / "stolen"
    shutil.copytree(identity, stolen)
    root = fingerprint((stolen / "root.pem").read_bytes())
    before = await trusted(world)
    thief, writer = await intrude(stolen)
    load = Load(world.proxy("front"), (Stream("GET", "http://back/v1/items", 100.0),), SystemClock())
    load.start()

    code, words = await policyd(world, "revoke", "--root", root, "--reason", "key in a backup that leaked")
    assert code == 0, words
    assert "enforced on 3 of 3 proxies, last open connection cut after" in words
    record_property("proof", words.partition(" So that Git")[0])
    await asyncio.wait_for(thief.read(), 1.0)  # to its end, which has come: what was open under the root
    writer.close()
    assert not before & await trusted(world)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await intrude(stolen)
    await load.stop()
    record_property("requests", load.tally.requests)
    record_property("lost", load.tally.lost)
    assert load.tally.lost <= load.tally.requests * 0.01, load.tally.reasons

    after = await trusted(world)
    await goes_back(world, identity, stolen)
    assert await trusted(world) == after
    with pytest.raises((ssl.SSLError, ConnectionError)):
        await intrude(stolen)
    status = await world.client.until("what is wrong", lambda s: bool(s["troubles"]), within_s=WITHIN_S)
    assert "is distrusted" in str(status["troubles"])

    code, words = await policyd(world, "revoke", "--root", "ab" * 32, "--reason", "a slip")
    assert (code, "no root of this mesh has this fingerprint" in words) == (0, True), words
    await answered(world, "/v1/items", 200)


async def goes_back(world: World, identity: Path, stolen: Path) -> None:
    """The controller starts anew, on a folder into which somebody has put the stolen root back."""
    await world.kill_controller()
    shutil.rmtree(identity)
    shutil.copytree(stolen, identity)
    await world.start_controller(tick_s=0.25)
    await world.client.until("everyone in sync", all_in_sync, within_s=WITHIN_S)
    await answered(world, "/v1/items", 200)


async def intrude(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection to `back`, as whoever has that root's key makes one for `front`, after an answered request.

    Raises `SSLError` or `ConnectionError` where it is not let in.
    """
    now = datetime.now(UTC)
    authority = CertificateAuthority.open(folder, "pair.example", now, 86_400)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = authority.sign(key.public_key(), Name("default", "front"), now, 3_600)
    pem = folder / "leaf.txt"
    pem.write_bytes(leaf.public_bytes(serialization.Encoding.PEM) + key_pem(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(pem)
    reader, writer = await asyncio.open_connection(*BACK, ssl=context)
    try:
        writer.write(b"GET /v1/items HTTP/1.1\r\nhost: back\r\n\r\n")
        await writer.drain()
        if not (line := await reader.readline()):
            raise ConnectionResetError("ended before an answer")
        assert b" 200 " in line
    except BaseException:
        writer.transport.abort()
        raise
    return reader, writer


async def trusted(world: World) -> frozenset[str]:
    """The serial numbers of the roots that all proxies of the pair trust; fails where they differ."""
    envoys = RunningEnvoys(AdminAddresses(world.sidecars.admin_template))
    try:
        shown = await envoys.certificates(NODES)
    finally:
        await envoys.aclose()
    [roots] = {shown[node].roots for node in NODES}
    return roots


async def policyd(world: World, *words: str) -> tuple[int | None, str]:
    """The exit code of a verb, and all that it said."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "policyd", *words, "--server", world.api),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "COLUMNS": "400"},
    )
    out, _ = await asyncio.wait_for(process.communicate(), WITHIN_S)
    return process.returncode, " ".join(out.decode().split())
