"""Requests that some rule allows, or that miss one by little: made from the rules of a mesh, then bent.

They are chosen by a `Random` that hypothesis draws, not by draws of their own, so that thousands cost little.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from random import Random

from policyd.decisions import NO_TOKEN, Token, TokenState
from policyd.model.access import ANY_METHOD, Source
from policyd.model.mesh import Mesh
from policyd.model.methods import CONNECTION, METHODS
from policyd.model.names import Name, namespace_prefix, spiffe_id
from policyd.model.paths import PathPattern
from policyd.model.service import Protocol
from tests.conformance.meshes import (
    CLAIMS,
    DOMAIN,
    IDENTITIES,
    NOT_CANONICAL_IDENTITIES,
    OTHER_PORT,
    PORT,
    SEGMENTS,
    VALUES,
    Pools,
)
from tests.conformance.sent import Sent

FORGERIES = ("signature", "expired", "audience", "none", "twice", "issuer", "nonsense")
"""How a token can be no good."""
ODD_PIECES = (
    "", ".", "..", "...", ".a", "a.", "%2F", "%2f", "%5C", "%5c", "%00", "%2E", "%2e", "%2e%2e", "%41", "%7E",
    "%7F", "%20", "%C3%A9", "%c3%a9",
    "%25", "%252F", "%3F", "%3B", "%", "%2", "%zz", "a;b", ";", "a\\b", "a|b", 'a"b', "<", "{id}", "^", "`", "[",
    "*", "**", "V1", "v1x", "a#b",
    "-_", "a%2Fb", "a b",
)  # fmt: skip
QUERIES = ("?", "?a", "?/../x", "?a=//&b=%2F", "?a?b", "?%zz", "?a#b", "?é", '?"<>\\^`{|}', "?;")
ODD_TARGETS = (
    "*",
    "v1",
    "//",
    "/",
    "",
    "/..",
    "/%2e%2e/",
    "http://a/v1",
    "?",
    "/?",
    "/v1/../v1",
    "/v1/.",
    "\\v1",
    "/v1\\",
)
ODD_METHODS = ("get", "Get", "TRACE", "CONNECT", "PROPFIND", "FOO", "G", "GETS", "PATCHY", "OPTION")
GOOD_HOSTS = (
    "a",
    "orders",
    "Orders.Default",
    "a.",
    "a:80",
    "a.:80",
    "a:",
    "a..b",
    "a-b",
    "10.0.0.1",
    "[::1]",
    "[::1]:80",
    "1",
    "a:65535",
    "a:4294967295",
    "a.:+1234567890",
    "[::1]:00000000000080",
)
ODD_HOSTS = (
    "a..", "-a", "a-", "a_b", "a b", "a@b", "u@a:80", "a/b", "a,b", "[::1", "a:80:80", "a:x", ":80", ".",
    "a:123456", "a:12345678901", "a:4294967296", "[::1]:9999999999", "a:9999999999.", "a:" + "0" * 300 + "1",
    "a%20", "a:80.", "a:.",
    "a.:", "[g]", "*", "a?b", "a#b", "[::1].", "[::1]x", "::1", "[]", "a:+1", "a.:+1", "a:-1",
    "a: 1", "a:0x1", "a;b", "(a)", "a\\b", "%61",
    "\u212aey", "é",
)  # fmt: skip
UNHEEDED = (
    ("x-forwarded-client-cert", f"URI={IDENTITIES[0]}"), ("x-forwarded-for", "10.1.2.3"),
    ("x-forwarded-for", "127.1.2.3"), ("x-real-ip", "127.1.2.3"),
    ("x-envoy-original-path", "/v1"), ("x-envoy-original-method", "GET"), ("x-http-method-override", "GET"),
    ("x-original-url", "/v1"),
    ("x-forwarded-host", "orders"), ("x-envoy-internal", "true"), ("x-envoy-external-address", "127.1.2.3"),
    ("forwarded", "for=127.1.2.3"),
)  # fmt: skip
"""Headers that others have believed."""
NOBODY = (
    Name("default", "payments"), Name("pay", "orders"), Name("default", "nobody"), Name("pay", "a/b"), Name("", ""),
)  # fmt: skip
"""Destinations that are none."""
ODD_CLAIMS: tuple[object, ...] = (
    None, True, 1, {"admin": "admin"}, [["admin"]], "Admin", "admin ", [], ["x", "admin"], [None, "ops"], [1],
)  # fmt: skip
Bend = Callable[[Random, Sent, Pools], Sent]


def request(choose: Random, mesh: Mesh, pools: Pools) -> Sent:
    """One request, near some rule of the mesh if there is one."""
    to = choose.choice([name for name in mesh.services if mesh.access[name].rules] or list(mesh.services))
    sent = fitting(choose, mesh, to, pools)
    for bend in choose.sample(BENDS, choose.choice((0, 0, 1, 1, 1, 2, 2))):
        sent = bend(choose, sent, pools)
    return sent


def fitting(choose: Random, mesh: Mesh, to: Name, pools: Pools) -> Sent:
    """A request that fits one rule of the destination, unless that rule fits nothing."""
    said = mesh.access[to].rules
    if not said:
        return Sent(IDENTITIES[0], to, "GET", "/v1")
    rule = choose.choice(said)
    connects = mesh.services[to].protocol is Protocol.TCP
    permit, source = choose.choice(rule.permits), choose.choice(rule.sources)
    method = choose.choice(permit.methods)
    sent = Sent(
        choose.choice(callers(source)),
        to,
        CONNECTION if connects else choose.choice(METHODS) if method == ANY_METHOD else method,
        "" if connects else path_in(choose, choose.choice(permit.paths)),
        ip=choose.choice([each for each in pools.addresses if within(each, source.ip_blocks)] or pools.addresses),
    )
    if rule.token is None:
        return sent
    urls = {issuer.name: issuer.url for issuer in pools.issuers}
    claims = {name: said_claim(choose, values) for name, values in rule.token.claims}
    return replace(sent, token=Token(TokenState.VALID, urls.get(rule.token.issuer, "https://gone/"), claims))


@cache
def callers(source: Source) -> list[str]:
    """Identities that the source means, if it means any that are known here."""
    whole = {spiffe_id(DOMAIN, name) for name in source.services}
    listed = set(source.identities)
    named = whole & listed if whole and listed else whole | listed
    prefixes = tuple(namespace_prefix(DOMAIN, namespace) for namespace in source.namespaces)
    among = [each for each in sorted(named or IDENTITIES) if not prefixes or each.startswith(prefixes)]
    own = [each for each in among if not source.anyone or each.startswith(f"spiffe://{DOMAIN}/")]
    return own or list(IDENTITIES)


@cache
def within(address: str, blocks: tuple[str, ...]) -> bool:
    """Whether an address is in one of the blocks, as far as it is written in their family."""
    try:
        return any(ipaddress.ip_address(address) in ipaddress.ip_network(block) for block in blocks)
    except ValueError:
        return False


def path_in(choose: Random, pattern: PathPattern) -> str:
    """A path in the set of a pattern."""
    parts = [choose.choice(SEGMENTS) if part is None else part for part in pattern.segments]
    if pattern.rest:
        parts += choose.choice(([], [""], ["x"], ["x", "y"], ["x", ""]))
    return "/" + "/".join(parts)


def said_claim(choose: Random, values: tuple[str, ...]) -> object:
    """A claim that a rule wants, as a string or in a list."""
    value = choose.choice(values)
    return choose.choice((value, value, ["other", value]))


def _path(choose: Random, sent: Sent, _: Pools) -> Sent:
    """Put a piece in, take one out, or exchange one."""
    bare, mark, query = sent.path.partition("?")
    pieces = bare.split("/")[1:] or [""]
    at = choose.randrange(len(pieces))
    piece = choose.choice((*ODD_PIECES, *SEGMENTS, *SEGMENTS))
    was = pieces[at]
    pieces[at : at + 1] = choose.choice(([piece, was], [piece], [was + piece], [], [was, piece], [was, ""]))
    return replace(sent, path="/" + "/".join(pieces) + mark + query)


def _asterisk(_: Random, sent: Sent, __: Pools) -> Sent:
    """The one request without a path that is good HTTP (RFC 9110, section 9.3.7)."""
    return replace(sent, method="OPTIONS", path="*")


def _target(choose: Random, sent: Sent, _: Pools) -> Sent:
    return replace(sent, path=choose.choice(ODD_TARGETS))


def _query(choose: Random, sent: Sent, _: Pools) -> Sent:
    return replace(sent, path=sent.path + choose.choice(QUERIES))


def _method(choose: Random, sent: Sent, _: Pools) -> Sent:
    return replace(sent, method=choose.choice((*METHODS, "GET", "HEAD")))


def _odd_method(choose: Random, sent: Sent, _: Pools) -> Sent:
    return replace(sent, method=choose.choice(ODD_METHODS))


def _host(choose: Random, sent: Sent, _: Pools) -> Sent:
    return replace(sent, hosts=(choose.choice(GOOD_HOSTS),))


def _odd_host(choose: Random, sent: Sent, _: Pools) -> Sent:
    several = (choose.choice(GOOD_HOSTS), choose.choice(GOOD_HOSTS))
    return replace(sent, hosts=choose.choice(((choose.choice(ODD_HOSTS),), several)))


def _source(choose: Random, sent: Sent, _: Pools) -> Sent:
    return replace(sent, source=choose.choice(IDENTITIES))


def _ip(choose: Random, sent: Sent, pools: Pools) -> Sent:
    return replace(sent, ip=choose.choice((*pools.addresses, "")))


def _port(choose: Random, sent: Sent, _: Pools) -> Sent:
    return replace(sent, port=choose.choice((PORT, PORT, OTHER_PORT, 0)))


def _to(choose: Random, sent: Sent, _: Pools) -> Sent:
    return replace(sent, destination=choose.choice(NOBODY))


def _headers(choose: Random, sent: Sent, _: Pools) -> Sent:
    return replace(sent, headers=tuple(choose.sample(UNHEEDED, choose.randint(1, 3))))


def _nobody(choose: Random, sent: Sent, _: Pools) -> Sent:
    nobody = ("", "web", "SPIFFE://shop.example/ns/default/svc/web", "spiffe:/x/y")
    return replace(sent, source=choose.choice((*nobody, *NOT_CANONICAL_IDENTITIES)))


def _token(choose: Random, sent: Sent, pools: Pools) -> Sent:
    """Another token, a bad one, or none."""
    state = choose.choice((TokenState.ABSENT, TokenState.INVALID, TokenState.VALID))
    if state is TokenState.ABSENT:
        return replace(sent, token=NO_TOKEN)
    if state is TokenState.INVALID:
        token = Token(state, sent.token.issuer, sent.token.claims)
        return replace(sent, token=token, forged=choose.choice(FORGERIES))
    claims = {name: choose.choice((*VALUES, *ODD_CLAIMS)) for name in choose.sample(CLAIMS, choose.randint(0, 2))}
    return replace(
        sent, token=Token(state, choose.choice(pools.issuers).url, {**sent.token.claims, **claims}), forged=""
    )


def _other_issuer(choose: Random, sent: Sent, _: Pools) -> Sent:
    issuer = choose.choice(("https://login.example", "https://other.example/", "login", ""))
    return replace(sent, token=Token(TokenState.VALID, issuer, sent.token.claims), forged="")


BENDS: tuple[Bend, ...] = (
    _path, _path, _path, _asterisk, _target, _query, _method, _method, _odd_method, _host, _odd_host, _source,
    _source, _token, _token, _other_issuer, _ip,
    _ip, _port, _to, _nobody, _headers,
)  # fmt: skip
"""Every way to bend a request, the more telling ones more often."""
