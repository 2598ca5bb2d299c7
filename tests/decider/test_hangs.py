"""A decision server that cannot start, or is told to end meanwhile, says so and ends: it never stands still."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from policyd.api.decide_settings import Decide
from policyd.base.clock import Clock, SystemClock
from policyd.base.errors import Stalled, UsageError
from policyd.decider.choice import check
from policyd.decider.follow import Follower
from policyd.decider.memory import Memory
from policyd.decider.parent import Parent
from policyd.decider.workers import Patience
from policyd.decisions.signature import Verifier
from tests.decider.meshes import READS, shop
from tests.decider.server import SIGNER, publish, serving, wait_for

SHORT = Patience(start_s=20.0, end_s=1.0, again_s=(0.01,))


@contextlib.contextmanager
def silent() -> Iterator[tuple[str, threading.Event]]:
    """A server that accepts and says nothing: its URL, and whether somebody came."""
    came, kept = threading.Event(), []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                kept.append(listener.accept()[0])
                kept[-1].recv(1)
                came.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/mesh.tar.gz", came
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()
            for each in kept:
                each.close()


def test_the_end_comes_while_the_first_bundle_is_being_fetched(tmp_path: Path) -> None:
    with silent() as (url, came), serving(tmp_path, "--workers", "2", source=url, ready=False) as server:
        assert came.wait(30)
        assert server.stop() == 0


def test_the_end_comes_before_the_workers_have_started(tmp_path: Path) -> None:
    with serving(tmp_path, "--workers", "2", ready=False) as server:
        wait_for(lambda: server.process.poll() is None and len(server.workers()) == 2)
        assert server.stop() == 0


@pytest.mark.parametrize("what", ["a pipe", "a folder"])
def test_what_is_no_file_is_said_and_keeps_nobody_from_ending(tmp_path: Path, what: str) -> None:
    path = tmp_path / "mesh.tar.gz"
    os.mkfifo(path) if what == "a pipe" else path.mkdir()
    with serving(tmp_path, ready=False) as server:
        wait_for(lambda: "is no file" in server.said.read_text())
        assert server.stop() == 0


@pytest.mark.parametrize(("log", "words"), [("nowhere/log", "No such file"), ("pipe", "No such device or address")])
def test_a_log_that_cannot_be_written_is_said_at_the_start(tmp_path: Path, log: str, words: str) -> None:
    publish(tmp_path, shop(READS))
    os.mkfifo(tmp_path / "pipe")
    with serving(tmp_path, "--log", log, ready=False) as server:
        assert server.process.wait(60) == 2
        said = " ".join(server.said.read_text().split())
    assert "decision worker 0 did not start" in said
    assert words in said


async def _first_trouble(source: str, token: str = "") -> str:
    """What a follower says first."""
    said: asyncio.Queue[str] = asyncio.Queue()
    following = Follower(
        *(source, Verifier(SIGNER.public_pem), SystemClock()),
        token=token,
        first_s=0.2,
        whole_s=0.3,
        trouble=said.put_nowait,
    )

    async def follow() -> None:
        async for _ in following.bundles():
            raise AssertionError("there is no bundle")

    task = asyncio.create_task(follow())
    try:
        async with asyncio.timeout(30):
            return await said.get()
    finally:
        task.cancel()
        await asyncio.wait([task], timeout=30)
        assert task.cancelled()


async def test_a_server_that_accepts_and_says_nothing_is_said() -> None:
    with silent() as (url, _):
        assert await _first_trouble(url) == f"`{url}`: it did not answer in time"


@contextlib.asynccontextmanager
async def answering(answer: Callable[[asyncio.StreamWriter], object]) -> AsyncIterator[str]:
    """A server that answers every request with whatever `answer` writes: its URL."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            answer(writer)
            await writer.drain()
            await reader.read()  # until the other side has enough
        writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/mesh.tar.gz"


def _drip(writer: asyncio.StreamWriter) -> None:
    """A byte now and then, for as long as somebody takes it."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")

    def go_on() -> None:
        if not writer.is_closing():
            writer.write(b"x")
            asyncio.get_running_loop().call_later(0.05, go_on)

    go_on()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (_drip, "it did not answer in time"),
        (lambda writer: writer.write(b"HTTP/1.1 304 Not Modified\r\n\r\n"), "304 Not Modified"),
        (
            lambda writer: writer.write(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"),
            "302 Found",
        ),
        (lambda writer: writer.write(b"hello\r\n\r\n"), "illegal status line"),
        (lambda writer: writer.write(b"HTTP/1.1 204 No Content\r\n\r\n"), "the bundle is cut off"),
    ],
)
async def test_a_server_that_gives_no_bundle_is_said(
    answer: Callable[[asyncio.StreamWriter], object], words: str
) -> None:
    async with answering(answer) as url:
        assert words in await _first_trouble(url)


@pytest.mark.parametrize("token", ["two words", "a\nb", "grün"])
def test_a_token_that_no_header_holds_is_refused_before_anything_starts(token: str) -> None:
    with pytest.raises(UsageError, match="cannot be sent as a bearer token"):
        check(Decide(token=token))


def _parent(
    folder: Path, program: str, patience: Patience = SHORT, workers: int = 1, clock: Clock | None = None
) -> Parent:
    """A parent whose workers are another program."""
    publish(folder, shop(READS))
    return Parent(
        Decide(listen="127.0.0.1:0", workers=workers),
        str(folder / "mesh.tar.gz"),
        Verifier(SIGNER.public_pem),
        clock or SystemClock(),
        version="0",
        memory=Memory(None, b""),
        worker=(sys.executable, "-c", program),
        patience=patience,
    )


_READY = "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.sendall(bytes([5, 0, 0, 0, 0]));"


async def test_a_worker_that_dies_at_once_is_said(tmp_path: Path) -> None:
    with pytest.raises(Stalled, match="decision worker 0 did not start: it ended with 3"):
        await _parent(tmp_path, "raise SystemExit(3)").run(asyncio.Event())


async def test_a_worker_that_never_listens_and_does_not_want_to_end_is_ended(tmp_path: Path) -> None:
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    with pytest.raises(Stalled, match=r"it did not listen within 0\.5 s"):
        await _parent(tmp_path, program, Patience(start_s=0.5, end_s=0.2)).run(asyncio.Event())


class Waits(SystemClock):
    """Remembers for how long it was waited."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waited.append(seconds)
        await super().sleep(seconds)


async def test_one_that_dies_again_and_again_is_started_again_until_the_end(tmp_path: Path) -> None:
    stop, clock = asyncio.Event(), Waits()
    patience = replace(SHORT, again_s=(0.011, 0.012, 0.013))
    with capture_logs() as logged:
        running = asyncio.create_task(_parent(tmp_path, _READY + "sys.exit(4)", patience, clock=clock).run(stop))
        await asyncio.to_thread(wait_for, lambda: sum(event["event"] == "worker ended" for event in logged) > 3)
        stop.set()
        async with asyncio.timeout(60):
            await running
    assert "it ended with 4" in next(event["why"] for event in logged if event["event"] == "worker ended")
    assert [each for each in clock.waited if each in patience.again_s][:3] == list(patience.again_s)


async def test_a_worker_that_reads_nothing_keeps_nobody_from_ending(tmp_path: Path) -> None:
    stop = asyncio.Event()
    program = _READY + "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    parent = _parent(tmp_path, program, Patience(start_s=20.0, end_s=0.2))
    with capture_logs() as logged:
        running = asyncio.create_task(parent.run(stop))
        await asyncio.to_thread(wait_for, lambda: any(event["event"] == "bundle" for event in logged))
        stop.set()
        async with asyncio.timeout(60):
            await running
