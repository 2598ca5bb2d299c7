"""The request that a decision is about, and whether it is canonical: has one meaning, whoever parses it."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from policyd.model.methods import CONNECTION, is_canonical_method
from policyd.model.names import Name
from policyd.model.paths import is_canonical_path, is_canonical_query, is_opaque_path

_HOST = re.compile(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(?::\+?0*(?P<port>[0-9]{1,10}))?"
)
"""A name or an address. A port is no part of it: proxies take away what they read as a number, whatever its value."""
_LARGEST = f"{2**32 - 1}"
"""No number that is larger is read as a port."""


class TokenState(enum.StrEnum):
    """What became of the token after its signature, its times and its audience were checked."""

    ABSENT = "absent"
    INVALID = "invalid"
    VALID = "valid"


@dataclass(frozen=True, slots=True)
class Token:
    """The token (JWT) beside a request. `issuer` is its `iss`, as it stands in the token."""

    state: TokenState
    issuer: str = ""
    claims: Mapping[str, object] = field(default_factory=dict)


NO_TOKEN = Token(TokenState.ABSENT)


class Request(NamedTuple):
    """What a caller sends. `source` is its verified SPIFFE ID; `path` may carry a query, which no rule looks at.

    An empty `host` means that it is not known and is taken for a good one. An empty `ip`, the direct peer's address,
    is not known either: no rule that asks for an address allows then. Without `port` the service's own is meant.
    A connection to a `tcp` service is a request with the method `CONNECT` and an empty path.
    """

    source: str
    destination: Name
    method: str
    path: str
    host: str = ""
    ip: str = ""
    port: int | None = None
    token: Token = NO_TOKEN
    headers: tuple[tuple[str, str], ...] | None = None
    """All that it brings, with names in lower case; `None`: the question does not say. No access rule looks at them,
    rules of routes do."""

    @property
    def bare_path(self) -> str:
        """The path without its query."""
        return self.path.partition("?")[0]


def fault(request: Request, *, opaque_paths: bool, connections: bool = False) -> str:
    """Why the request is refused with 400 before any rule looks at it; empty for a canonical one.

    `connections`: it is for a service that takes those, and nothing else.
    """
    host = request.host
    if connections:
        if request.method != CONNECTION or request.path:
            return f"it takes connections, not requests: `{CONNECTION}` without a path"
        return f"`{host}` is not a host" if host and not _is_host(host) else ""
    if not is_canonical_method(request.method):
        return f"`{request.method}` is not a method that a request may have"
    if host and not _is_host(host):
        return f"`{host}` is not a host"
    path, _, query = request.path.partition("?")
    if not (is_opaque_path(path) if opaque_paths else is_canonical_path(path)):
        return f"path `{path}` is not canonical: two parsers could read it differently"
    if query and not is_canonical_query(query):
        return f"query `{query}` is not canonical: it has bytes that no query has"
    return ""


def _is_host(host: str) -> bool:
    found = _HOST.fullmatch(host) or _HOST.fullmatch(_normal(host))
    port = (found["port"] or "") if found is not None else ""
    return found is not None and (len(port) < len(_LARGEST) or port <= _LARGEST)


def _normal(host: str) -> str:
    """One trailing dot (before the port) removed, as the proxies do it.

    The case stays: to `lower`, the Kelvin sign is a `k`.
    """
    name, colon, port = host.rpartition(":")
    if not colon or not port.removeprefix("+").isdigit():
        return host.removesuffix(".")
    return name.removesuffix(".") + ":" + port
