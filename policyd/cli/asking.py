"""The request that `explain` and `why` are about, from what a person typed."""

from __future__ import annotations

import enum
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from policyd.base.errors import UsageError
from policyd.decisions import NO_TOKEN, Request, Token, TokenState
from policyd.decisions.addresses import address_number
from policyd.intents.translate import nearest
from policyd.model.mesh import Mesh
from policyd.model.methods import CONNECTION
from policyd.model.names import Name, spiffe_id
from policyd.model.node import address_of_node, nodes

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What a header and a cookie may be called. Source: RFC 9110, section 5.6.2."""


class TokenOption(enum.StrEnum):
    """The token that a request carries."""

    ABSENT = "absent"
    INVALID = "invalid"
    VALID = "valid"


TokenStateOption = Annotated[
    TokenOption | None, typer.Option("--token", help="The token (JWT) beside the request; none unless you say so.")
]
ClaimOption = Annotated[
    list[str] | None,
    typer.Option("--jwt-claim", help="What a valid token says, `issuer:role=admin`; may be repeated."),
]
IpOption = Annotated[str, typer.Option("--ip", help="The address of the direct peer.")]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="NAME=VALUE", help="A header that it brings; may be repeated."),
]
CookieOption = Annotated[
    list[str] | None, typer.Option("--cookie", metavar="NAME=VALUE", help="A cookie that it brings; may be repeated.")
]
AtOption = Annotated[
    str,
    typer.Option("--at", help="Ask the controller about `promoted`, `head`, a commit or `node:ID`, not the folder."),
]


@dataclass(frozen=True, slots=True)
class Known:
    """What names mean: the trust domain, who issues tokens, and the services, where they are known."""

    trust_domain: str
    issuers: Mapping[str, str] = field(default_factory=dict)
    services: Collection[Name] | None = None
    outside: Mapping[str, Name] = field(default_factory=dict)
    """External hosts, by what callers call them."""
    instances: Mapping[str, str] = field(default_factory=dict)
    """Node ids by the address of their sidecars."""

    @classmethod
    def of(cls, mesh: Mesh) -> Known:
        """What the names of a mesh mean."""
        issuers = {issuer.name: issuer.url for issuer in mesh.settings.issuers}
        found = ((each.external, name) for name, each in mesh.services.items())
        outside = {external.host: name for external, name in found if external is not None}
        instances = by_address(node.id for node in nodes(mesh))
        return cls(mesh.settings.trust_domain, issuers, mesh.services, outside, instances)

    def service(self, text: str) -> Name:
        """The service that is meant. Raises `UsageError` for one that does not exist."""
        name = Name.parse(text)
        if self.services is not None and name not in self.services:
            known = [str(one) if "/" in text else one.name for one in self.services]
            raise UsageError(f"there is no service `{text}`", hint=nearest(text, known))
        return name

    def identity(self, text: str) -> str:
        """The SPIFFE ID that is meant by an ID or by a name."""
        return text if "://" in text else spiffe_id(self.trust_domain, self.service(text))

    def token(self, state: TokenOption | None, claims: Sequence[str]) -> Token:
        """The token that is meant; one with claims is valid unless it is said to be not."""
        issuers, said = self._claims(claims)
        if state is None:
            state = TokenOption.VALID if claims else TokenOption.ABSENT
        if state is TokenOption.ABSENT:
            if claims:
                raise UsageError("a token that is absent has no claims", hint="leave `--token` or `--jwt-claim` out")
            return NO_TOKEN
        named = issuers or (set(self.issuers) if len(self.issuers) == 1 else set())
        if len(named) != 1 and state is TokenOption.VALID:
            known = ", ".join(f"`{name}`" for name in self.issuers) or "none"
            raise UsageError(
                "whose token?", hint=f"one issuer, `--jwt-claim issuer:role=admin`; the mesh knows {known}"
            )
        return Token(TokenState(state.value), self.issuers[min(named)] if named else "", said)

    def _claims(self, claims: Sequence[str]) -> tuple[set[str], dict[str, object]]:
        issuers, said = set(), dict[str, list[str]]()
        for claim in claims:
            issuer, colon, rest = claim.partition(":")
            name, equals, value = rest.partition("=")
            if not (issuer and colon and name and equals):
                raise UsageError(f"`{claim}` is not a claim", hint="issuer, name and value: `login:role=admin`")
            if issuer not in self.issuers:
                hint = nearest(issuer, list(self.issuers)) or "`issuers` of the `Mesh` say whose tokens are believed"
                raise UsageError(f"the mesh has no issuer `{issuer}`", hint=hint)
            issuers.add(issuer)
            said.setdefault(name, []).append(value)
        return issuers, {name: values[0] if len(values) == 1 else values for name, values in said.items()}


def by_address(node_ids: Iterable[str]) -> dict[str, str]:
    """The nodes by address; one that several have, such as a gateway beside a service, tells none of them."""
    found: dict[str, str] = {}
    several: set[str] = set()
    for node in node_ids:
        address = address_of_node(node)
        several.update([address] if address in found else [])
        found[address] = node
    return {address: node for address, node in found.items() if address not in several}


def request_of(
    known: Known,
    source: str,
    destination: str,
    line: str,
    *,
    host: str = "",
    ip: str = "",
    port: int | None = None,
    token: Token = NO_TOKEN,
) -> Request:
    """The request of a line such as `GET /v1/orders`. Raises `UsageError` for one that cannot be understood."""
    method, space, path = line.partition(" ")
    if not space and method != CONNECTION:
        raise UsageError(
            f"`{line}` is not a request", hint="a method and a path: 'GET /v1/orders'; or 'CONNECT' to a tcp service"
        )
    to = known.service(destination)
    return Request(known.identity(source), to, method, path.strip(), host, address_of(ip), port, token)


def brought(headers: Sequence[str], cookies: Sequence[str]) -> tuple[tuple[str, str], ...] | None:
    """All headers of a request, cookies among them; `None` where nothing was said of any.

    Raises `UsageError` for what is no pair of name and value.
    """
    pairs = [_pair(text, "header") for text in headers]
    if cookies:
        pairs.append(("cookie", "; ".join("=".join(_pair(text, "cookie")) for text in cookies)))
    return tuple((name.lower(), value) for name, value in pairs) or None


def _pair(text: str, what: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not _TOKEN.fullmatch(name) or not equals or any(ord(each) < 0x20 for each in value):
        raise UsageError(f"`{text}` is not a {what}", hint=f"a name and its value: `--{what} name=value`")
    return name, value


def address_of(text: str) -> str:
    """The address that a person typed, or none. Raises `UsageError` for what no peer has."""
    if text and address_number(text) is None:
        raise UsageError(f"`{text}` is not an address", hint="one of IPv4 or IPv6, without a zone: `10.0.1.11`")
    return text


def as_input(request: Request) -> dict[str, Any]:
    """The request in the one schema that every engine takes."""
    token = request.token
    asked: dict[str, Any] = {
        "source": {"spiffe": request.source, **({"ip": request.ip} if request.ip else {})},
        "destination": {"service": str(request.destination)},
        "method": request.method,
        "path": request.path,
        "jwt": {"state": token.state.value, "issuer": token.issuer, "claims": dict(token.claims)},
    }
    if request.port is not None:
        asked["destination"]["port"] = request.port
    if request.host:
        asked["host"] = request.host
    if request.headers is not None:
        asked["headers"] = [list(each) for each in request.headers]
    return asked
