"""What happens to the mesh during a soak: commits, canaries, aborts, refusals and kills, drawn by seeded dice."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx

from policyd.base.clock import Clock
from policyd.demo.acts import all_in_sync
from policyd.demo.client import weight_of
from policyd.demo.world import World
from policyd.model.node import nodes
from tests.soak.mesh import BAD, GOOD, Commits
from tests.soak.traffic import Faults, Traffic

WITHIN_S = 90.0
"""How long anything may take that has to happen; generous, a busy machine is no failure."""
TICK_S = 0.25
Json = dict[str, Any]


class Journal:
    """What was done and when, one JSON object a line: the first thing to read after a failure."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._begun = clock.monotonic()

    def write(self, what: str, **more: object) -> None:
        """Add a line."""
        line = {"at_s": round(self._clock.monotonic() - self._begun, 3), "what": what, **more}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


class Chaos:
    """Does one thing after another to a world."""

    def __init__(self, world: World, traffic: Traffic, faults: Faults, journal: Journal, dice: random.Random) -> None:
        self._world = world
        self._traffic = traffic
        self._faults = faults
        self._journal = journal
        self._dice = dice
        self._clock = faults.clock
        self._commits = Commits(world.repository, dice)
        self.last_kill_at = self._clock.monotonic()
        self.deeds: dict[str, Callable[[], Awaitable[None]]] = {
            "edit": self.edit,
            "canary": self.canary,
            "canary-taken-back": self.canary_taken_back,
            "canary-aborted": self.canary_aborted,
            "bad-canary": self.bad_canary,
            "mistake": self.mistake,
            "kill-proxy": self.kill_proxy,
            "kill-controller": self.kill_controller,
            "kill-both": self.kill_both,
        }

    async def run(self, seconds: float, restful_s: float) -> None:
        """Every deed once, then random ones. For the last `restful_s` no controller is killed."""
        end = self._clock.monotonic() + seconds
        todo = self._dice.sample(sorted(self.deeds), len(self.deeds))
        # The kills of the controller come first: what follows shows one controller's memory over time.
        todo.sort(key=lambda name: name not in {"kill-controller", "kill-both"})
        while (left := end - self._clock.monotonic()) > 0 or todo:
            calm = sorted(self.deeds.keys() - {"kill-controller", "kill-both"})
            name = todo.pop(0) if todo else self._dice.choice(sorted(self.deeds) if left > restful_s else calm)
            self._journal.write("begin", deed=name)
            await self.deeds[name]()
            self._journal.write("end", deed=name)
            await self._clock.sleep(self._dice.uniform(0.0, 0.5))

    async def edit(self) -> None:
        """A timeout or a rule changes, and is everywhere."""
        commit = await asyncio.to_thread(self._dice.choice([self._commits.timeout, self._commits.access]))
        await self._taken(commit)

    async def canary(self) -> None:
        """Another good version climbs until it is promoted, with a commit about something else in between."""
        version = await self._other_version()
        commit = await asyncio.to_thread(self._commits.serve, version)
        await self._taken(commit)
        await self._until(f"{version} has begun", lambda s: weight_of(s, "back", version) > 0)
        if self._dice.random() < 0.5:
            await self._taken(await asyncio.to_thread(self._commits.access))
        await self._until(f"{version} promoted", lambda s: weight_of(s, "back", version) == 100 and settled(s))

    async def canary_taken_back(self) -> None:
        """A canary is taken back by a commit while it climbs."""
        version = await self._other_version()
        before = self._commits.now.version
        await self._taken(await asyncio.to_thread(self._commits.serve, version))
        await self._clock.sleep(self._dice.uniform(0.0, 1.5))
        await self._taken(await asyncio.to_thread(self._commits.serve, before))
        await self._until(f"{before} serves", lambda s: weight_of(s, "back", before) == 100 and settled(s))

    async def canary_aborted(self) -> None:
        """A person aborts a canary; Git then names the version that serves again."""
        version = await self._other_version()
        before = self._commits.now.version
        commit = await asyncio.to_thread(self._commits.serve, version)
        await self._taken(commit)
        async with httpx.AsyncClient(base_url=self._world.api, timeout=WITHIN_S, trust_env=False) as client:
            for release in (await self._world.client.status())["releases"]:
                if release["unit"] == "service" and release["phase"] == "progressing":
                    reply = await client.post(f"/v1/releases/{release['id']}/abort")
                    self._journal.write("abort", release=release["id"], status=reply.status_code)
        self._commits.now.timeout_ms += 1  # other content: what was aborted by hand is not asked for again
        await self._taken(await asyncio.to_thread(self._commits.serve, before))
        await self._until(f"{before} serves", lambda s: weight_of(s, "back", before) == 100 and settled(s))

    async def bad_canary(self) -> None:
        """A version that fails goes back by itself, and Git follows."""
        before = (await self._other_version(), self._commits.now.version)[1]
        commit = await asyncio.to_thread(self._commits.serve, BAD)
        await self._taken(commit)
        await self._until("the bad version went back", lambda s: phase_of(s, commit) == "aborted")
        self._commits.now.timeout_ms += 1
        await self._taken(await asyncio.to_thread(self._commits.serve, before))
        await self._until(f"{before} serves", lambda s: weight_of(s, "back", before) == 100 and settled(s))

    async def mistake(self) -> None:
        """A commit is refused, and what is live stays; the next one is taken."""
        commit = await asyncio.to_thread(self._commits.mistake)
        await self._until("the mistake refused", lambda s: refused(s, commit))
        await self._taken(await asyncio.to_thread(self._commits.again))

    async def kill_proxy(self) -> None:
        """A proxy dies as in a crash and is started again."""
        node = self._dice.choice(list(nodes(self._world.mesh())))
        self._journal.write("kill", node=node.id)
        async with self._faults.down():
            await self._world.sidecars.kill(node.id)
            await self._world.sidecars.start_one(node, self._world.xds)
            await self._traffic.until_whole(WITHIN_S)
            await self._until("all in sync", all_in_sync)
            await self._traffic.until_whole(WITHIN_S)

    async def kill_controller(self) -> None:
        """The controller dies, mid-canary as often as not, and another begins on the same state."""
        if self._dice.random() < 0.5:
            await self._taken(await asyncio.to_thread(self._commits.serve, await self._other_version()))
            await self._clock.sleep(self._dice.uniform(0.0, 1.5))
        await self._kill_controller()
        if self._dice.random() < 0.5:
            await asyncio.to_thread(self._commits.timeout)  # nobody looks
        await self._restart()

    async def kill_both(self) -> None:
        """A proxy dies while there is no controller, and comes back when there is one."""
        await self._kill_controller()
        node = self._dice.choice(list(nodes(self._world.mesh())))
        self._journal.write("kill", node=node.id)
        async with self._faults.down():
            await self._world.sidecars.kill(node.id)
            await self._world.sidecars.start_one(node, self._world.xds)
            await self._restart()
            await self._traffic.until_whole(WITHIN_S)

    async def settle(self) -> Json:
        """Ask for what serves anyway, with content that was never there, and wait until it is everywhere."""
        await self._until("nothing is under way", settled)
        status = await self._world.client.status()
        serving = next(v for v in (*GOOD, BAD) if weight_of(status, "back", v) == 100)
        self._commits.now.version = serving
        self._commits.now.timeout_ms += 1
        commit = await asyncio.to_thread(self._commits.timeout)
        await self._taken(commit)
        return await self._until(
            "everything is everywhere",
            lambda s: s["head"] == commit and settled(s) and all_in_sync(s) and not unhappy(s),
        )

    async def _kill_controller(self) -> None:
        await self._world.kill_controller()
        self._world.client.last = {}  # what it said last is no news of the next one
        self._journal.write("killed the controller")

    async def _restart(self) -> None:
        head = self._world.repository.head
        await self._world.start_controller(tick_s=TICK_S)
        self.last_kill_at = self._clock.monotonic()
        await self._taken(head)
        await self._until("all in sync", all_in_sync)

    async def _other_version(self) -> str:
        """A good version that does not serve, once nothing is under way."""
        status = await self._until("nothing is under way", settled)
        serving = next(v for v in (*GOOD, BAD) if weight_of(status, "back", v) == 100)
        self._commits.now.version = serving
        return next(version for version in GOOD if version != serving)

    async def _taken(self, commit: str) -> None:
        self._journal.write("commit", commit=commit)
        await self._until("the commit taken", lambda s: s["head"] == commit)

    async def _until(self, what: str, so: Callable[[Json], object]) -> Json:
        return await self._world.client.until(what, so, within_s=WITHIN_S)


def settled(status: Json) -> bool:
    """Whether no release is on its way, in either direction."""
    over = {"promoted", "aborted", "superseded"}
    return bool(status["nodes"]) and all(release["phase"] in over for release in status["releases"])


def unhappy(status: Json) -> list[str]:
    """What Git asks for and does not get."""
    return [service["diverged"] for service in status["services"] if service["diverged"]]


def refused(status: Json, commit: str) -> bool:
    """Whether that commit was judged and not taken."""
    judged = status["commit"]
    return bool(judged) and judged["commit"] == commit and not judged["taken"]


def phase_of(status: Json, commit: str) -> str:
    """The phase of the service's release that a commit brought."""
    found = [r for r in status["releases"] if r["commit"] == commit and r["unit"] == "service"]
    return found[-1]["phase"] if found else ""
