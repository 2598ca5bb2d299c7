"""`policyd doctor mesh` over real Envoys: all well, then one that refuses what it is given and one that is gone."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from policyd.base.clock import SystemClock
from policyd.demo.acts import taken
from policyd.demo.world import World
from tests.e2e.conftest import BACK, FRONT, MESH, running

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CALLER, OLD, NEW = "default/front/v1/127.0.7.11", "default/back/v1/127.0.7.21", "default/back/v2/127.0.7.22"
FILES = {"mesh": MESH.replace("LEAF", "24h"), "services/front": FRONT, "services/back": BACK}


async def test_one_that_refuses_and_one_that_is_gone_are_told_from_one_that_is_well(
    short_folder: Path, envoy_binary: Path
) -> None:
    async with running(short_folder, FILES, envoy_binary) as world:
        found = await examined(world, lambda code, _: code == 0)
        assert [proxy["node"] for proxy in found["proxies"]] == [OLD, NEW, CALLER]
        for proxy in found["proxies"]:
            assert proxy["program"].startswith("envoy 1.")
            assert proxy["acknowledged"] == proxy["should_run"] != ""
            assert (proxy["behind"], proxy["refused"]) == ([], None)
            assert 0.9 * 86_400 < proxy["certificate"]["left_s"] < 86_400
            assert proxy["stats_age_s"] < 10.0

        await world.sidecars.kill(CALLER)
        await world.sidecars.kill(OLD)
        await world.client.until("both gone", lambda s: sum(n["connected"] for n in s["nodes"]) == 1, within_s=30)
        with taken("127.0.7.21", 15_006):
            await world.start_sidecar(OLD)
            refuses = await examined(
                world,
                lambda _, said: (
                    said[OLD]["refused"] is not None
                    and said[CALLER]["problems"][1:] != []
                    and said[OLD]["stats_age_s"] < 5.0
                ),
            )
        old, new, gone = refuses["proxies"]
        assert not refuses["well"]
        assert new["problems"] == []
        assert old["refused"]["stands"]
        assert (old["refused"]["kind"], old["refused"]["resources"]) == ("Listener", ["inbound"])
        assert "cannot bind '127.0.7.21:15006': Address already in use" in old["refused"]["said"]
        assert (old["connected"], old["in_sync"]) == (True, False)
        assert "Listener inbound" in old["behind"]
        assert old["problems"][0].startswith("refused Listener `inbound`: ")
        # A listener that it does not have asks for no certificate.
        assert old["problems"][1:] == ["its certificate could not be read from its admin interface"]
        assert (gone["connected"], gone["certificate"]) == (False, None)
        assert gone["problems"][0].startswith("not connected since 20")
        assert gone["problems"][1].startswith("its statistics have not come for ")


async def examined(world: World, so: Any, within_s: float = 30.0) -> dict[str, Any]:
    """What the doctor says as soon as `so` holds of its exit code and the proxies by their ids."""
    command = (sys.executable, "-m", "policyd", "doctor", "mesh", "--server", world.api, "-o", "json")
    found: dict[str, Any] = {}
    try:
        async with asyncio.timeout(within_s):
            while True:
                child = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
                said, _ = await child.communicate()
                found = json.loads(said)
                assert child.returncode == int(not found["well"])
                if so(child.returncode, {proxy["node"]: proxy for proxy in found["proxies"]}):
                    return found
                await SystemClock().sleep(0.2)
    except TimeoutError:
        pytest.fail(f"the doctor still says {found}")
