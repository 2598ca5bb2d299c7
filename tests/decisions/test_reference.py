"""The index against the order of decision read word for word, on whatever hypothesis draws."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from hypothesis import given
from hypothesis import strategies as st

from policyd.decisions import NO_TOKEN, Index, Obstacle, Request, Token, TokenState
from policyd.model.access import ANY_METHOD, Access, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh, Settings
from policyd.model.methods import CONNECTION, METHODS
from policyd.model.names import Name, spiffe_id
from policyd.model.paths import EVERYTHING, PathPattern
from policyd.model.service import Protocol
from policyd.model.tokens import Issuer, TokenCondition
from policyd.testing import build
from tests.decisions.reference import expected, fits_source

AT = datetime(2027, 1, 1, tzinfo=UTC)
TICK = timedelta(microseconds=1)
DOMAIN = "test.example"
PAYMENTS, CLOSED = Name("default", "payments"), Name("default", "closed")
SERVICES = [Name("default", "web"), Name("ops", "probe"), PAYMENTS]
IDENTITIES = [spiffe_id(DOMAIN, name) for name in SERVICES] + [
    "spiffe://partner.example/ns/ops/svc/probe",
    f"spiffe://{DOMAIN}/ns/ops/svc/probe/deeper",
    f"spiffe://{DOMAIN}/agent",
    f"spiffe://{DOMAIN}.evil/ns/ops/svc/probe",
]
SEGMENTS = ["v1", "charges", "7", "%20"]
ODD = ["", ".", "..", "%2F", "%2f", "a;b", "\\", "a//", "%41", "V1", "**", "{id}"]
BLOCKS = ["10.0.0.0/8", "10.1.0.0/16", "10.0.0.9/32", "::ffff:10.0.0.0/104", "2001:db8::/64", "0.0.0.0/0", "::/0"]
ADDRESSES = [
    "", "10.0.0.0", "10.255.255.255", "11.0.0.0", "10.0.0.9", "::ffff:10.1.0.0", "::ffff:9.255.255.255", "2001:db8::",
    "2001:db8:0:1::", "::10.0.0.9", "0.0.0.0", "255.255.255.255", "nonsense",
]  # fmt: skip
ADMINS = TokenCondition("login", (("role", ("admin", "ops")),))
T = TypeVar("T")
URLS = {"login": "https://login.example/", "other": "https://other.example/"}

WEB, PARTNER = Name("default", "web"), "spiffe://partner.example/ns/ops/svc/probe"

names = st.integers(0, 5).map(lambda number: Name("default", f"r{number}"))


def mostly(*usual: T) -> st.SearchStrategy[T]:
    """Values that come up again and again, so that requests and rules meet."""
    return st.sampled_from(usual)


patterns = mostly(*map(PathPattern.parse, ("/**", "/v1/**", "/v1/{id}", "/v1/charges"))) | st.builds(
    lambda parts, rest: PathPattern(tuple(parts) if parts or rest else ("",), rest),
    st.lists(st.sampled_from([*SEGMENTS, None]), max_size=3),
    st.booleans(),
)
sources = mostly(
    Source(services=(WEB,)),
    Source(services=(WEB,), ip_blocks=("10.0.0.0/8",)),
    Source(namespaces=("ops",)),
    Source(identities=(PARTNER,)),
    Source(anyone=True),
    Source(ip_blocks=("10.0.0.0/8", "2001:db8::/64")),
) | st.builds(
    Source,
    services=st.lists(st.sampled_from(SERVICES), max_size=2).map(tuple),
    namespaces=st.lists(st.sampled_from(["ops", "default", "elsewhere"]), max_size=1).map(tuple),
    identities=st.lists(st.sampled_from(IDENTITIES), max_size=2).map(tuple),
    anyone=st.booleans(),
    ip_blocks=st.lists(st.sampled_from(BLOCKS), max_size=2).map(tuple),
)
connections = mostly(
    Permit.of_connections(),
    Permit.of_connections(),
    Permit.of_connections((9_090,)),
    Permit((ANY_METHOD,), (EVERYTHING,)),
)
permits = st.builds(
    Permit,
    methods=mostly((ANY_METHOD,), ("GET",), ("GET", "POST"))
    | st.lists(st.sampled_from(METHODS), max_size=2).map(tuple),
    paths=st.lists(patterns, min_size=1, max_size=2).map(tuple),
    ports=mostly(*[()] * 6, (build.PORT,), (9_090,), (build.PORT, 9_090)),
)
wanted_tokens = st.builds(
    TokenCondition,
    issuer=mostly(*URLS, "login", "gone"),
    claims=mostly((), (("role", ("admin", "ops")),), (("role", ("admin",)), ("team", ("pay",)))),
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    mode = draw(mostly(Mode.ENFORCE, Mode.ENFORCE, Mode.OBSERVE))
    return Rule(
        name=draw(names),
        sources=tuple(draw(st.lists(sources, min_size=1, max_size=2))),
        permits=tuple(draw(st.lists(permits, min_size=1, max_size=2))),
        mode=mode,
        expires=draw(mostly(*[None] * 6, AT - TICK, AT, AT + TICK)),
        token=draw(mostly(*[None] * 6, ADMINS) | wanted_tokens),
        replaces=tuple(draw(st.lists(names, max_size=2))) if mode is Mode.OBSERVE else (),
    )


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    said = draw(st.lists(rules(), min_size=draw(mostly(4, 4, 1)), max_size=6, unique_by=lambda rule: rule.name))
    kind = draw(mostly(*["requests"] * 6, "opaque", "connections"))
    opaque = kind == "opaque"
    if kind == "connections":
        said = [replace(rule, permits=(draw(connections),)) for rule in said]
    if opaque:  # as lowering has it: a service with opaque paths has no rule about them
        said = [
            replace(rule, permits=tuple(replace(permit, paths=(EVERYTHING,)) for permit in rule.permits))
            for rule in said
        ]
    revoked = draw(mostly(*[()] * 8, (IDENTITIES[0],), (PARTNER,)))
    access = Access(PAYMENTS, tuple(sorted(said, key=lambda rule: rule.name)), revoked)
    services = [
        build.service(
            "payments",
            {"v1": ["10.0.0.3"]},
            opaque_paths=opaque,
            protocol=Protocol.TCP if kind == "connections" else Protocol.HTTP,
        ),
        build.service("closed", {"v1": ["10.0.0.4"]}),
    ]
    issuers = tuple(Issuer(name, url) for name, url in URLS.items())
    return build.mesh(services, [access], settings=Settings("test", DOMAIN, issuers=issuers))


odd_paths = st.builds(
    lambda parts, query: "/" + "/".join(parts) + query,
    st.lists(st.sampled_from([*SEGMENTS, *ODD]), max_size=4),
    st.sampled_from(["", "?a=/../b"]),
)
claims = st.dictionaries(
    st.sampled_from(["role", "team"]),
    st.sampled_from(["admin", "dev", "pay", "", 1, None, True, ["admin"], ["dev", "ops"], [], [1], {"admin": 1}]),
)
tokens = mostly(
    NO_TOKEN, NO_TOKEN, Token(TokenState.VALID, URLS["login"], {"role": "admin", "team": ["pay"]})
) | st.builds(Token, st.sampled_from(TokenState), st.sampled_from([*URLS.values(), "login", ""]), claims)
requests_of = st.builds(
    Request,
    source=mostly(*IDENTITIES[:1] * 8, PARTNER, *IDENTITIES, "web"),
    destination=mostly(*[PAYMENTS] * 16, CLOSED, Name("default", "nowhere")),
    method=mostly(*["GET"] * 16, *METHODS, "get", "TRACE"),
    path=mostly("/v1/charges", "/v1/7", "/v1/charges/7?a", "/", "/v1/", "/v1")
    | mostly("/v1/charges", "/v1/7")
    | odd_paths,
    host=mostly("", "payments", "PAYMENTS.default.:80"),
    ip=mostly("10.0.0.9", "10.0.0.9", "2001:db8::1", *ADDRESSES),
    port=mostly(*[None] * 10, build.PORT, 9_090),
    token=tokens,
)


requests = mostly(*[False] * 5, True).flatmap(
    lambda connects: requests_of.map(
        lambda sent: sent._replace(method=CONNECTION, path="") if connects else sent,
    )
)


@given(mesh=meshes(), some=st.lists(requests, min_size=1, max_size=5))
def test_the_index_says_what_the_order_of_decision_says(mesh: Mesh, some: list[Request]) -> None:
    index = Index.build(mesh)
    for request in some:
        decision = index.decide(request, AT)
        assert (decision.cause, decision.rule, decision.would) == expected(mesh, request, AT), request
        assert (decision.observer is None) is (decision.would is None)
        assert decision.reasons
        for reason in decision.reasons:
            assert reason.text
            if reason.obstacle is Obstacle.SOURCE:
                rule = next(each for each in mesh.access[PAYMENTS].rules if each.name == reason.rule)
                anywhere = [Source(s.services, s.namespaces, s.identities, s.anyone) for s in rule.sources]
                assert not any(fits_source(source, DOMAIN, request) for source in anywhere)


@given(before=meshes(), after=meshes(), request=requests)
def test_an_index_that_was_carried_over_says_the_same_as_a_new_one(
    before: Mesh, after: Mesh, request: Request
) -> None:
    carried = Index.build(after, Index.build(before)).decide(request, AT)
    fresh = Index.build(after).decide(request, AT)
    assert carried[:4] == fresh[:4]
    assert carried.reasons == fresh.reasons
