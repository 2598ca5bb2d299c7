"""Where requests that came in go: the routes for the hosts of one listener, and a refusal for every other host.

A connection was opened for the hosts of its chain. A request on it for another one is misdirected (421, RFC 9110,
section 15.5.20), also where that other one is meant by a wildcard of this chain and has a listener of its own: what
its listener asks for would be gone round.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from envoy.config.core.v3 import address_pb2, base_pb2
from envoy.config.rbac.v3 import rbac_pb2
from envoy.config.route.v3 import route_components_pb2, route_pb2
from envoy.extensions.filters.http.rbac.v3 import rbac_pb2 as filter_pb2

from policyd.compiler.addresses import Blocks
from policyd.compiler.failover import Ways
from policyd.compiler.naming import EDGE, EDGE_HEADER
from policyd.compiler.rules import ADDRESS_NOT_ALLOWED, MISDIRECTED
from policyd.model.gateway import Entry, Gateway, Listener, covers, overlapping
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.model.route import RouteRule, Target
from policyd.model.service import WHOLE, Service
from policyd.model.ways import Known
from policyd_compilers.envoy import rbac, replies, tokens, tracing
from policyd_compilers.envoy import routes as rule_routes
from policyd_compilers.envoy.proto import boolean, pack, uint32

ADDRESSES = "policyd.addresses"
TOKENS = "policyd.tokens"
"""The filters that act by what routes say: where clients come from, and that a token is the only one."""
HTTPS_PORT = 443


def config_name(gateway: Name, listener: Listener) -> str:
    """The RDS resource of a listener, by its first host: `edge/namespace/name/443/shop.example`, `_.` for `*.`."""
    return f"{EDGE}/{gateway}/{listener.port}/{listener.hosts[0].replace('*', '_')}"


def routes(
    settings: Settings, service: Service, listener: Listener, known: Known, led: Ways, *, believed: bool
) -> Any:
    """The route configuration of one listener. `believed`: whether tokens can be judged at all."""
    gateway = service.gateway
    assert gateway is not None
    if listener.certificate or listener.plaintext:
        found = [
            _guarded(route, gateway, public=entry.public or entry.rule.redirect is not None, believed=believed)
            for entry in gateway.entries
            if overlapping(listener.hosts, entry.rule.match.hosts)
            for route in _of_entry(service, entry, known, led)
        ]
        if gateway.allow_from:
            found.append(_guarded(_nowhere(), gateway, public=False, believed=believed))
        hosts = [_host(EDGE, list(listener.hosts), found)]
    else:
        hosts = [
            _host(f"{EDGE}/{each}", [each], [_to_tls(gateway, each, believed=believed)]) for each in listener.hosts
        ]
    elsewhere = _undemanded(_misdirected(), gateway, believed=believed)
    hosts.append(_host(MISDIRECTED, ["*", *_elsewhere(gateway, listener)], [elsewhere]))
    message = route_pb2.RouteConfiguration(
        name=config_name(service.name, listener), virtual_hosts=hosts, validate_clusters=boolean(False)
    )
    message.request_headers_to_add.append(_header(EDGE_HEADER, "yes"))
    if gateway.hsts_s and listener.certificate:
        message.response_headers_to_add.append(_hsts(gateway.hsts_s))
    if gateway.allow_from:
        message.typed_per_filter_config[ADDRESSES].CopyFrom(pack(_from(gateway.allow_from)))
    if tracing.traced(settings):
        tracing.name_spans(message)
    return message


def _of_entry(service: Service, entry: Entry, known: Known, led: Ways) -> Iterator[Any]:
    """The routes of one entry; where no rule lets the gateway go, a refusal in their place."""
    there = known(entry.to) if entry.to is not None else service
    if there is not None:
        yield from rule_routes.of_rule(there, entry.rule, known, led)
        return
    closed = RouteRule(entry.rule.name, entry.rule.match, (Target(WHOLE, service=entry.to),))
    yield from rule_routes.of_rule(service, closed, lambda _: None, led)


def _guarded(route: Any, gateway: Gateway, *, public: bool, believed: bool) -> Any:
    """The route, for those with a token if one is asked for."""
    if not gateway.issuer:
        return route
    if public:
        return _undemanded(route, gateway, believed=believed)
    route.typed_per_filter_config[TOKENS].CopyFrom(pack(rbac.with_token(gateway.issuer)))
    return route


def _undemanded(route: Any, gateway: Gateway, *, believed: bool) -> Any:
    """The route, for everybody. Nobody has to show a token to be sent elsewhere, least of all in the clear."""
    if gateway.issuer and believed:
        route.typed_per_filter_config[tokens.FILTER].CopyFrom(pack(tokens.not_demanded()))
    return route


def _from(blocks: tuple[str, ...]) -> Any:
    """Clients are known by the address behind the proxies that are trusted."""
    known = Blocks.of(blocks)
    families: list[IPv4Network | IPv6Network] = [*known.v4, *known.v6]
    ranges = [
        address_pb2.CidrRange(address_prefix=str(each.network_address), prefix_len=uint32(each.prefixlen))
        for each in families
    ]
    inside = rbac_pb2.Principal.Set(ids=[rbac_pb2.Principal(remote_ip=each) for each in ranges])
    elsewhere = rbac_pb2.Principal(not_id=rbac_pb2.Principal(or_ids=inside))
    return _denying(ADDRESS_NOT_ALLOWED, rbac_pb2.Permission(any=True), elsewhere)


def _denying(reason: str, permission: Any, principal: Any) -> Any:
    policy = rbac_pb2.Policy(permissions=[permission], principals=[principal])
    rules = rbac_pb2.RBAC(action=rbac_pb2.RBAC.DENY, policies={reason: policy})
    return filter_pb2.RBACPerRoute(rbac=filter_pb2.RBAC(rules=rules))


def _host(name: str, domains: list[str], found: list[Any]) -> Any:
    return route_components_pb2.VirtualHost(name=name, domains=domains, routes=found)


def _to_tls(gateway: Gateway, host: str, *, believed: bool) -> Any:
    """The same over TLS, with the method that it had."""
    secured = gateway.secured(host)
    away = route_components_pb2.RedirectAction(
        https_redirect=True, response_code=route_components_pb2.RedirectAction.PERMANENT_REDIRECT
    )
    if secured is not None and secured.port != HTTPS_PORT:
        away.port_redirect = secured.port
    match = route_components_pb2.RouteMatch(prefix="/")
    route = route_components_pb2.Route(name="rule:https", match=match, redirect=away)
    return _undemanded(route, gateway, believed=believed)


def _elsewhere(gateway: Gateway, listener: Listener) -> list[str]:
    """Hosts of other listeners of the port that a wildcard of this one would take."""
    others = {host for each in gateway.listeners if each.port == listener.port for host in each.hosts}
    taken = {host for host in others - set(listener.hosts) for mine in listener.hosts if covers(mine, host)}
    return sorted(taken)


def _misdirected() -> Any:
    return _answered(MISDIRECTED, 421)


def _nowhere() -> Any:
    """What no entry takes. Without a route nothing would say where clients may come from, and all would be 403."""
    return _answered(replies.NO_ROUTE, 404)


def _answered(name: str, status: int) -> Any:
    return route_components_pb2.Route(
        name=name,
        match=route_components_pb2.RouteMatch(prefix="/"),
        direct_response=route_components_pb2.DirectResponseAction(status=status),
    )


def _hsts(age_s: int) -> Any:
    """Source: RFC 6797, section 6.1."""
    return _header("strict-transport-security", f"max-age={age_s}")


def _header(name: str, value: str) -> Any:
    return base_pb2.HeaderValueOption(
        header=base_pb2.HeaderValue(key=name, value=value),
        append_action=base_pb2.HeaderValueOption.OVERWRITE_IF_EXISTS_OR_ADD,
    )
