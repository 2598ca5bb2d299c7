"""A request from outside: which gateway takes it in, what it does with it, and what it asks of whom then.

    method + URL -> entering(mesh, ...) -> Entrance -> its request is decided like any other

Told from what gateways were compiled from; `Gateway.listener` and the entries' matches are the reference for both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from policyd.decisions.request import NO_TOKEN, Request, Token, TokenState, fault
from policyd.model import route
from policyd.model.gateway import Entry, Gateway, Listener
from policyd.model.mesh import Mesh
from policyd.model.names import DEFAULT_NAMESPACE, Name, spiffe_id
from policyd.model.paths import EVERYTHING
from policyd.model.route_actions import rewritten
from policyd.model.route_words import outcome, requests
from policyd.model.service import Service

PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Entrance:
    """What becomes of a request at the edge, a line each.

    Either the gateway asks a service (`request`, as it arrives there), or it answers itself with `status`.
    """

    gateway: Name
    said: tuple[str, ...]
    status: int = 0
    request: Request | None = None


def entering(mesh: Mesh, method: str, url: str, token: Token = NO_TOKEN) -> Entrance | None:
    """Where a request to a URL comes in; `None` where no gateway listens for it.

    A question names no headers or cookies: routes that ask for some are told as what may take it.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or PORTS.get(parts.scheme, 0)
    for service in mesh.services.values():
        listener = service.gateway.listener(port, host) if service.gateway is not None else None
        if listener is not None and bool(listener.certificate) == (parts.scheme == "https"):
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            own = spiffe_id(mesh.settings.trust_domain, service.name)
            return _at(mesh, service, listener, Request(own, service.name, method, target, host, token=token))
    return None


def as_gateways_see(mesh: Mesh) -> Mesh:
    """`mesh` without the rules of its services' own routes, which gateways do not take."""
    plain = {name: replace(each, route=None) if each.route else each for name, each in mesh.services.items()}
    return replace(mesh, services=plain)


def _at(mesh: Mesh, service: Service, listener: Listener, asked: Request) -> Entrance:
    gateway = service.gateway
    assert gateway is not None
    said = [f"it comes in at gateway `{_short(service.name)}`, port {listener.port}, as `{asked.host}`"]
    if wrong := fault(asked, opaque_paths=False):
        return Entrance(service.name, (*said, wrong), 400)
    if not (listener.certificate or listener.plaintext):
        secured = gateway.secured(asked.host)
        where = f"port {secured.port}" if secured is not None else "nowhere"
        return Entrance(service.name, (*said, f"it is sent to where TLS is spoken, {where}"), 308)
    more, entry = _taken(gateway, asked)
    said += more
    if entry is None:
        refused = _without_token(mesh, gateway, asked.token)
        return Entrance(service.name, (*said, refused or "no route takes it"), 401 if refused else 404)
    said.append(f"route `{entry.rule.name}` takes it" + _does(entry))
    if entry.to is None:
        assert entry.rule.redirect is not None
        return Entrance(service.name, tuple(said), entry.rule.redirect.code)
    if not entry.public and (refused := _without_token(mesh, gateway, asked.token)) is not None:
        return Entrance(service.name, (*said, refused), 401)
    arriving = asked._replace(destination=entry.to, path=_rewritten(entry, asked))
    if arriving.path != asked.path:
        said.append(f"it arrives as `{arriving.bare_path}`, and that is what access rules judge")
    return Entrance(service.name, tuple(said), request=arriving)


def _taken(gateway: Gateway, asked: Request) -> tuple[list[str], Entry | None]:
    """What may take it by its headers or cookies, and what takes it for sure."""
    told = route.Request(asked.method, asked.path, asked.host)
    said: list[str] = []
    for entry in gateway.entries:
        match = entry.rule.match
        unknown = route.Match(headers=match.headers, cookies=match.cookies)
        if not replace(match, headers=(), cookies=()).matches(told):
            continue
        if unknown == route.Match():
            return said, entry
        said.append(f"with {requests(unknown)} route `{entry.rule.name}` takes it" + _does(entry))
    return said, None


def _does(entry: Entry) -> str:
    what = outcome(entry.rule) if entry.rule.redirect is not None else ""
    return f": {what}" if what else f", to `{_short(entry.to)}`" if entry.to is not None else ""


def _without_token(mesh: Mesh, gateway: Gateway, token: Token) -> str | None:
    """Why the gateway refuses it for its token; `None` where it asks for none, or has a good one."""
    if not gateway.issuer:
        return None
    issuers = {issuer.name: issuer.url for issuer in mesh.settings.issuers}
    if token.state is TokenState.VALID and token.issuer == issuers.get(gateway.issuer):
        return None
    return f"it needs a valid token of `{gateway.issuer}`, and comes with " + (
        "none"
        if token.state is TokenState.ABSENT
        else "another one"
        if token.state is TokenState.VALID
        else "a bad one"
    )


def _rewritten(entry: Entry, asked: Request) -> str:
    rewrite = entry.rule.rewrite
    if rewrite is None or not rewrite.path:
        return asked.path
    path, mark, query = asked.path.partition("?")
    pattern = next((each for each in entry.rule.match.paths if each.matches(path)), EVERYTHING)
    return rewritten(path, pattern, rewrite.path) + mark + query


def _short(name: Name) -> str:
    return name.name if name.namespace == DEFAULT_NAMESPACE else str(name)
