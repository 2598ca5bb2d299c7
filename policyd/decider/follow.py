"""Follows a signed bundle: a file, or a URL asked with the ETag of what is known.

What cannot be fetched, or does not verify, changes nothing: the workers go on with what they have.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx

from policyd.base.clock import Clock
from policyd.decisions.bundle import LARGEST, BundleError, Unpacked, unpack
from policyd.decisions.document import DocumentError
from policyd.decisions.signature import SignatureError, Verifier

PATIENCE_S = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Before another attempt, the longer the more have failed."""
LONG_POLL_S = 30
SOON_S = 1.0
"""A server that says it waits, and answers sooner than that with nothing new, does not wait."""


class Follower:
    """Follows `source`, a URL or a path. `trouble` is told what is wrong now, and an empty string once it is over."""

    def __init__(
        self,
        source: str,
        verifier: Verifier,
        clock: Clock,
        *,
        token: str = "",
        poll_s: float = 5.0,
        trouble: Callable[[str], None] = lambda said: None,
    ) -> None:
        self._source = source
        self._verifier = verifier
        self._clock = clock
        self._token = token
        self._poll_s = poll_s
        self._trouble = trouble
        self._etag = ""
        self._failed = 0

    async def bundles(self) -> AsyncIterator[Unpacked]:
        """Every bundle that verifies, from the one that is there now on; never ends by itself."""
        remote = self._source.startswith(("http://", "https://"))
        async for body in self._remote() if remote else self._local():
            try:
                found = await asyncio.to_thread(unpack, body, self._verifier)
            except (SignatureError, BundleError, DocumentError) as error:
                self._trouble(str(error))
                if self._etag:  # what was damaged on its way may arrive whole under the same name
                    self._etag = ""
                    await self._clock.sleep(self._poll_s)
                continue
            self._trouble("")
            yield found

    async def _local(self) -> AsyncIterator[bytes]:
        known: tuple[int, int, int] | None = None
        path = Path(self._source)
        while True:
            try:
                about = await asyncio.to_thread(path.stat)
                now = (about.st_ino, about.st_mtime_ns, about.st_size)
                if now != known:
                    body = await asyncio.to_thread(path.read_bytes)
                    known = now
                    yield body
            except OSError as error:
                self._trouble(f"`{path}` cannot be read: {error.strerror}")
            await self._clock.sleep(min(self._poll_s, 0.5))

    async def _remote(self) -> AsyncIterator[bytes]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        timeout = httpx.Timeout(LONG_POLL_S + 15.0, connect=5.0)
        async with httpx.AsyncClient(headers=headers, timeout=timeout, trust_env=False) as client:
            while True:
                since = self._clock.monotonic()
                try:
                    body, waits = await self._ask(client)
                except (httpx.HTTPError, BundleError) as error:
                    self._trouble(f"`{self._source}`: {str(error) or type(error).__name__}")
                    await self._clock.sleep(PATIENCE_S[min(self._failed, len(PATIENCE_S) - 1)])
                    self._failed += 1
                    continue
                self._failed = 0
                if body is not None:
                    yield body
                elif not waits or self._clock.monotonic() - since < SOON_S:
                    await self._clock.sleep(self._poll_s)

    async def _ask(self, client: httpx.AsyncClient) -> tuple[bytes | None, bool]:
        """The bundle where it is another one than before, and whether the server waits for the next one by itself."""
        headers = {"Prefer": f"modes=snapshot;wait={LONG_POLL_S}"}
        if self._etag:
            headers["If-None-Match"] = self._etag
        async with client.stream("GET", self._source, headers=headers) as response:
            waits = response.headers.get("Content-Type") == "application/vnd.openpolicyagent.bundles"
            if response.status_code == httpx.codes.NOT_MODIFIED:
                return None, waits
            response.raise_for_status()
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > LARGEST:
                    raise BundleError("the bundle is too large")
            self._etag = response.headers.get("ETag", "")
            return bytes(body), waits
