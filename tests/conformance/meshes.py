"""Meshes around the edges of what rules can say: each field of a rule, alone and with the others.

The pools are small, so that rules and requests meet often and miss each other by little.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from hypothesis import strategies as st

from policyd.model.access import ANY_METHOD, Access, Mode, Permit, Rule, Source
from policyd.model.mesh import Mesh, Settings
from policyd.model.methods import METHODS
from policyd.model.names import Name, spiffe_id
from policyd.model.paths import EVERYTHING, PathPattern
from policyd.model.service import Protocol
from policyd.model.tokens import Issuer, TokenCondition
from policyd.testing import build

DOMAIN = "shop.example"
PORT, OTHER_PORT = build.PORT, 9_090
WEB, PROBE = Name("default", "web"), Name("ops", "probe")
DESTINATIONS = (Name("default", "orders"), Name("pay", "payments"))
CLOSED = Name("pay", "closed")
OPAQUE = Name("default", "store")
QUEUE = Name("pay", "queue")
"""Takes connections."""
MEMBERS = (WEB, PROBE, *DESTINATIONS)
IDENTITIES = (
    *(spiffe_id(DOMAIN, name) for name in MEMBERS),
    "spiffe://partner.example/ns/default/svc/web",
    f"spiffe://{DOMAIN}.evil/ns/default/svc/web",
    f"spiffe://{DOMAIN}/ns/default/svc/web2",
    f"spiffe://{DOMAIN}/ns/default/svc/web/deeper",
    f"spiffe://{DOMAIN}/ns/ops2/svc/probe",
    f"spiffe://{DOMAIN}/ns/ops",
    f"spiffe://{DOMAIN}/agent",
    f"spiffe://{DOMAIN}/NS/default/svc/web",
)
NOT_CANONICAL_IDENTITIES = (
    f"spiffe://{DOMAIN}/ns/default/svc/web/",
    f"spiffe://{DOMAIN}/ns/default/svc//web",
    f"spiffe://{DOMAIN}/ns/ops/svc/../probe",
    f"spiffe://{DOMAIN}/ns/ops/svc/.",
    f"spiffe://{DOMAIN}/ns/ops/svc/%70robe",
    f"spiffe://{DOMAIN}/ns/ops/svc/probe?x",
    f"spiffe://{DOMAIN}/",
    f"spiffe://{DOMAIN}",
    "spiffe://Partner.example/ns/default/svc/web",
    f"spiffe://{DOMAIN}/ns/ops/svc/probe,spiffe://{DOMAIN}/agent",
)
"""No certificate of a workload says so, but one that the root has signed by mistake could."""
SEGMENTS = ("v1", "orders", "7", "%20", "a.b", "...", "~", "$&'()*+,=:@!")
TICK = timedelta(microseconds=1)
CLAIMS = ("role", "team")
VALUES = ("admin", "ops", 'a "b"', "é", "")

BLOCKS = (
    "10.0.0.0/8", "10.1.2.0/24", "10.1.2.3/32", "0.0.0.0/0", "255.255.255.255/32", "2001:db8::/32", "2001:db8::7/128",
    "::/0", "::/96", "::ffff:10.1.0.0/112", "fe80::/10",
)  # fmt: skip
ADDRESSES = (
    "10.1.2.3", "10.1.2.4", "10.1.3.0", "9.255.255.255", "11.0.0.0", "255.255.255.255", "0.0.0.0", "::ffff:10.1.2.3",
    "::FFFF:a01:203", "2001:db8::7", "2001:DB8:0:0:0:0:0:7", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::",
    "::", "::1", "::10.1.2.3", "fe80::1", "fe80::1%eth0", "10.1.2.03", "10.1.2", "10.1.2.3.", " 10.1.2.3",
    "10.1.2.3/32", "::ffff:10.1.2.3.4", "1::2::3", ":::", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::", "nonsense",
    "1:2:3:4:5:6:10.1.2.3", "\u0661\u0660.1.2.3", "[::1]", "0x0a.1.2.3", "167838211",
)  # fmt: skip


@dataclass(frozen=True)
class Pools:
    """What meshes and requests of one run are drawn from, and the instant that expiries are near to."""

    blocks: tuple[str, ...]
    addresses: tuple[str, ...]
    expiries: tuple[datetime, ...]
    issuers: tuple[Issuer, ...]

    @classmethod
    def around(cls, at: datetime) -> Pools:
        """Everything that can be decided without a proxy."""
        return cls(
            blocks=BLOCKS,
            addresses=ADDRESSES,
            expiries=(at - timedelta(days=1), at - TICK, at, at + TICK, at + timedelta(days=1)),
            issuers=(Issuer("login", "https://login.example/"), Issuer("other", "https://other.example")),
        )


patterns = st.builds(
    lambda parts, end, rest: PathPattern((*parts, *end) if parts or end or rest else ("",), rest),
    st.lists(st.sampled_from((*SEGMENTS, None, None)), max_size=3),
    st.sampled_from([(), (), (), ("",)]),
    st.booleans(),
).filter(lambda pattern: not (pattern.rest and pattern.segments[-1:] == ("",)))
methods = st.lists(st.sampled_from((*METHODS, "GET", "POST", ANY_METHOD)), min_size=1, max_size=3, unique=True)
permits = st.builds(
    Permit,
    methods=methods.map(tuple),
    paths=st.lists(patterns, min_size=1, max_size=2).map(tuple),
    ports=st.sampled_from([(), (), (), (PORT,), (PORT, OTHER_PORT), (OTHER_PORT,)]),
)


def some(values: tuple[str, ...] | tuple[Name, ...], most: int = 2) -> st.SearchStrategy[tuple[Any, ...]]:
    """A few of the values."""
    return st.lists(st.sampled_from(values), min_size=1, max_size=most).map(tuple)


@cache
def sources(pools: Pools) -> st.SearchStrategy[Source]:
    """Sources that say one thing, seldom two; one that says nothing means nobody."""
    one: list[st.SearchStrategy[dict[str, Any]]] = [
        st.fixed_dictionaries({"services": some(MEMBERS)}),
        st.fixed_dictionaries({"namespaces": some(("default", "ops", "gone"), 1)}),
        st.fixed_dictionaries({"identities": some(IDENTITIES)}),
        st.just({"anyone": True}),
        st.fixed_dictionaries({"ip_blocks": some(pools.blocks)}),
    ]
    said = st.one_of(one)
    both = st.tuples(said, said).map(lambda two: two[0] | two[1])
    return st.one_of(said, said, said, both, st.just({})).map(lambda fields: Source(**fields))


@cache
def conditions(pools: Pools) -> st.SearchStrategy[TokenCondition | None]:
    """No token, most often; else one of a known issuer, or of one who is gone."""
    values = st.lists(st.sampled_from(VALUES), min_size=1, max_size=2).map(tuple)
    claims = st.dictionaries(st.sampled_from(CLAIMS), values, max_size=2).map(
        lambda said: tuple(sorted(said.items()))
    )
    known = [issuer.name for issuer in pools.issuers]
    asked = st.builds(TokenCondition, st.sampled_from([*known, *known, "gone"]), claims)
    return st.one_of(st.none(), st.none(), asked)


@cache
def rules(to: Name, pools: Pools) -> st.SearchStrategy[tuple[Rule, ...]]:
    """The rules of one destination, in order of name."""
    names = st.sampled_from([Name(to.namespace, letter) for letter in "abcde"])
    made = st.builds(
        Rule,
        names,
        st.lists(sources(pools), min_size=1, max_size=2).map(tuple),
        st.lists(permits, min_size=1, max_size=2).map(tuple),
        st.sampled_from([Mode.ENFORCE, Mode.ENFORCE, Mode.OBSERVE]),
        st.one_of(st.none(), st.none(), st.sampled_from(pools.expiries)),
        conditions(pools),
        st.lists(names, max_size=3).map(tuple),
    )
    several = st.lists(made, min_size=1, max_size=4, unique_by=lambda rule: rule.name)
    return several.map(lambda said: tuple(sorted(map(_as_lowered, said), key=lambda rule: rule.name)))


def _as_lowered(rule: Rule) -> Rule:
    """A rule that decides stands for no others."""
    return rule if rule.mode is Mode.OBSERVE else replace(rule, replaces=())


@cache
def meshes(pools: Pools, *, connections: bool = False) -> st.SearchStrategy[Mesh]:
    """Meshes with destinations of several namespaces; one has no rules, one has opaque paths.

    `connections`: one takes connections, which are asked for otherwise than requests are.
    """
    revoked = st.one_of(st.just(()), some(IDENTITIES, 3))
    special = (OPAQUE, QUEUE) if connections else (OPAQUE,)
    return st.builds(
        lambda said, revoked: _mesh(said, revoked, pools),
        st.fixed_dictionaries(
            {name: rules(name, pools) for name in DESTINATIONS}
            | {OPAQUE: rules(OPAQUE, pools).map(lambda said: tuple(map(_opaque, said)))}
            | ({QUEUE: rules(QUEUE, pools).map(lambda said: tuple(map(_connecting, said)))} if connections else {})
        ),
        st.fixed_dictionaries(dict.fromkeys((*DESTINATIONS, *special), revoked)),
    )


def _mesh(said: Mapping[Name, tuple[Rule, ...]], revoked: Mapping[Name, tuple[str, ...]], pools: Pools) -> Mesh:
    services = [
        build.service(
            str(name),
            {"v1": [f"10.0.9.{number}"]},
            opaque_paths=name == OPAQUE,
            protocol=Protocol.TCP if name == QUEUE else Protocol.HTTP,
        )
        for number, name in enumerate((*said, CLOSED), 1)
    ]
    access = [Access(name, rules, revoked[name]) for name, rules in said.items()]
    return build.mesh(services, access, settings=Settings("shop", DOMAIN, issuers=pools.issuers))


def _connecting(rule: Rule) -> Rule:
    """The rule for connections; where it is for every method, as it is: `*` lets no connection in."""
    permits = tuple(
        permit if ANY_METHOD in permit.methods else Permit.of_connections(permit.ports) for permit in rule.permits
    )
    return replace(rule, permits=permits)


def _opaque(rule: Rule) -> Rule:
    """The rule for every path: lowering refuses any other one where paths are opaque."""
    return replace(rule, permits=tuple(replace(permit, paths=(EVERYTHING,)) for permit in rule.permits))
