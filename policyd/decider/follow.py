"""Follows a signed bundle: a file, or a URL asked with the ETag of what is known.

What cannot be fetched, or does not verify, changes nothing: the workers go on with what they have.
"""

from __future__ import annotations

import asyncio
import stat
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
FIRST_S = 10.0
"""How long a server may be silent that has nothing to wait for, since we have no bundle yet."""
WHOLE_S = 120.0
"""How long a bundle may take to arrive."""
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
        first_s: float = FIRST_S,
        whole_s: float = WHOLE_S,
        trouble: Callable[[str], None] = lambda said: None,
    ) -> None:
        self._source = source
        self._verifier = verifier
        self._clock = clock
        self._token = token
        self._poll_s = poll_s
        self._first_s = first_s
        self._whole_s = whole_s
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
                if not stat.S_ISREG(about.st_mode):  # a pipe would keep whoever opens it, even from ending
                    self._trouble(f"`{path}` is no file")
                elif about.st_size > LARGEST:
                    self._trouble(f"`{path}` is too large for a bundle")
                elif now != known:
                    body = await asyncio.to_thread(path.read_bytes)
                    known = now
                    yield body
            except OSError as error:
                self._trouble(f"`{path}` cannot be read: {error.strerror}")
            await self._clock.sleep(min(self._poll_s, 0.5))

    async def _remote(self) -> AsyncIterator[bytes]:
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        async with httpx.AsyncClient(headers=headers, trust_env=False) as client:
            while True:
                since = self._clock.monotonic()
                try:
                    body, waits = await self._ask(client)
                except (httpx.HTTPError, BundleError, TimeoutError) as error:
                    self._trouble(f"`{self._source}`: {_words(error)}")
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
        silent_s = LONG_POLL_S + 15.0 if self._etag else self._first_s
        timeout = httpx.Timeout(silent_s, connect=min(5.0, silent_s))
        async with (
            asyncio.timeout(silent_s + self._whole_s),
            client.stream("GET", self._source, headers=headers, timeout=timeout) as response,
        ):
            waits = response.headers.get("Content-Type") == "application/vnd.openpolicyagent.bundles"
            if response.status_code == httpx.codes.NOT_MODIFIED and self._etag:
                return None, waits
            response.raise_for_status()
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > LARGEST:
                    raise BundleError("the bundle is too large")
            self._etag = response.headers.get("ETag", "")
            return bytes(body), waits


def _words(error: Exception) -> str:
    """What a person is told; errors about time have no words of their own."""
    if isinstance(error, httpx.ConnectTimeout):
        return "nobody answers there"
    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return "it did not answer in time"
    return str(error) or type(error).__name__
