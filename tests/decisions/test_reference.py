"""The index against the order of decision read word for word, on whatever hypothesis draws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from policyd.decisions import Index, Obstacle, Request, Token, TokenState
from policyd.model.access import ANY_METHOD, Access, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh, Settings
from policyd.model.methods import METHODS
from policyd.model.names import Name, spiffe_id
from policyd.model.paths import EVERYTHING, PathPattern
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
URLS = {"login": "https://login.example/", "other": "https://other.example/"}

names = st.integers(0, 5).map(lambda number: Name("default", f"r{number}"))
patterns = st.builds(
    lambda parts, rest: PathPattern(tuple(parts) if parts or rest else ("",), rest),
    st.lists(st.sampled_from([*SEGMENTS, None]), max_size=3),
    st.booleans(),
)
sources = st.builds(
    Source,
    services=st.lists(st.sampled_from(SERVICES), max_size=2).map(tuple),
    namespaces=st.lists(st.sampled_from(["ops", "default", "elsewhere"]), max_size=1).map(tuple),
    identities=st.lists(st.sampled_from(IDENTITIES), max_size=2).map(tuple),
    anyone=st.booleans(),
    ip_blocks=st.lists(st.sampled_from(BLOCKS), max_size=2).map(tuple),
)
permits = st.builds(
    Permit,
    methods=st.lists(st.sampled_from([*METHODS, ANY_METHOD]), min_size=1, max_size=2).map(tuple),
    paths=st.lists(patterns, min_size=1, max_size=2).map(tuple),
    ports=st.sampled_from([(), (build.PORT,), (9_090,), (build.PORT, 9_090)]),
)
wanted_tokens = st.none() | st.builds(
    TokenCondition,
    issuer=st.sampled_from([*URLS, "gone"]),
    claims=st.sampled_from([(), (("role", ("admin", "ops")),), (("role", ("admin",)), ("team", ("pay",)))]),
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    mode = draw(st.sampled_from(Mode))
    return Rule(
        name=draw(names),
        sources=tuple(draw(st.lists(sources, min_size=1, max_size=2))),
        permits=tuple(draw(st.lists(permits, min_size=1, max_size=2))),
        mode=mode,
        expires=draw(st.sampled_from([None, AT - TICK, AT, AT + TICK])),
        token=draw(wanted_tokens),
        replaces=tuple(draw(st.lists(names, max_size=2))) if mode is Mode.OBSERVE else (),
    )


@st.composite
def meshes(draw: st.DrawFn) -> Mesh:
    said = draw(st.lists(rules(), max_size=5, unique_by=lambda rule: rule.name))
    opaque = draw(st.integers(0, 9)) == 0
    if opaque:  # as lowering has it: a service with opaque paths has no rule about them
        said = [
            Rule(
                rule.name,
                rule.sources,
                tuple(Permit(permit.methods, (EVERYTHING,), permit.ports) for permit in rule.permits),
                rule.mode,
                rule.expires,
                rule.token,
                rule.replaces,
            )
            for rule in said
        ]
    revoked = draw(st.lists(st.sampled_from(IDENTITIES), max_size=1).map(tuple))
    access = Access(PAYMENTS, tuple(sorted(said, key=lambda rule: rule.name)), revoked)
    services = [
        build.service("payments", {"v1": ["10.0.0.3"]}, opaque_paths=opaque),
        build.service("closed", {"v1": ["10.0.0.4"]}),
    ]
    issuers = tuple(Issuer(name, url) for name, url in URLS.items())
    return build.mesh(services, [access], settings=Settings("test", DOMAIN, issuers=issuers))


paths = st.lists(st.sampled_from(SEGMENTS), max_size=3) | st.lists(st.sampled_from([*SEGMENTS, *ODD]), max_size=4)
claims = st.dictionaries(
    st.sampled_from(["role", "team"]),
    st.sampled_from(["admin", "dev", "pay", "", 1, None, True, ["admin"], ["dev", "ops"], [], [1], {"admin": 1}]),
)
requests = st.builds(
    Request,
    source=st.sampled_from([*IDENTITIES, "web"]),
    destination=st.sampled_from([PAYMENTS] * 8 + [CLOSED, Name("default", "nowhere")]),
    method=st.sampled_from([*METHODS, *METHODS, "get", "TRACE", "CONNECT", ""]),
    path=st.builds(lambda parts, query: "/" + "/".join(parts) + query, paths, st.sampled_from(["", "", "?a=/../b"])),
    host=st.sampled_from(["", "payments", "PAYMENTS.default.:80"]),
    ip=st.sampled_from(ADDRESSES),
    port=st.sampled_from([None, None, build.PORT, 9_090]),
    token=st.builds(
        Token, st.sampled_from(TokenState), st.sampled_from([*URLS.values(), "login", ""]), claims
    ),
)  # fmt: skip


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
