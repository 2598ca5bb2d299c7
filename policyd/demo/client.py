"""The controller as a user sees it: its HTTP API, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from policyd.base.clock import Clock
from policyd.base.errors import Stalled

Json = dict[str, Any]

LOOK_S = 0.25
"""Seconds between two looks at the status."""


class Controller:
    """Asks one controller for its status until something is so."""

    def __init__(self, url: str, clock: Clock, check: Callable[[], None] = lambda: None) -> None:
        """`check` raises when waiting has become pointless, because something that is needed has ended."""
        self._clock = clock
        self._check = check
        self._client = httpx.AsyncClient(base_url=url, timeout=5.0, trust_env=False)
        self.last: Json = {}

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.aclose()

    async def status(self) -> Json:
        """`GET /v1/status`; the last known one while the controller does not answer."""
        try:
            self.last = (await self._client.get("/v1/status")).json()
        except httpx.TransportError:
            return self.last
        return self.last

    def forget(self) -> None:
        """What was known is of a controller that has ended."""
        self.last = {}

    async def explain(self, source: str, service: str, method: str, path: str) -> Json:
        """`POST /v1/explain`."""
        question = {"source": {"spiffe": source}, "destination": {"service": service}, "method": method, "path": path}
        answer: Json = (await self._client.post("/v1/explain", json={"input": question})).json()
        return answer

    async def service_map(self) -> Json:
        """`GET /v1/map`."""
        found: Json = (await self._client.get("/v1/map")).json()
        return found

    async def until(
        self,
        what: str,
        so: Callable[[Json], object],
        *,
        within_s: float,
        look: Callable[[Json], None] = lambda _: None,
    ) -> Json:
        """The first status for which `so` holds; every status is handed to `look`.

        Raises `Stalled` naming `what` was waited for when `within_s` seconds are over.
        """
        end = self._clock.monotonic() + within_s
        while True:
            self._check()
            status = await self.status()
            if status:
                look(status)
                if so(status):
                    return status
            if self._clock.monotonic() > end:
                raise Stalled(f"after {within_s:.0f} s there is still not: {what}", hint=_where_it_stands(status))
            await self._clock.sleep(LOOK_S)


def release_of(status: Json, service: str, commit: str) -> Json | None:
    """The newest release of a service's version that a commit brought."""
    found = [
        release
        for release in status.get("releases", [])
        if release["unit"] == "service" and release["name"].endswith(f"/{service}") and release["commit"] == commit
    ]
    return found[-1] if found else None


def weight_of(status: Json, service: str, version: str) -> float:
    """Per cent of a service's requests that a version gets now."""
    for item in status.get("services", []):
        if item["service"].endswith(f"/{service}"):
            return float(sum(v["weight"] for v in item["versions"] if v["version"] == version)) / 100
    return 0.0


def _where_it_stands(status: Json) -> str:
    if not status:
        return "the controller does not answer"
    if troubles := status.get("troubles"):
        return "; ".join(trouble["said"] for trouble in troubles)
    moving = [f"{r['title']}: {r['phase']}, {r['reason']}" for r in status.get("releases", [])[-3:]]
    return "; ".join(moving) or "no release has begun"
