r"""The access of a mesh as one JSON document, `data.mesh`: what every engine that is not a proxy decides from.

    model -> document(...) -> bundle -> any OPA (rego/policyd/authz over data.mesh)
                                   \-> decision servers: mesh_of(...) -> Index

Both directions live here, so that neither can say what the other does not know. Reading is strict: a field that is
not known could be a condition that narrows a rule, and a reader that passed over it would open access.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from policyd.decisions.addresses import block_range, range_block
from policyd.model.access import Access, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh, Settings
from policyd.model.names import Name, namespace_prefix, parse_spiffe_id, spiffe_id
from policyd.model.paths import PathPattern
from policyd.model.service import Protocol, Service, Split
from policyd.model.tokens import Issuer, TokenCondition

Json = dict[str, Any]
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class DocumentError(ValueError):
    """The document is not one that `document` wrote; the message names the field."""


def document(mesh: Mesh, floor: datetime | None = None) -> Json:
    """The access of `mesh`; equal for equal input, with every list in a fixed order.

    `floor` is the instant that no decision may be earlier than.
    """
    domain = mesh.settings.trust_domain
    issuers = {issuer.name: issuer.url for issuer in mesh.settings.issuers}
    return {
        "trust_domain": domain,
        "floor_us": None if floor is None else _microseconds(floor),
        "services": {
            str(name): _service(service, mesh.access[name], domain, issuers)
            for name, service in mesh.services.items()
        },
    }


def mesh_of(said: Mapping[str, Any], services: Iterable[str] | None = None) -> Mesh:
    """The mesh that a document is about, as far as decisions look at it; only the named `services` where told.

    Raises `DocumentError` for anything that `document` does not write.
    """
    read: dict[Name, Service] = {}
    access: dict[Name, Access] = {}
    try:
        trust_domain, _, all_services = _fields(said, "trust_domain", "floor_us", "services")
        for text in sorted(all_services if services is None else services):
            name = _name(text)
            read[name], access[name] = _read_service(name, all_services[text], trust_domain)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        raise (
            error if isinstance(error, DocumentError) else DocumentError(f"the document is malformed: {error!r}")
        ) from error
    conditions = {rule.token.issuer for each in access.values() for rule in each.rules if rule.token is not None}
    # Rules of the document name an issuer by the `iss` of its tokens.
    issuers = tuple(Issuer(url, url) for url in sorted(conditions) if url)
    return Mesh(Settings("", trust_domain, issuers=issuers), read, access)


def floor_of(said: Mapping[str, Any]) -> datetime | None:
    """The instant that no decision from this document may be earlier than. Raises `DocumentError`."""
    return _instant(said.get("floor_us"))


def _service(service: Service, access: Access, domain: str, issuers: Mapping[str, str]) -> Json:
    return {
        "spiffe": spiffe_id(domain, service.name),
        "port": service.port,
        "opaque_paths": service.opaque_paths,
        "connections": service.protocol is Protocol.TCP,
        "revoked": list(access.revoked),
        "rules": [_rule(rule, domain, issuers) for rule in access.rules],
    }


def _rule(rule: Rule, domain: str, issuers: Mapping[str, str]) -> Json:
    return {
        "name": str(rule.name),
        "mode": rule.mode.value,
        "expires_us": None if rule.expires is None else _microseconds(rule.expires),
        "jwt": None if rule.token is None else _token(rule.token, issuers),
        "replaces": [str(name) for name in rule.replaces],
        "sources": [_source(source, domain) for source in rule.sources],
        "permits": [_permit(permit) for permit in rule.permits],
    }


def _token(token: TokenCondition, issuers: Mapping[str, str]) -> Json:
    """What a rule asks of a token. One of an issuer that is not known has none, and no token meets it."""
    claims = {name: list(values) for name, values in token.claims}
    return {"issuer": issuers.get(token.issuer, ""), "audiences": [], "claims": claims}


def _source(source: Source, domain: str) -> Json:
    return {
        "services": [spiffe_id(domain, service) for service in source.services],
        "namespaces": [namespace_prefix(domain, namespace) for namespace in source.namespaces],
        "identities": list(source.identities),
        "anyone": f"spiffe://{domain}/" if source.anyone else "",
        "ip": [[f"{end:032x}" for end in block_range(block)] for block in source.ip_blocks],
    }


def _permit(permit: Permit) -> Json:
    return {
        "methods": list(permit.methods),
        "ports": list(permit.ports),
        "paths": [{"segments": list(path.segments), "rest": path.rest} for path in permit.paths],
    }


def _read_service(name: Name, said: Json, domain: str) -> tuple[Service, Access]:
    identity, port, opaque, connections, revoked, rules = _fields(
        said, "spiffe", "port", "opaque_paths", "connections", "revoked", "rules"
    )
    if identity != spiffe_id(domain, name) or type(port) is not int or {type(opaque), type(connections)} != {bool}:
        raise DocumentError(f"service `{name}` is not of this mesh")
    protocol = Protocol.TCP if connections else Protocol.HTTP
    service = Service(name, protocol, port, (), Split(()), opaque_paths=opaque)
    return service, Access(name, tuple(_read_rule(rule, domain) for rule in rules), _texts(revoked))


def _read_rule(said: Json, domain: str) -> Rule:
    name, mode, expires, jwt, replaces, sources, permits = _fields(
        said, "name", "mode", "expires_us", "jwt", "replaces", "sources", "permits"
    )
    return Rule(
        _name(name),
        tuple(_read_source(source, domain) for source in sources),
        tuple(_read_permit(permit) for permit in permits),
        Mode(mode),
        _instant(expires),
        None if jwt is None else _read_token(jwt),
        tuple(_name(each) for each in _texts(replaces)),
    )


def _read_token(said: Json) -> TokenCondition:
    issuer, audiences, claims = _fields(said, "issuer", "audiences", "claims")
    if audiences or type(issuer) is not str:
        raise DocumentError("a token's audience is looked at before rules are")
    return TokenCondition(issuer, tuple((name, _texts(values)) for name, values in claims.items()))


def _read_source(said: Json, domain: str) -> Source:
    services, namespaces, identities, anyone, blocks = _fields(
        said, "services", "namespaces", "identities", "anyone", "ip"
    )
    if anyone not in {"", f"spiffe://{domain}/"}:
        raise DocumentError("a source has a field that is not known here")
    named = [parse_spiffe_id(domain, service) for service in services]
    spaces = [_namespace(prefix, domain) for prefix in namespaces]
    services = tuple(filter(None, _all(named)))
    return Source(services, tuple(spaces), _texts(identities), bool(anyone), tuple(map(_block, blocks)))


def _read_permit(said: Json) -> Permit:
    methods, ports, paths = _fields(said, "methods", "ports", "paths")
    if not isinstance(ports, list) or not all(type(port) is int for port in ports):
        raise DocumentError("a list of ports was expected")
    return Permit(_texts(methods), tuple(_read_path(path) for path in paths), tuple(ports))


def _read_path(said: Json) -> PathPattern:
    segments, rest = _fields(said, "segments", "rest")
    if type(rest) is not bool or not all(segment is None or type(segment) is str for segment in segments):
        raise DocumentError("a path is not in the one grammar")
    return PathPattern(tuple(segments), rest)


def _fields(said: Mapping[str, Any], *names: str) -> tuple[Any, ...]:
    """The values of an object that has exactly these fields."""
    if said.keys() != set(names):
        raise DocumentError(f"an object with {', '.join(names)} was expected")
    return tuple(said[name] for name in names)


def _all(names: list[Name | None]) -> list[Name | None]:
    if None in names:
        raise DocumentError("a source names a service of another trust domain")
    return names


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list) or not all(type(value) is str for value in values):
        raise DocumentError("a list of strings was expected")
    return tuple(values)


def _block(ends: Any) -> str:
    """A range of addresses, as `addresses` reads it."""
    low, high = _texts(ends)
    block = range_block(int(low, 16), int(high, 16))
    if [f"{end:032x}" for end in block_range(block)] != [low, high]:
        raise DocumentError(f"`{low}` to `{high}` is no block of addresses")
    return block


def _namespace(prefix: str, domain: str) -> str:
    namespace = prefix.removeprefix(f"spiffe://{domain}/ns/").removesuffix("/svc/")
    if namespace_prefix(domain, namespace) != prefix:
        raise DocumentError("a source names a namespace of another trust domain")
    return namespace


def _name(text: str) -> Name:
    name = Name.parse(text)
    if not name.name or not name.namespace or str(name) != text:
        raise DocumentError(f"`{text}` is not `namespace/name`")
    return name


def _microseconds(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _instant(us: Any) -> datetime | None:
    if us is None:
        return None
    if type(us) is not int:
        raise DocumentError("an instant is not in whole microseconds")
    return _EPOCH + us * _MICROSECOND
