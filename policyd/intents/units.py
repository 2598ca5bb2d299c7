"""Scalars with units, parsed once: durations, shares, instants, addresses, names.

Every function takes what the YAML scalar said and returns the typed value that the rest of policyd works with, or
raises `unreadable(...)` in the user's words. The annotated types below carry these readers, and a pattern for
editors, into the models of each kind.
"""

from __future__ import annotations

import ipaddress
import json
import re
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from policyd.model.methods import CONNECTION
from policyd.model.names import is_spiffe_id
from policyd.model.paths import PathPattern, PathSyntaxError

_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000, "w": 604_800_000, "y": 31_536_000_000}
# OpenSLO v1, "duration-shorthand": what a month, quarter and year are is left to the implementation.
_OPENSLO_S = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "M": 2_592_000, "Q": 7_776_000, "Y": 31_536_000}

LONGEST_YEARS = 100
"""No duration is longer: what is meant to last for ever is left out."""

_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
LONGEST_PATTERN = 1_024
"""Characters of a path pattern."""
_DURATION = re.compile(r"([0-9]{1,9})(ms|s|m|h|d|w|y)")
_OPENSLO_DURATION = re.compile(r"([0-9]{1,6})([mhdwMQY])")
_PERCENT = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,2})?)%")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(?::[0-9]{2})?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_TRUST_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,253}[a-z0-9])?")
LONGEST_SPIFFE, LONGEST_TRUST_DOMAIN = 2_048, 255
"""Source: SPIFFE-ID specification, sections 2.3 and 2.1."""


def unreadable(message: str, *, hint: str = "", code: str = "PD1108") -> PydanticCustomError:
    """The error for a scalar that is not what its field asks for; `code` is the finding's.

    The text travels in the context, since pydantic would read braces in a template as placeholders.
    """
    return PydanticCustomError("policyd", "{message}", {"message": message, "hint": hint, "code": code})


def shown(value: object) -> str:
    """A value as the user wrote it, shortened to fit a message; what cannot be seen, line ends too, as its escape."""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, bool | list | dict) else str(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def duration_ms(value: object) -> int:
    """Read `600ms`, `2s`, `5m`, `24h`, `30d`, `4w`, `1y` (365 days) as milliseconds."""
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise unreadable(
            f"`{shown(value)}` is not a duration",
            hint="write a whole number and its unit: `600ms`, `2s`, `5m`, `24h`, `30d`, `4w` or `1y`",
        )
    return _bounded(value, int(match[1]) * _MS[match[2]])


def positive_ms(value: object) -> int:
    """Read a duration above zero, which is "for ever" to one proxy and an error to the next."""
    milliseconds = duration_ms(value)
    if milliseconds == 0:
        raise unreadable(f"`{shown(value)}` is no time at all", hint="the shortest is `1ms`", code="PD1109")
    return milliseconds


def _bounded(value: object, milliseconds: int) -> int:
    """The milliseconds, unless calendars and proxies cannot count that far."""
    if milliseconds > LONGEST_YEARS * _MS["y"]:
        raise unreadable(f"`{shown(value)}` is longer than {LONGEST_YEARS} years", code="PD1109")
    return milliseconds


def openslo_seconds(value: object) -> int:
    """Read OpenSLO's shorthand (`5m`, `12h`, `30d`, `4w`, `1M` = 30 days, `1Q` = 90, `1Y` = 365) as seconds."""
    match = _OPENSLO_DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise unreadable(
            f"`{shown(value)}` is not an OpenSLO duration",
            hint="write a whole number and its unit: `5m`, `12h`, `30d`, `4w`, `1M`, `1Q` or `1Y`",
        )
    return _bounded(value, int(match[1]) * _OPENSLO_S[match[2]] * 1_000) // 1_000


def share_bp(value: object) -> int:
    """Read `20%` or `0.5%` as basis points (2,000 and 50)."""
    match = _PERCENT.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise unreadable(f"`{shown(value)}` is not a percentage", hint="write it with its sign: `20%` or `0.5%`")
    points = int(Decimal(match[1]) * 100)
    if not 0 < points <= 10_000:
        raise unreadable(f"`{shown(value)}` is not above 0% and at most 100%", code="PD1109")
    return points


def step_bp(value: object) -> int:
    """Read a step of a canary, a number in per cent such as `5` or `0.5`, as basis points."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise unreadable(f"`{shown(value)}` is not a step", hint="write a number of per cent: `5`, `25`, `100`")
    points = Decimal(repr(value)) * 100
    if not 0 < points <= 10_000 or points != int(points):
        raise unreadable(
            f"step `{shown(value)}` is not above 0 and at most 100",
            hint="steps are per cent of requests, with at most two decimals",
            code="PD1109",
        )
    return int(points)


def objective(value: object) -> float:
    """Read a target in per cent (`99.9`) as the share of events that must be good (0.999, without float dust)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise unreadable(f"`{shown(value)}` is not a target", hint="write a number of per cent: `99.9`")
    if not 0 < value < 100:
        raise unreadable(
            f"target `{shown(value)}` is not above 0 and below 100",
            hint="a target of 100 leaves no error budget, so every release would be refused",
            code="PD1109",
        )
    return float(Decimal(repr(value)) / 100)


def instant(value: object) -> datetime:
    """Read `2027-03-31` (its first moment, UTC) or `2027-03-31T12:00:00Z` as an instant."""
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            day = date.fromisoformat(value)
            return datetime(day.year, day.month, day.day, tzinfo=UTC)
        if isinstance(value, str) and _INSTANT.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise unreadable(
        f"`{shown(value)}` is not a date or an instant",
        hint="write a date `2027-03-31` or an instant with its zone `2027-03-31T12:00:00Z`",
    )


def address(value: object) -> str:
    """Read the IP address of one instance; returned in its canonical spelling."""
    hint = "static endpoints are addresses, such as `10.0.1.11`"
    try:
        ip = ipaddress.ip_address(value) if isinstance(value, str) else None
    except ValueError:
        ip = None
    if ip is None:
        raise unreadable(f"`{shown(value)}` is not an IP address", hint=hint)
    if ip.is_unspecified or ip.is_multicast or ip == _BROADCAST or getattr(ip, "scope_id", None):
        raise unreadable(f"`{shown(value)}` is not the address of one host for all others", hint=hint, code="PD1109")
    return str(ip)


def ip_block(value: object) -> str:
    """Read a block of addresses, `10.0.0.0/8`, or one address; returned as CIDR in its canonical spelling."""
    try:
        network = ipaddress.ip_network(value, strict=False) if isinstance(value, str) else None
    except ValueError:
        network = None
    if network is None:
        raise unreadable(f"`{shown(value)}` is not a block of addresses", hint="write it as CIDR: `10.0.0.0/8`")
    address, slash, bits = str(value).partition("/")
    if slash and not (bits.isascii() and bits.isdigit()):
        raise unreadable(
            f"`{shown(value)}` is written with a mask",
            hint=f"write it as CIDR: `{network}`, if that is the block that is meant",
        )
    if ipaddress.ip_address(address) != network.network_address:
        raise unreadable(
            f"`{shown(value)}` has bits beyond its prefix",
            hint=f"write `{network}`, or one address with `/{network.max_prefixlen}`",
        )
    return str(network)


def app_address(value: object) -> tuple[str, int]:
    """Read `127.0.0.1:9000`, where an instance's application listens: plain traffic stays on loopback."""
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    try:
        ip = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        colon = ""
        ip = ipaddress.IPv4Address(0)
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port[:6]) < 65_536:
        raise unreadable(f"`{shown(value)}` is not an address with a port", hint="for example `127.0.0.1:9000`")
    if not ip.is_loopback:
        raise unreadable(
            f"`{shown(value)}` is not a loopback address",
            hint="traffic between sidecar and application is not encrypted, so it must not leave the host",
            code="PD1109",
        )
    return str(ip), int(port)


def label(value: object) -> str:
    """Read a name: a DNS label of lower-case letters, digits and `-`, up to 63 of them."""
    if isinstance(value, str) and _LABEL.fullmatch(value):
        return value
    raise unreadable(
        f"`{shown(value)}` is not a name",
        hint="use lower-case letters, digits and `-`, starting and ending with a letter or digit, 63 at most",
        code="PD1107",
    )


def caller(value: object) -> str:
    """Read who calls: `web`, `namespace/web`, or a whole SPIFFE ID."""
    return identity(value) if isinstance(value, str) and value.startswith("spiffe:") else reference(value)


def reference(value: object) -> str:
    """Read a reference: `name`, or `namespace/name`."""
    if isinstance(value, str):
        parts = value.split("/")
        if len(parts) <= 2 and all(_LABEL.fullmatch(part) for part in parts):
            return value
    raise unreadable(f"`{shown(value)}` is not a reference", hint="write `name` or `namespace/name`", code="PD1107")


def trust_domain(value: object) -> str:
    """Read a SPIFFE trust domain: lower-case letters, digits, `.`, `-` and `_`. Source: SPIFFE-ID, 2.1."""
    if isinstance(value, str) and _TRUST_DOMAIN.fullmatch(value):
        return value
    raise unreadable(
        f"`{shown(value)}` is not a trust domain", hint="for example `shop.example`, in lower case", code="PD1107"
    )


def identity(value: object) -> str:
    """Read a whole SPIFFE ID. Source: SPIFFE-ID specification, sections 2.1 to 2.4."""
    if (
        isinstance(value, str)
        and len(value) <= LONGEST_SPIFFE
        and is_spiffe_id(value)
        and len(value.split("/")[2]) <= LONGEST_TRUST_DOMAIN
    ):
        return value
    raise unreadable(
        f"`{shown(value)}` is not a SPIFFE ID",
        hint="for example `spiffe://partner.example/ns/pay/svc/settle`",
        code="PD1107",
    )


def request_line(value: object) -> tuple[str, str]:
    """Read a request in one line, `POST /v1/charges`, as method and path. Whether they are canonical is not asked.

    `CONNECT` alone is a connection, which has no path.
    """
    if value == CONNECTION:
        return CONNECTION, ""
    method, _, path = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if not method or not path or " " in path:
        raise unreadable(
            f"`{shown(value)}` is not a request", hint="write method and path: `GET /v1/orders/17`", code="PD1110"
        )
    return method, path


def fingerprint(value: object) -> str:
    """Read a SHA-256 in hex, with or without colons; returned as 64 lower-case digits."""
    text = value.replace(":", "").lower() if isinstance(value, str) else ""
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise unreadable(
            f"`{shown(value)}` is not a SHA-256",
            hint="64 hex digits, as `openssl x509 -noout -fingerprint -sha256` prints them",
        )
    return text


def https_url(value: object) -> str:
    """Read an `https` URL with a host, as it is written."""
    try:
        parts = urlsplit(value) if isinstance(value, str) and len(value) <= 2_048 else None
        good = parts is not None and parts.scheme == "https" and bool(parts.hostname) and parts.username is None
    except ValueError:
        good = False
    if not good or not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        raise unreadable(f"`{shown(value)}` is not an `https` URL", hint="for example `https://login.example/keys`")
    return value


def path_pattern(value: object) -> PathPattern:
    """Read a pattern of the one path grammar."""
    if not isinstance(value, str):
        raise unreadable(f"`{shown(value)}` is not a path", hint="for example `/v1/orders/{id}`", code="PD1110")
    if len(value) > LONGEST_PATTERN:
        said = f"path `{shown(value)}` has more than {LONGEST_PATTERN:,} characters"
        raise unreadable(said, hint="a last `/**` stands for the rest", code="PD1110")
    try:
        return PathPattern.parse(value)
    except PathSyntaxError as problem:
        raise unreadable(
            str(problem),
            hint="literal segments, `{name}` for one segment, a last `/**` for the rest",
            code="PD1110",
        ) from None


def _text(pattern: str, **extra: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": pattern, **extra})


Milliseconds = Annotated[int, PlainValidator(duration_ms), _text(r"^[0-9]+(ms|s|m|h|d|w|y)$")]
Time = Annotated[int, PlainValidator(positive_ms), _text(r"^[0-9]*[1-9][0-9]*(ms|s|m|h|d|w|y)$")]
"""A duration above zero."""
OpensloSeconds = Annotated[int, PlainValidator(openslo_seconds), _text(r"^[0-9]+[mhdwMQY]$")]
Share = Annotated[int, PlainValidator(share_bp), _text(r"^[0-9]{1,3}(\.[0-9]{1,2})?%$")]
Step = Annotated[
    int, PlainValidator(step_bp), WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "maximum": 100})
]
Objective = Annotated[
    float,
    PlainValidator(objective),
    WithJsonSchema({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 100}),
]
Instant = Annotated[datetime, PlainValidator(instant), _text(r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([Tt ].*)?$")]
Address = Annotated[str, PlainValidator(address), WithJsonSchema({"type": "string"})]
AppAddress = Annotated[tuple[str, int], PlainValidator(app_address), _text(r"^.+:[0-9]{1,5}$")]
Port = Annotated[int, Field(ge=1, le=65_535)]
Label = Annotated[str, PlainValidator(label), _text(r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
Reference = Annotated[
    str, PlainValidator(reference), _text(r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?/)?[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
]
Caller = Annotated[str, PlainValidator(caller), WithJsonSchema({"type": "string"})]
TrustDomain = Annotated[str, PlainValidator(trust_domain), _text(r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$")]
Identity = Annotated[str, PlainValidator(identity), _text(r"^spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+$")]
IpBlock = Annotated[str, PlainValidator(ip_block), _text(r"^[0-9a-fA-F.:]+(/[0-9]{1,3})?$")]
RequestLine = Annotated[tuple[str, str], PlainValidator(request_line), _text(r"^([^ ]+ [^ ]+|CONNECT)$")]
Fingerprint = Annotated[str, PlainValidator(fingerprint), _text(r"^([0-9A-Fa-f]{2}:?){32}$")]
HttpsUrl = Annotated[str, PlainValidator(https_url), _text(r"^https://")]
Path = Annotated[PathPattern, PlainValidator(path_pattern), _text(r"^/")]
