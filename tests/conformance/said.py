"""The access of a mesh as the document `data.mesh`, for the engines that read it."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from typing import Any

from policyd.model.access import Access, Permit, Rule, Source
from policyd.model.mesh import Mesh
from policyd.model.names import namespace_prefix, spiffe_id
from policyd.model.service import Service

Json = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAPPED = 0xFFFF << 32


def document(mesh: Mesh, floor: datetime | None = None) -> Json:
    """The document; `floor` is the instant that no decision may be earlier than."""
    issuers = {issuer.name: issuer.url for issuer in mesh.settings.issuers}
    return {
        "trust_domain": mesh.settings.trust_domain,
        "floor_us": _microseconds(floor),
        "services": {
            str(name): _service(service, mesh.access[name], mesh.settings.trust_domain, issuers)
            for name, service in mesh.services.items()
        },
    }


def _service(service: Service, access: Access, domain: str, issuers: dict[str, str]) -> Json:
    return {
        "spiffe": spiffe_id(domain, service.name),
        "port": service.port,
        "opaque_paths": service.opaque_paths,
        "revoked": list(access.revoked),
        "rules": [_rule(rule, domain, issuers) for rule in access.rules],
    }


def _rule(rule: Rule, domain: str, issuers: dict[str, str]) -> Json:
    token = rule.token
    return {
        "name": str(rule.name),
        "mode": rule.mode.value,
        "expires_us": _microseconds(rule.expires),
        "jwt": None
        if token is None
        else {
            "issuer": issuers.get(token.issuer, ""),
            "audiences": [],
            "claims": {name: list(values) for name, values in token.claims},
        },
        "replaces": [str(name) for name in rule.replaces],
        "sources": [_source(source, domain) for source in rule.sources],
        "permits": [_permit(permit) for permit in rule.permits],
    }


def _source(source: Source, domain: str) -> Json:
    return {
        "services": [spiffe_id(domain, service) for service in source.services],
        "namespaces": [namespace_prefix(domain, namespace) for namespace in source.namespaces],
        "identities": list(source.identities),
        "anyone": f"spiffe://{domain}/" if source.anyone else "",
        "ip": [_range(block) for block in source.ip_blocks],
    }


def _range(block: str) -> list[str]:
    network = ipaddress.ip_network(block)
    above = _MAPPED if network.version == 4 else 0
    return [f"{above | int(end):032x}" for end in (network.network_address, network.broadcast_address)]


def _permit(permit: Permit) -> Json:
    return {
        "methods": list(permit.methods),
        "ports": list(permit.ports),
        "paths": [{"segments": list(path.segments), "rest": path.rest} for path in permit.paths],
    }


def _microseconds(instant: datetime | None) -> int | None:
    return None if instant is None else (instant - _EPOCH) // timedelta(microseconds=1)
