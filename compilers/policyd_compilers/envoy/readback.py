"""What outbound routes say, read back: the way from artefacts to the splits that they were compiled from.

The inverse of `outbound.virtual_host`, for a controller that has lost its own memory and finds sidecars running.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from envoy.config.route.v3 import route_pb2
from google.protobuf.message import DecodeError

from policyd.compiler.artifact import Artifact
from policyd.compiler.naming import OUTBOUND, parse_cluster_name
from policyd.model.names import Name
from policyd.model.service import WHOLE, HeaderMatch, Split
from policyd_compilers.envoy.proto import ROUTES


def splits(artifacts: Iterable[Artifact]) -> Mapping[Name, Split]:
    """The split of every service that the outbound routes among `artifacts` lead to; other routes say nothing."""
    found: dict[Name, Split] = {}
    for artifact in artifacts:
        if artifact.kind != ROUTES or not artifact.name.startswith(f"{OUTBOUND}/"):
            continue
        try:
            routes: Any = route_pb2.RouteConfiguration.FromString(artifact.body)
        except DecodeError:
            continue
        for host in routes.virtual_hosts:
            named = _split(host)
            if named is not None:
                found[named[0]] = named[1]
    return found


def _split(host: Any) -> tuple[Name, Split] | None:
    """Service and split of a virtual host; `None` for one that leads to no service."""
    by_name = {route.name: route for route in host.routes}
    main = by_name.get("split")
    shares = _shares(main.route) if main is not None else {}
    parsed = [parse_cluster_name(cluster) for cluster in shares]
    known = [one for one in parsed if one is not None]
    if not known or len(known) != len(parsed) or len({service for service, _ in known}) != 1:
        return None
    weights = tuple(sorted((version, weight) for (_, version), weight in zip(known, shares.values(), strict=True)))
    first = by_name.get("first")
    if first is None or len(first.match.headers) != 1:
        return known[0][0], Split(weights)
    header, led = first.match.headers[0], parse_cluster_name(first.route.cluster)
    return known[0][0], Split(weights, HeaderMatch(header.name, header.string_match.exact), led[1] if led else "")


def _shares(action: Any) -> dict[str, int]:
    """Basis points by cluster."""
    if action.cluster:
        return {action.cluster: WHOLE}
    return {each.name: each.weight.value for each in action.weighted_clusters.clusters if each.weight.value}
