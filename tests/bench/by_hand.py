"""Two Envoys as a person would write them for a start: one route, one cluster, mutual TLS between them or none."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policyd.compiler.protocol import Secrets

_HCM = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
_ROUTER = "envoy.extensions.filters.http.router.v3.Router"
_TLS = "envoy.extensions.transport_sockets.tls.v3"


@dataclass(frozen=True)
class Hop:
    """One Envoy: where it listens, whom it passes everything on to, and whether either side speaks TLS."""

    listen: tuple[str, int]
    upstream: tuple[str, int]
    tls_down: Secrets | None = None
    tls_up: Secrets | None = None

    def start(self, binary: Path, folder: Path, name: str) -> subprocess.Popen[bytes]:
        """Start it, with one worker."""
        config = folder / f"{name}.json"
        config.write_text(json.dumps(self._bootstrap()))
        argv = [str(binary), "-c", str(config), "--disable-hot-restart", "--concurrency", "1", "--log-level", "error"]
        return subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _bootstrap(self) -> dict[str, Any]:
        cluster: dict[str, Any] = {
            "name": "next",
            "type": "STATIC",
            "connect_timeout": "1s",
            "load_assignment": {
                "cluster_name": "next",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(self.upstream)}}]}],
            },
        }
        chain: dict[str, Any] = {"filters": [{"name": "http", "typed_config": _manager()}]}
        if self.tls_up is not None:
            cluster["transport_socket"] = _tls("UpstreamTlsContext", self.tls_up)
        if self.tls_down is not None:
            chain["transport_socket"] = _tls("DownstreamTlsContext", self.tls_down, require_client_certificate=True)
        listener = {"name": "in", "address": _address(self.listen), "filter_chains": [chain]}
        return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(address: tuple[str, int]) -> dict[str, Any]:
    return {"socket_address": {"address": address[0], "port_value": address[1]}}


def _manager() -> dict[str, Any]:
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "next"}}]
    return {
        **_typed(_HCM),
        "stat_prefix": "in",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
        "http_filters": [{"name": "router", "typed_config": _typed(_ROUTER)}],
    }


def _tls(kind: str, secrets: Secrets, **more: Any) -> dict[str, Any]:
    pair = {
        "certificate_chain": {"inline_string": secrets.certificate_chain.decode()},
        "private_key": {"inline_string": secrets.private_key.decode()},
    }
    roots = {"trusted_ca": {"inline_string": secrets.roots.decode()}}
    common = {"tls_certificates": [pair], "validation_context": roots}
    return {"name": "tls", "typed_config": {**_typed(f"{_TLS}.{kind}"), "common_tls_context": common, **more}}


def _typed(name: str) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/{name}"}
