"""Which services have proxies that do not decide by the promoted rules now: asked of the controller, said in answers.

The parent asks once a second and tells the workers; it rides beside the bundle and not in it, since every step of a
release would be another bundle for every OPA. What is not known is not said.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import httpx
import orjson

from policyd.base.clock import Clock

LOOK_S = 1.0
NONE = b"{}"
_LARGEST = 1024 * 1024


async def differing(controller: str, token: str, clock: Clock) -> AsyncIterator[bytes]:
    """`{"namespace/name": {"differ": 3, "of": 12}}` as JSON, each time that it is another; never ends by itself."""
    said = NONE
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(base_url=controller, headers=headers, timeout=5.0, trust_env=False) as client:
        while True:
            now = NONE
            with contextlib.suppress(httpx.HTTPError, ValueError, LookupError, TypeError):
                answer = (await client.get("/v1/differing")).raise_for_status()
                if len(answer.content) <= _LARGEST:
                    now = orjson.dumps(dict(answer.json()["destinations"]))
            if now != said:
                said = now
                yield now
            await clock.sleep(LOOK_S)
