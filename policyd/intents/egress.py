"""`kind: Egress`: a host outside of the mesh that services may call, and how their sidecars reach it."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated, Literal

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from policyd.intents.kind import Intent, Many, Part
from policyd.intents.resilience import Resilience
from policyd.intents.units import Label, shown, unreadable

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}\.)+(?!localhost$){_LABEL}")
"""Names below `localhost` are the caller's own machine: RFC 6761, section 6.3."""


def _host(value: object) -> str:
    if isinstance(value, str) and len(value) <= 253 and _HOST.fullmatch(value) and not value[-1].isdigit():
        return value
    hint = "one name in lower case, with a dot and without port or wildcard: `api.partner.example`"
    raise unreadable(f"`{shown(value)}` is not the name of a host outside of the mesh", hint=hint, code="PD1281")


def _outside(value: object) -> str:
    try:
        address = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        address = None
    if address is None:
        raise unreadable(f"`{shown(value)}` is not an address", hint="for example `192.0.2.10`", code="PD1109")
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address  # a kernel connects to the IPv4 address in it
    # What a host of its own means by these is itself, its link (and a cloud's metadata), or everybody.
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        raise unreadable(
            f"`{address}` is not outside of the mesh",
            hint="loopback and link-local addresses are the caller's own machine",
            code="PD1282",
        )
    return str(address)


_STRING = WithJsonSchema({"type": "string"})
ExternalHost = Annotated[str, PlainValidator(_host), _STRING]
OutsideAddress = Annotated[str, PlainValidator(_outside), _STRING]


class OutboundTls(Part):
    """TLS towards the host, made by the caller's sidecar."""

    roots: Label = "system"
    """The roots that its certificate must come from: a name in the controller's settings (`roots`), or `system` for
    those of the machine that the sidecar runs on. The certificate must name the host."""


class EgressSpec(Part):
    """The host."""

    host: ExternalHost
    """What callers call it (`http://api.partner.example/`), what DNS is asked for, and what its certificate must
    name."""
    port: Annotated[int, Field(ge=1, le=65_535)] = 443
    """The port where it listens."""
    protocol: Literal["http", "http2", "grpc"] = "http"
    """What it speaks. `http`: HTTP/2 where it offers that, else HTTP/1.1."""
    tls: OutboundTls | None = None
    """TLS towards the host; by default with the system's roots. Applications send plain HTTP to their sidecar."""
    plaintext: bool = False
    """Send requests in the clear. Everybody on the way reads and changes them."""
    addresses: Many[OutsideAddress] = ()
    """Addresses in the place of what DNS says."""
    resilience: Resilience = Resilience()
    """How a call to the host is bounded and tried again."""

    @model_validator(mode="after")
    def _one_of(self) -> EgressSpec:
        if self.plaintext and self.tls is not None:
            raise unreadable("`tls` and `plaintext` exclude each other", hint="leave one of them out", code="PD1104")
        return self


class Egress(Intent):
    """A host outside of the mesh. Access rules (`to:` its name) say who may send it which requests."""

    api_version: Literal["policyd.dev/v1alpha1"]
    kind: Literal["Egress"]
    spec: EgressSpec
