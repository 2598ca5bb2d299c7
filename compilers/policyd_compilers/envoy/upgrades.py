"""Upgrades to other protocols: offered by a service's own routes, at the callee and at every caller, or refused.

An upgraded connection lasts as long as both ends like, so the bound of a call does not hold for it; the bound of
silence does.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from envoy.config.route.v3 import route_components_pb2
from envoy.type.matcher.v3 import string_pb2

from policyd.model.service import Service
from policyd_compilers.envoy.proto import boolean


def routes(service: Service, request_ms: int) -> Iterator[tuple[Any, list[Any], int]]:
    """What the routes of `service` match, the upgrades that they offer, and how long a call may take."""
    for protocol in service.upgrades:
        match = route_components_pb2.RouteMatch(prefix="/")
        wanted = string_pb2.StringMatcher(exact=protocol, ignore_case=True)
        match.headers.append(route_components_pb2.HeaderMatcher(name="upgrade", string_match=wanted))
        offered = route_components_pb2.RouteAction.UpgradeConfig(upgrade_type=protocol, enabled=boolean(True))
        yield match, [offered], 0
    yield route_components_pb2.RouteMatch(prefix="/"), [], request_ms
