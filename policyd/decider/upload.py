"""A decision log's way to a service of OPA's kind."""

from __future__ import annotations

import gzip
import time
from collections.abc import Sequence

import httpx


class UploadSink:
    """Posts batches as OPA does: a gzipped JSON array. `url` has been checked against the allowed hosts."""

    def __init__(self, url: str, *, token: str = "", timeout_s: float = 10.0, tries: int = 3) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._url = url
        self._tries = tries
        self._client = httpx.Client(timeout=timeout_s, headers=headers, trust_env=False, follow_redirects=False)

    def write(self, lines: Sequence[bytes]) -> None:
        """Post the lines; tries again a few times, a little later each time. `OSError` where that was in vain."""
        body = gzip.compress(b"[" + b",".join(lines) + b"]", 1)
        for left in range(self._tries - 1, -1, -1):
            try:
                self._client.post(self._url, content=body).raise_for_status()
            except httpx.HTTPError as error:
                if not left:
                    raise OSError(str(error) or type(error).__name__) from error
                time.sleep(0.2 * (self._tries - left))
            else:
                return
