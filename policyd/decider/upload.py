"""A decision log's way to a service of OPA's kind."""

from __future__ import annotations

import gzip
from collections.abc import Sequence

import httpx

from policyd.decider.sinks import Away

NOT_TAKEN = frozenset({400, 413, 422})
"""What a service says of a batch that it would not take later either; everything else is said of the service."""
READ_BYTES = 64 * 1024
"""So much of an answer is read, that the connection can be used again; nobody needs to know what it says."""


class UploadSink:
    """Posts batches as OPA does: a gzipped JSON array. `url` has been checked against the allowed hosts."""

    def __init__(self, url: str, *, token: str = "", timeout_s: float = 10.0) -> None:
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        if token:
            headers["Authorization"] = f"Bearer {token}"
        self._url = url
        self._client = httpx.Client(timeout=timeout_s, headers=headers, trust_env=False, follow_redirects=False)

    def write(self, lines: Sequence[bytes]) -> None:
        """Post the lines. `Away` where the service is, `OSError` where it does not want these."""
        body = gzip.compress(b"[" + b",".join(lines) + b"]", 1)
        try:
            with self._client.stream("POST", self._url, content=body) as answer:
                if answer.status_code in NOT_TAKEN:
                    raise OSError(f"the log service says {answer.status_code} to a batch")
                answer.raise_for_status()
                next(answer.iter_raw(READ_BYTES), b"")
        except httpx.HTTPError as error:
            raise Away(str(error) or type(error).__name__) from error

    def close(self) -> None:
        """End the connection."""
        self._client.close()
