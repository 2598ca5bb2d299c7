"""One request, as a caller means it: the same for every engine, whatever it is asked by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from policyd.decisions import NO_TOKEN, Request, Token, TokenState
from policyd.model.names import DEFAULT_NAMESPACE, Name


@dataclass(frozen=True)
class Sent:
    """A request. Several `hosts` are several `Host` headers; `headers` are those that must change nothing.

    `forged` says how a token that is not valid was made, `http2` that it goes to a proxy by HTTP/2.
    """

    source: str
    destination: Name
    method: str
    path: str
    hosts: tuple[str, ...] = ("a",)
    ip: str = ""
    port: int | None = None
    token: Token = NO_TOKEN
    forged: str = ""
    headers: tuple[tuple[str, str], ...] = field(default=())
    http2: bool = False

    @property
    def request(self) -> Request:
        """As the index is asked. Several hosts are one that is no host."""
        return Request(
            self.source,
            self.destination,
            self.method,
            self.path,
            ",".join(self.hosts),
            self.ip,
            self.port,
            self.token,
        )

    @property
    def input(self) -> Mapping[str, Any]:
        """As every other engine of decisions is asked."""
        service = str(self.destination)
        said: dict[str, Any] = {
            "source": {"spiffe": self.source},
            "destination": {"service": service.removeprefix(f"{DEFAULT_NAMESPACE}/")},
            "method": self.method,
            "path": self.path,
        }
        if self.hosts:
            said["host"] = ",".join(self.hosts)
        if self.ip:
            said["source"]["ip"] = self.ip
        if self.port is not None:
            said["destination"]["port"] = self.port
        if self.token.state is not TokenState.ABSENT:
            said["jwt"] = {"state": str(self.token.state), "claims": dict(self.token.claims)}
            if self.token.issuer:
                said["jwt"]["issuer"] = self.token.issuer
        return said
