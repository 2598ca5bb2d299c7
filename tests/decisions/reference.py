"""The order of decision read word for word, as slowly as it is written: what the index is compared with."""

from __future__ import annotations

import ipaddress
import string
from datetime import datetime
from typing import NamedTuple

from policyd.decisions import Cause, Request, TokenState, Would
from policyd.model.access import ANY_METHOD, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh
from policyd.model.methods import CONNECTION, METHODS
from policyd.model.names import Name, spiffe_id
from policyd.model.paths import is_canonical_path
from policyd.model.service import Protocol, Service


class Expected(NamedTuple):
    """What every engine has to say."""

    cause: Cause
    rule: Name | None = None
    would: Would | None = None


def expected(mesh: Mesh, request: Request, at: datetime) -> Expected:
    """The decision about a request with a sound host."""
    service = mesh.services.get(request.destination)
    path = request.path.split("?")[0]
    if not is_workload(request.source):
        return Expected(Cause.MALFORMED)
    if service is not None and service.protocol is Protocol.TCP:
        if (request.method, request.path) != (CONNECTION, ""):
            return Expected(Cause.NOT_CANONICAL)
    elif request.method not in METHODS or (
        not (service is not None and service.opaque_paths) and not is_canonical_path(path)
    ):
        return Expected(Cause.NOT_CANONICAL)
    if service is None:
        return Expected(Cause.UNKNOWN_DESTINATION)
    if request.port not in {None, service.port}:
        return Expected(Cause.UNKNOWN_PORT)
    access = mesh.access[service.name]
    if request.source in access.revoked:
        return Expected(Cause.REVOKED)
    fitting = [rule for rule in access.rules if rule.in_force(at) and fits(mesh, rule, request)]
    allowing = [rule for rule in fitting if has_token(mesh, rule, request)]
    enforced = [rule for rule in allowing if rule.mode is Mode.ENFORCE]
    would_be = [rule for rule in allowing if rule in access.would_be(at)]
    would = None if bool(enforced) == bool(would_be) else Would.DENY if enforced else Would.ALLOW
    if enforced:
        return Expected(Cause.ALLOWED, enforced[0].name, would)
    lacking = any(rule.mode is Mode.ENFORCE and rule.token is not None for rule in fitting)
    needed = lacking and request.token.state is not TokenState.VALID
    return Expected(Cause.TOKEN_NEEDED if needed else Cause.NO_RULE, None, would)


def is_workload(identity: str) -> bool:
    """Whether a certificate could say that somebody is this."""
    scheme, _, rest = identity.partition("://")
    domain, *segments = rest.split("/")
    letters = string.ascii_lowercase + string.digits + ".-_"
    return (
        scheme == "spiffe"
        and bool(domain and segments)
        and set(domain) <= set(letters)
        and all(each not in {"", ".", ".."} and set(each) <= {*letters, *string.ascii_uppercase} for each in segments)
    )


def fits(mesh: Mesh, rule: Rule, request: Request) -> bool:
    """Whether some source and some permit fit; the token apart."""
    service = mesh.services[request.destination]
    port = request.port or service.port
    permits = [permit for permit in rule.permits if not permit.ports or port in permit.ports]
    return any(fits_source(source, mesh.settings.trust_domain, request) for source in rule.sources) and any(
        fits_permit(permit, service, request) for permit in permits
    )


def fits_permit(permit: Permit, service: Service, request: Request) -> bool:
    """A connection is let in by what names connections; a request by its method and path."""
    if service.protocol is Protocol.TCP:
        return permit.methods == (CONNECTION,)
    path = request.path.split("?")[0]
    return (request.method in permit.methods or ANY_METHOD in permit.methods) and any(
        pattern.matches(path) for pattern in permit.paths
    )


def fits_source(source: Source, domain: str, request: Request) -> bool:
    """Fields are ANDed, their values ORed; a source without fields is nobody."""
    identity = request.source
    fields = []
    if source.services:
        fields.append(any(identity == spiffe_id(domain, service) for service in source.services))
    if source.namespaces:
        fields.append(any(identity.startswith(f"spiffe://{domain}/ns/{name}/svc/") for name in source.namespaces))
    if source.identities:
        fields.append(identity in source.identities)
    if source.anyone:
        fields.append(identity.startswith(f"spiffe://{domain}/"))
    if source.ip_blocks:
        fields.append(identity.startswith("spiffe://"))
        fields.append(any(_inside(request.ip, block) for block in source.ip_blocks))
    return bool(fields) and all(fields)


def _inside(ip: str, block: str) -> bool:
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return False
    network = ipaddress.ip_network(block)
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.version == 4 and network.version == 6 and int(network.network_address) >> 32 == 0xFFFF:
        address = ipaddress.ip_address(f"::ffff:{address}")
    return address.version == network.version and address in network


def has_token(mesh: Mesh, rule: Rule, request: Request) -> bool:
    """Whether the rule asks for no token, or for one like this."""
    if rule.token is None:
        return True
    token, urls = request.token, [each.url for each in mesh.settings.issuers if each.name == rule.token.issuer]
    return (
        token.state is TokenState.VALID
        and token.issuer in urls
        and all(
            any(value in values for value in _values(token.claims.get(name))) for name, values in rule.token.claims
        )
    )


def _values(claim: object) -> list[str]:
    return (
        [claim]
        if isinstance(claim, str)
        else [each for each in claim if isinstance(each, str)]
        if isinstance(claim, list)
        else []
    )
