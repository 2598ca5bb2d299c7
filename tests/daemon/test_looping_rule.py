"""A team rule that does not end, before a whole controller with an OPA of its own: no verdict, and no standstill."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from policyd.base.clock import SystemClock
from policyd.daemon.build import serve
from policyd.daemon.settings import read_settings
from policyd.demo.client import Controller
from tests.hostile.test_files import MESH, RULE, SERVICE
from tests.source.conftest import Author

LOOPS = """\
package shop.loops

deny contains "it never comes to this" if {
	count([1 | some a in numbers.range(1, 10000); some b in numbers.range(1, 10000); a * b == -1]) > 0
}
"""
SETTINGS = """\
source: {{repository: {repository}}}
state: {state}
xds: 127.0.0.1:0
http: {http}
guardrails: {{engine: opa, opa_binary: {opa}, deadline_s: 3}}
"""


@pytest.fixture
async def controller(author: Author, tmp_path: Path, opa_binary: Path) -> AsyncIterator[Controller]:
    """Follows the author's repository, judges by an OPA that it starts, and gives no rule more than three seconds."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        http = f"127.0.0.1:{probe.getsockname()[1]}"
    settings = tmp_path / "policyd.yaml"
    settings.write_text(
        SETTINGS.format(repository=author.folder, state=tmp_path / "state", http=http, opa=opa_binary)
    )
    stop = asyncio.Event()
    running = asyncio.create_task(serve(read_settings(settings), SystemClock(), stop))
    client = Controller(f"http://{http}", SystemClock(), lambda: running.result() if running.done() else None)
    try:
        yield client
    finally:
        stop.set()
        await client.close()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def taken(commit: str) -> Callable[[dict[str, object]], bool]:
    return lambda status: status["head"] == commit


@pytest.mark.slow
async def test_a_commit_whose_rule_loops_is_neither_taken_nor_refused_and_the_next_one_overtakes_it(
    author: Author, controller: Controller
) -> None:
    good = author.commit("good", mesh=MESH, web=SERVICE + "---\n" + RULE)
    await controller.until("the mesh is live", taken(good), within_s=60)

    author.write("rego/loops.rego", LOOPS)
    loops = author.commit("loops", web=SERVICE + "---\n" + RULE.replace("GET", "GET, POST"))
    status = await controller.until(
        "no verdict",
        lambda s: any(one["about"] == "commit" and "gave no answer" in one["said"] for one in s["troubles"]),
        within_s=60,
    )
    assert (status["head"], status["commit"]["commit"]) == (good, good), "neither taken nor refused"
    web = "spiffe://m.example/ns/default/svc/web"
    assert (await controller.explain(web, "web", "GET", "/"))["allow"]
    assert not (await controller.explain(web, "web", "POST", "/"))["allow"]

    (author.folder / "rego/loops.rego").unlink()
    mended = author.commit("mended")
    status = await controller.until("the newer commit", taken(mended), within_s=60)
    assert mended != loops
    assert [one for one in status["troubles"] if one["about"] == "commit"] == []
