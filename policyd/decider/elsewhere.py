"""Other servers that answer for this one: the question goes there as it came, the answer comes back.

An OPA, for paths which are not ours; the controller's HTTP API, for other rules than the promoted ones (`?at=`).
"""

from __future__ import annotations

import re

import httpx

from policyd.decider.exchange import Exchange, error_body

_LARGEST = 16 * 1024 * 1024
_UPWARDS = re.compile(rb"(?i)(?:^|/|%2f|\\|%5c)(?:\.|%2e){1,2}(?:$|/|%2f|\\|%5c)")
"""A segment that clients and servers resolve: `/v1/data/../query` is another API, which runs what it is sent."""


class Other:
    """`name` for people, by its URL. Who calls is told it only where it asks for the same callers (`authorized`)."""

    def __init__(self, name: str, url: str, *, authorized: bool = False, timeout_s: float = 5.0) -> None:
        self._name = name
        self._authorized = authorized
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=timeout_s,
            trust_env=False,
            follow_redirects=False,
            limits=httpx.Limits(max_connections=64),
        )

    async def ask(self, exchange: Exchange) -> tuple[int, bytes, bytes]:
        """Its status, content type and body; 502 where it gives none, 400 for a path that could lead elsewhere."""
        if _UPWARDS.search(exchange.target.partition(b"?")[0]):
            words = "a path with a segment `.` or `..` is not passed on"
            return 400, b"application/json", error_body("invalid_parameter", words)
        headers = {b"Content-Type": b"application/json"}
        if exchange.encoding:
            headers[b"Content-Encoding"] = exchange.encoding
        if self._authorized and exchange.authorization:
            headers[b"Authorization"] = exchange.authorization
        try:
            # The target has been read as one path and one query already; it is no URL that could name another host.
            target = httpx.URL(raw_path=exchange.target)
            answer = await self._client.request(
                exchange.method.decode(), target, content=exchange.body, headers=headers
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            words = f"{self._name} gave no answer: {str(error) or type(error).__name__}"
            return 502, b"application/json", error_body("internal_error", words)
        return answer.status_code, answer.headers.get("Content-Type", "").encode(), answer.content[:_LARGEST]

    async def close(self) -> None:
        """Let go of its connections."""
        await self._client.aclose()
