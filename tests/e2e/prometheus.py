"""A real Prometheus that scrapes one address, asked over its own HTTP API."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import yaml

from policyd.base.clock import SystemClock
from policyd.demo.world import free_port

SCRAPE = "500ms"


class Prometheus:
    """Where it answers."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    async def value(self, query: str) -> float | None:
        """What a query comes to now; `None` where it finds nothing. Raises `AssertionError` for several series."""
        async with httpx.AsyncClient(base_url=self.base_url, trust_env=False) as api:
            said = (await api.get("/api/v1/query", params={"query": query})).raise_for_status().json()
        found = said["data"]["result"]
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    async def until(self, query: str, expected: float, within_s: float = 20.0) -> None:
        """Return once the query comes to this. Raises `TimeoutError`."""
        async with asyncio.timeout(within_s):
            while await self.value(query) != expected:
                await SystemClock().sleep(0.1)


@contextlib.asynccontextmanager
async def scraping(target: str, folder: Path, binary: Path) -> AsyncIterator[Prometheus]:
    """One that scrapes `target` (host and port), started in `folder`."""
    config = folder / "prometheus.yml"
    job = {"job_name": "policyd", "static_configs": [{"targets": [target]}]}
    config.write_text(
        yaml.safe_dump({"global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE}, "scrape_configs": [job]})
    )
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        binary, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
        f"--web.listen-address=127.0.0.1:{port}", "--log.level=error", stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield await _ready(Prometheus(f"http://127.0.0.1:{port}"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


async def _ready(started: Prometheus) -> Prometheus:
    async with asyncio.timeout(20.0), httpx.AsyncClient(base_url=started.base_url, trust_env=False) as api:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await api.get("/-/ready")).status_code == 200:
                    return started
            await SystemClock().sleep(0.05)
