"""Connections to the admin interfaces of Envoys, each opened when it is first asked for."""

from __future__ import annotations

import ssl
from collections.abc import Mapping

import httpx


class Admins:
    """`addresses`: node id -> `http://host:port` or `unix:/path`, read anew each time. `aclose` ends what is open."""

    def __init__(self, addresses: Mapping[str, str], deadline_s: float) -> None:
        self._addresses = addresses
        self._deadline_s = deadline_s
        # Admins speak plain HTTP: one context that trusts nobody, where each client would load all public roots.
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._clients: dict[str, httpx.AsyncClient] = {}

    def __contains__(self, node: object) -> bool:
        return node in self._addresses

    def client(self, node: str) -> httpx.AsyncClient:
        """The connection to one node's admin interface. Raises `KeyError` where its address is not known."""
        address = self._addresses[node]
        if address not in self._clients:
            unix = address.startswith("unix:")
            # trust_env off: a proxy from the environment must never stand between us and a sidecar.
            self._clients[address] = httpx.AsyncClient(
                base_url="http://admin" if unix else address,
                transport=httpx.AsyncHTTPTransport(
                    verify=self._tls, uds=address.removeprefix("unix:") if unix else None
                ),
                timeout=self._deadline_s,
                trust_env=False,
            )
        return self._clients[address]

    async def aclose(self) -> None:
        """Close every connection."""
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.aclose()
