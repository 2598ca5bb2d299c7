"""The public keys of token issuers: fetched from allow-listed hosts, kept when those do not answer.

    settings (which hosts) + mesh (which URLs) -> KeySets -> keys by URL -> what proxies are given
    settings (which hosts, and the provider of our own callers) -> fetch_key_set -> `api.oidc`

Nothing opens by failing: without keys no token of an issuer is valid. With an old set his tokens stay valid until he
answers again, since he may be away for a day; one that he has taken back is taken out with the next answer. Redirects
are not followed, so that a host that is allowed cannot name one that is not.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import orjson
import structlog

from policyd.base.clock import Clock
from policyd.base.files import write_whole
from policyd.model.tokens import KeySetError, key_set

FRESH_S = 300.0
"""How long a set is taken as it is: after a rotation, old keys are good and new ones bad for no longer than this."""
AGAIN_S = 15.0
"""When a host that did not answer is asked again."""
LONGEST = 256 * 1024
"""Bytes of an answer; real sets have some thousand."""
DEADLINE_S = 5.0

_LOG = structlog.get_logger("keys")


@dataclass(frozen=True, slots=True)
class Fetching:
    """What the settings allow: hosts (`login.example`, or with a port), and whose certificates to trust (PEM)."""

    hosts: frozenset[str] = frozenset()
    authorities: Path | None = None


def check_url(url: str, fetching: Fetching) -> None:
    """Raise `KeySetError` where keys may not be fetched from there."""
    try:
        parts, _ = urlsplit(url), httpx.URL(url).host
    except (httpx.InvalidURL, ValueError) as error:
        raise KeySetError(f"it is not a URL: {error}") from error
    if parts.scheme != "https":
        raise KeySetError("keys are fetched over `https` only")
    if not fetching.hosts & {parts.hostname or "", parts.netloc}:
        raise KeySetError(f"host `{parts.netloc}` is not among `fetch.hosts` of the settings")


async def fetch_key_set(url: str, fetching: Fetching) -> str:
    """The public keys at `url`, in their shortest form. Raises `KeySetError`, `httpx.HTTPError` or `OSError`."""
    check_url(url, fetching)
    try:
        return key_set((await _body(url, fetching)).decode(errors="replace"))
    except (TimeoutError, httpx.TimeoutException) as error:
        raise KeySetError(f"no whole answer within {DEADLINE_S:.0f} s") from error


async def _body(url: str, fetching: Fetching) -> bytes:
    context = ssl.create_default_context(cafile=fetching.authorities)
    # trust_env off: neither a proxy nor a netrc from the environment takes part.
    # The deadline is the host's: what we do before we ask, on a busy machine, is not his delay.
    async with (
        httpx.AsyncClient(verify=context, timeout=DEADLINE_S, trust_env=False, follow_redirects=False) as client,
        asyncio.timeout(DEADLINE_S),
        client.stream("GET", url, headers={"accept": "application/json"}) as answer,
    ):
        if answer.status_code != httpx.codes.OK:
            raise KeySetError(f"the answer is {answer.status_code}")
        body = bytearray()
        async for chunk in answer.aiter_bytes():
            body += chunk
            if len(body) > LONGEST:
                raise KeySetError(f"the answer is longer than {LONGEST} bytes")
    return bytes(body)


class KeySets:
    """Keys by URL. `path` is a file that outlives the process: a restart must not close what worked before."""

    def __init__(self, path: Path, fetching: Fetching, clock: Clock) -> None:
        self._path = path
        self._fetching = fetching
        self._clock = clock
        self._keys = _recalled(path)
        self._due: dict[str, float] = {}
        self._wrong: dict[str, str] = {}

    @property
    def keys(self) -> Mapping[str, str]:
        """The newest set of each URL that ever answered; not to be changed."""
        return self._keys

    @property
    def trouble(self) -> str:
        """What is wrong with any of the URLs that are asked for; empty if all is well."""
        return "; ".join(self._wrong[url] for url in sorted(self._wrong))

    async def refresh(self, urls: Collection[str]) -> bool:
        """Ask those of `urls` that are due, forget all others; returns whether any set has changed."""
        for gone in (self._keys.keys() | self._due.keys() | self._wrong.keys()) - set(urls):
            self._due.pop(gone, None)
            self._wrong.pop(gone, None)
        now = self._clock.monotonic()
        due = sorted(url for url in urls if now >= self._due.get(url, now))
        changed = any(await asyncio.gather(*map(self._ask, due)))
        if changed:
            self._keep()
        return changed

    async def _ask(self, url: str) -> bool:
        try:
            found = await fetch_key_set(url, self._fetching)
        except (httpx.HTTPError, KeySetError, OSError) as error:
            words = str(error) or type(error).__name__
            self._wrong[url] = f"keys of `{url}` are not to be had: {words}"
            if url not in self._keys:
                self._wrong[url] += "; until then no token of that issuer is valid"
            self._due[url] = self._clock.monotonic() + AGAIN_S
            _LOG.warning("keys not fetched", url=url, error=words)
            return False
        self._wrong.pop(url, None)
        self._due[url] = self._clock.monotonic() + FRESH_S
        if self._keys.get(url) == found:
            return False
        self._keys = {**self._keys, url: found}
        _LOG.info("keys fetched", url=url)
        return True

    def _keep(self) -> None:
        try:
            write_whole(self._path, orjson.dumps(self._keys))
        except OSError as error:
            _LOG.warning("keys not kept", file=str(self._path), error=str(error))


def _recalled(path: Path) -> dict[str, str]:
    """What was kept; nothing where it is damaged, since it can be asked for again."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        said = orjson.loads(path.read_bytes())
        return {str(url): key_set(text) for url, text in said.items()}
    return {}
