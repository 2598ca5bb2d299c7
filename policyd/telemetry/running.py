"""What Envoys really run, read from their admin interfaces: routes, the certificates that they show, what drains.

For a controller that has lost its own memory, and for one that has cut somebody off. What a sidecar says of itself
decides nothing: it is shown to a person, who decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx
import orjson
import structlog
from envoy.config.route.v3 import route_pb2
from google.protobuf import json_format

from policyd.compiler.artifact import Artifact
from policyd.compiler.naming import COLLECTOR
from policyd.telemetry.admin import Admins

DEADLINE_S = 3.0
"""How long a sidecar may take to answer; it is asked seldom."""
AT_ONCE = 16

_ROUTES = "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"
_DRAINING = "listener_manager.total_filter_chains_draining"
_EXPORT = rf"^cluster\.{COLLECTOR}\.(upstream_cx_(active|connect_fail)|ssl\.fail_verify_(error|san))$"
_OPAQUE = frozenset({"typed_config", "typed_per_filter_config", "@type"})
"""Parts whose types need not be known here: how filters are configured says nothing about where requests go."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """What one sidecar shows and trusts: its leaf's life, and the serial numbers of its roots (lower-case hex).

    Of several leaves it is the one that ends first.
    """

    leaf_begins: datetime
    leaf_ends: datetime
    roots: frozenset[str]


@dataclass(frozen=True, slots=True)
class SpanExport:
    """How one sidecar gets on with the collector of its spans."""

    connected: bool
    failed: int
    """Connections that did not come about, since it was started."""
    distrusted: int
    """Of these, those whose certificate is not of the roots, or names somebody else."""


class RunningEnvoys:
    """Asks the sidecars whose admin addresses are known; one that does not answer is left out."""

    def __init__(self, addresses: Mapping[str, str]) -> None:
        self._admins = Admins(addresses, DEADLINE_S)
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._log = structlog.get_logger("telemetry")

    async def routes(self, nodes: Sequence[str]) -> Mapping[str, tuple[Artifact, ...]]:
        """The route configurations of each node, as artefacts. Their bytes are not those that were sent."""
        answers = await self._ask(nodes, "/config_dump", {"resource": "dynamic_route_configs"})
        return {node: tuple(read_routes(body)) for node, body in answers.items()}

    async def certificates(self, nodes: Sequence[str]) -> Mapping[str, Certificates]:
        """What each node shows and trusts; nodes without a certificate are left out."""
        answers = await self._ask(nodes, "/certs", {})
        read = {node: read_certificates(body) for node, body in answers.items()}
        return {node: found for node, found in read.items() if found is not None}

    async def draining(self, nodes: Sequence[str]) -> Mapping[str, int]:
        """How many of each node's filter chains are only there for connections that will be ended; by node."""
        answers = await self._ask(nodes, "/stats", {"format": "json", "filter": f"^{_DRAINING}$"})
        return {node: read_draining(body) for node, body in answers.items()}

    async def exports(self, nodes: Sequence[str]) -> Mapping[str, SpanExport]:
        """How each node gets on with its collector; nodes that have none are left out."""
        answers = await self._ask(nodes, "/stats", {"format": "json", "filter": _EXPORT})
        read = {node: read_export(body) for node, body in answers.items()}
        return {node: found for node, found in read.items() if found is not None}

    async def aclose(self) -> None:
        """Close every connection."""
        await self._admins.aclose()

    async def _ask(self, nodes: Sequence[str], path: str, query: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        known = [node for node in nodes if node in self._admins]
        answers = await asyncio.gather(*(self._ask_one(node, path, query) for node in known))
        return {node: answer for node, answer in zip(known, answers, strict=True) if answer is not None}

    async def _ask_one(self, node: str, path: str, query: Mapping[str, str]) -> dict[str, Any] | None:
        try:
            async with self._slots, asyncio.timeout(DEADLINE_S):
                response = await self._admins.client(node).get(path, params=query)
                response.raise_for_status()
            answer = orjson.loads(response.content)
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            self._log.warning("not read from a sidecar", node=node, path=path, error=repr(error))
            return None
        return answer if isinstance(answer, dict) else None


def read_routes(dump: Mapping[str, Any]) -> list[Artifact]:
    """The route configurations in `/config_dump?resource=dynamic_route_configs`; what cannot be read is left out."""
    found = []
    for entry in dump.get("configs", ()):
        config = _known(entry.get("route_config", {}))
        try:
            message = json_format.ParseDict(config, route_pb2.RouteConfiguration(), ignore_unknown_fields=True)
        except json_format.ParseError:
            continue
        found.append(Artifact(_ROUTES, message.name, message.SerializeToString(deterministic=True)))
    return found


def _known(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _known(part) for key, part in value.items() if key not in _OPAQUE}
    return [_known(part) for part in value] if isinstance(value, list) else value


def read_certificates(answer: Mapping[str, Any]) -> Certificates | None:
    """What `/certs` says; `None` where it shows no leaf."""
    pairs = answer.get("certificates", ())
    leaves = sorted(
        (datetime.fromisoformat(leaf["expiration_time"]), datetime.fromisoformat(leaf["valid_from"]))
        for pair in pairs
        for leaf in pair.get("cert_chain", ())
    )
    roots = {str(root["serial_number"]).lower() for pair in pairs for root in pair.get("ca_cert", ())}
    return Certificates(leaves[0][1], leaves[0][0], frozenset(roots)) if leaves else None


def read_draining(answer: Mapping[str, Any]) -> int:
    """The gauge in `/stats?format=json`; an Envoy that never drained anything may not have it."""
    return sum(int(stat["value"]) for stat in answer.get("stats", ()) if stat.get("name") == _DRAINING)


def read_export(answer: Mapping[str, Any]) -> SpanExport | None:
    """The counters in `/stats?format=json`; `None` where there is no collector."""
    prefix = f"cluster.{COLLECTOR}."
    found = {
        str(stat["name"]).removeprefix(prefix): int(stat["value"])
        for stat in answer.get("stats", ())
        if "name" in stat
    }
    if "upstream_cx_active" not in found:
        return None
    distrusted = sum(value for name, value in found.items() if name.startswith("ssl.fail_verify_"))
    return SpanExport(found["upstream_cx_active"] > 0, found.get("upstream_cx_connect_fail", 0), distrusted)
