"""The OPA engine: a server by URL, or an `opa` of our own that lives and dies with us.

Rules go in by `PUT /v1/policies`, as they are: `rego_compat=False` keeps the client from rewriting a rule that OPA
refuses. One bundle is loaded at a time; every module's id starts with `policyd/`, and what else the server holds is
left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from opa_client.errors import ConnectionsError, PolicyNotFoundError, RegoParseError
from opa_client.opa_async import AsyncOpaClient

from policyd.base.errors import Retry, Stalled, UsageError
from policyd.guardrails.bundle import Bundle, Module
from policyd.guardrails.engine import AGAIN_S, Json

_PREFIX = "policyd/"
_UNREACHABLE = (aiohttp.ClientConnectionError, ConnectionsError, TimeoutError, OSError)


class OpaEngine:
    """Judges with an OPA server. `deadline_s` bounds one evaluation, loading of rules included.

    `token` is sent as a bearer token. Raises `UsageError` for a URL without scheme or host.
    """

    name = "opa"

    def __init__(self, url: str, *, token: str = "", deadline_s: float = 20.0) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(f"`{url}` is not the address of an OPA", hint="for example `http://127.0.0.1:8181`")
        self._secure = parts.scheme == "https"
        self._host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self._port = parts.port or (443 if self._secure else 80)
        self._token = token
        self._deadline_s = deadline_s
        self._loaded = ""
        self._version = ""
        self._turn = asyncio.Lock()

    @property
    def version(self) -> str:
        """The server's version; empty until it has answered once."""
        return self._version

    async def evaluate(self, bundle: Bundle, document: Json) -> Json:
        """Judge `document`; see `Engine.evaluate`."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._deadline_s), self._client() as client:
                    return await self._judge(client, bundle, document)
            except _UNREACHABLE as error:
                self._loaded = ""
                raise Retry(
                    f"OPA at `{self._host}:{self._port}` gave no answer", after=AGAIN_S, hint=str(error)
                ) from error
            except (aiohttp.ClientResponseError, aiohttp.ClientPayloadError) as error:
                self._loaded = ""
                raise _refusal(error) from error
            except (ValueError, TypeError, AttributeError) as error:  # not JSON, or not in the shape that OPA gives
                self._loaded = ""
                raise Retry(
                    f"`{self._host}:{self._port}` did not answer as an OPA does", after=AGAIN_S, hint=str(error)
                ) from error

    async def close(self) -> None:
        """Nothing is kept open between questions."""
        self._loaded = ""

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[AsyncOpaClient]:
        # `retries=0`: who calls decides whether to ask again, and knows the deadline.
        async with AsyncOpaClient(
            host=self._host,
            port=self._port,
            ssl=self._secure,
            token=self._token or None,
            retries=0,
            timeout=self._deadline_s,
        ) as client:
            yield client

    async def _judge(self, client: AsyncOpaClient, bundle: Bundle, document: Json) -> Json:
        answer = await self._ask(client, document) if self._loaded == bundle.digest else {}
        if answer.get("bundle") != bundle.digest:
            # Never loaded, or not any more: the server was restarted, or somebody else wrote to it.
            await self._load(client, bundle)
            answer = await self._ask(client, document)
        if answer.get("bundle") != bundle.digest or "results" not in answer:
            raise Stalled("OPA gave no answer: a rule is undefined or failed", hint="run `opa test` over the rules")
        results: Json = answer["results"]
        return results

    async def _ask(self, client: AsyncOpaClient, document: Json) -> Json:
        answer = await client.query_rule(
            input_data=dict(document),
            package_path="policyd.entry",
            query_params={"strict-builtin-errors": "true", "provenance": "true"},
        )
        result, provenance = _object(answer).get("result", {}), _object(answer).get("provenance", {})
        self._version = str(_object(provenance).get("version", self._version))
        return _object(result)

    async def _load(self, client: AsyncOpaClient, bundle: Bundle) -> None:
        self._loaded = ""
        await _remove(client, set(await _ours(client)))
        await _put(client, (*bundle.modules, bundle.entry))
        self._loaded = bundle.digest


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise TypeError(f"an object was expected, not {str(value)[:40]!r}")
    return value


async def _ours(client: AsyncOpaClient) -> list[str]:
    names: list[str] = await client.get_policies_list()
    return [name for name in names if name.startswith(_PREFIX)]


async def _remove(client: AsyncOpaClient, names: set[str]) -> None:
    """Delete modules; one that others need goes after them."""
    while names:
        gone = {name for name in sorted(names) if await _accepted(client.delete_policy(name))}
        if not gone:
            raise Stalled(f"OPA keeps the old rules: {', '.join(sorted(names))}", hint="restart it")
        names -= gone


async def _put(client: AsyncOpaClient, modules: Iterable[Module]) -> None:
    """Load modules; one that needs others goes after them. OPA compiles at each step, so order is found by trying."""
    left = list(modules)
    while left:
        refused: list[Module] = []
        reason: Exception | None = None
        for module in left:
            try:
                await client.update_policy_from_string(module.text, _PREFIX + module.path, rego_compat=False)
            except RegoParseError as error:
                refused.append(module)
                reason = reason or error
        if len(refused) == len(left):
            names = ", ".join(f"`{module.path}`" for module in refused)
            raise Stalled(f"OPA refuses {names}: {reason}", hint="run `opa check --strict rego/`")
        left = refused


async def _accepted(deletion: Any) -> bool:
    try:
        await deletion
    except PolicyNotFoundError:
        return True
    except Exception as error:
        if isinstance(error, _UNREACHABLE):
            raise
        return False
    return True


def _refusal(error: aiohttp.ClientResponseError | aiohttp.ClientPayloadError) -> Retry | Stalled:
    status = error.status if isinstance(error, aiohttp.ClientResponseError) else 0
    if status in {401, 403}:
        return Stalled("OPA does not let us in", hint="check the token in the settings")
    if status == 500:
        return Stalled("a rule failed in OPA", hint="run `opa eval --strict-builtin-errors` over the rules")
    return Retry(f"OPA answered {status or 'half'}", after=AGAIN_S)
