"""Plays the acts one after another, keeps the screen up to date, and writes the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rich.text import Text

from policyd.base.clock import Clock
from policyd.base.errors import PolicydError
from policyd.demo.acts import ACTS, BAD, FAILING, Act, Story
from policyd.demo.client import Json
from policyd.demo.load import Load, Stream, Tally
from policyd.demo.screen import Picture, Row, Screen
from policyd.demo.world import Calls, World

STREAMS = (
    Stream("GET", "http://catalog/v1/products", 90.0),
    Stream("GET", "http://recommendations/v1/recommendations", 20.0),
    Stream("POST", "http://checkout/v1/orders", 40.0),
)
"""What web's application calls."""
CALLS: Calls = {
    "recommendations": (("GET", "http://catalog/v1/products"),),
    "checkout": (("POST", "http://payments/v1/charges"),),
    "orders": (("POST", "http://shipping/v1/shipments"),),
}
"""What the other applications call before they answer."""
_LINGER_S = 1.0
"""Traffic after an act's end still belongs to it: a mistake shows when the next requests come."""


@dataclass(frozen=True, slots=True)
class Played:
    """One act as it ended; what the report says of it."""

    name: str
    ok: bool
    requests: int
    lost: int
    seconds: float
    what_happened: str


class Show:
    """One performance in one world."""

    def __init__(self, world: World, screen: Screen, clock: Clock, acts: Sequence[Act] = ACTS) -> None:
        self._world = world
        self._screen = screen
        self._clock = clock
        self._acts = acts
        self._load: Load | None = None
        self._title = ""
        self._played: list[Played] = []

    async def play(self, *, keep: bool) -> tuple[Played, ...]:
        """Set the world up and play every act; after one that fails, the rest is not played."""
        await self._world.start_apps(CALLS, {BAD: FAILING})
        await self._world.start_controller()
        story = Story(self._world, self._draw, self._clock, self._open_doors)
        try:
            for act in self._acts:
                self._played.append(await self._play(act, story))
                if not self._played[-1].ok:
                    break
            if keep:
                await self._stay()
        finally:
            if self._load is not None:
                await self._load.stop()
        return self.played

    @property
    def played(self) -> tuple[Played, ...]:
        """The acts that are over."""
        return tuple(self._played)

    @property
    def complete(self) -> bool:
        """Whether every act was played and ended as it should."""
        return len(self._played) == len(self._acts) and all(act.ok for act in self._played)

    @property
    def tally(self) -> Tally:
        """All requests so far, and what became of them."""
        return self._load.tally if self._load is not None else Tally()

    async def _play(self, act: Act, story: Story) -> Played:
        self._title = act.title
        began, before = self._clock.monotonic(), self.tally.copy()
        try:
            what, ok = await act.play(story), True
            await self._clock.sleep(_LINGER_S)
        except PolicydError as error:
            what, ok = f"{error}{f' ({error.hint})' if error.hint else ''}", False
        lost = self.tally.lost - before.lost
        took = self._clock.monotonic() - began
        played = Played(act.name, ok and not lost, self.tally.requests - before.requests, lost, round(took, 1), what)
        self._screen.say(_line(played, act.title))
        return played

    async def _stay(self) -> None:
        self._title = "still running; Ctrl-C ends it"
        self._screen.say(
            Text.assemble(
                ("\n  to look around:  ", "dim"), f"policyd status --server {self._world.api}",
                ("\n  the repository:  ", "dim"), str(self._world.repository.path),
                ("\n  to call as web:  ", "dim"), f"curl -x {self._world.proxy('web')} http://catalog/v1/products\n",
            )
        )  # fmt: skip
        while True:
            self._draw(await self._world.client.status())
            await self._clock.sleep(0.5)

    async def _open_doors(self) -> None:
        """Proxies in sync still check the health of what they call: customers come when the doors are open."""
        await self._world.until_healthy(within_s=30.0)
        load = Load(self._world.proxy("web"), STREAMS, self._clock)
        await load.until_answered(within_s=30.0)
        self._load = load
        load.start()

    def _draw(self, status: Json) -> None:
        nodes = status.get("nodes", [])
        ready = sum(1 for node in nodes if node["connected"] and node["in_sync"])
        self._screen.show(
            Picture(
                act=self._title,
                rows=rows(status),
                evidence=evidence(status),
                requests=self.tally.requests,
                lost=self.tally.lost,
                proxies=f"{ready} of {len(nodes)} in sync",
            )
        )


def rows(status: Json) -> tuple[Row, ...]:
    """The table: every version that gets requests or takes part in a release."""
    found: list[Row] = []
    moving = {r["name"]: r for r in status.get("releases", []) if r["unit"] == "service" and r["phase"] in _MOVING}
    for item in status.get("services", []):
        release = moving.get(item["service"])
        for version in item["versions"]:
            taking_part = release is not None and version["version"] in release["weights"]
            if not version["weight"] and not taking_part:
                continue
            found.append(
                Row(
                    service=item["service"].removeprefix("default/"),
                    version=version["version"],
                    weight=version["weight"] / 100,
                    rate=version["requests_per_s"],
                    errors=100 * version["error_share"],
                    p99_ms=version["p99_ms"],
                    verdict=_verdict(release, item, version["version"]),
                    in_flight=taking_part,
                )
            )
    return tuple(found)


_MOVING = frozenset({"progressing", "paused", "promoting", "aborting"})


def _verdict(release: Json | None, item: Json, version: str) -> str:
    if release is not None and version == item["asked"]:
        return f"{release['verdict']}: {release['reason']}"
    if item["diverged"] and version != item["asked"]:
        return f"quarantine: Git asks for {item['asked']}"
    return ""


def evidence(status: Json) -> str:
    """What the sequential test has seen of the release that is watched now."""
    for release in status.get("releases", []):
        found = release["evidence"]
        if release["phase"] in _MOVING and found["canary_requests"]:
            return (
                f"{release['title']}, {release['stage_text']}: {found['canary_errors']}/{found['canary_requests']}"
                f" failed, stable {found['stable_errors']}/{found['stable_requests']},"
                f" e-value {found['e_value']:.3g} (abort at {found['e_limit']:.0f})"
            )
    return ""


def report(played: Sequence[Played], lost: int) -> Json:
    """The whole performance as one JSON object; `lost` counts between the acts as well."""
    return {"acts": [asdict(act) for act in played], "lost": lost}


def _line(played: Played, title: str) -> Text:
    mark = ("  ✓ ", "bold green") if played.ok else ("  ✗ ", "bold red")
    numbers = f"  {played.seconds:.0f} s, {played.requests:,} requests, {played.lost} lost"
    return Text.assemble(mark, (title, "bold"), (numbers, "dim"), f"\n    {played.what_happened}")
