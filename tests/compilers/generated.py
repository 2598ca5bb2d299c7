"""Generated rules and services, for every target's validator."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from hypothesis import strategies as st

from policyd.model.access import Mode, Permit, Rule, Source
from policyd.model.balancing import Key, LoadBalancing, Policy, SlowStart
from policyd.model.names import Name
from policyd.model.paths import PathPattern
from policyd.model.resilience import Resilience, Retries, Timeouts
from policyd.model.service import HeaderMatch, HealthCheck, Probe, Protocol, Split
from policyd.model.tokens import TokenCondition
from tests.compilers.meshes import PAYMENTS, WEB, service

SEGMENTS = st.text("abz09._~!$&'()*+,=:@-", min_size=1, max_size=6).filter(
    lambda text: text not in {".", ".."} and "**" not in text
)
PATHS = st.builds(
    PathPattern, st.lists(SEGMENTS | st.none(), min_size=1, max_size=4).map(tuple), st.booleans()
)  # fmt: skip
SOURCES = st.builds(
    Source,
    services=st.sampled_from([(), (WEB,), (WEB, Name("ops", "x"))]),
    namespaces=st.sampled_from([(), ("shop",), ("shop", "ops")]),
    identities=st.sampled_from([(), ("spiffe://partner.example/a",)]),
    anyone=st.booleans(),
    ip_blocks=st.sampled_from([(), (), ("10.0.0.0/8", "fd00::/8"), ("192.0.2.1/32",), ("::/0",)]),
)
PERMITS = st.builds(
    Permit,
    st.sampled_from([("*",), ("GET",), ("GET", "POST")]),
    st.lists(PATHS, min_size=1, max_size=3).map(tuple),
    st.sampled_from([(), (), (8080,), (8081,), (80, 8080)]),
) | st.just(Permit.of_connections())
RULES = st.builds(
    Rule,
    st.sampled_from([Name("pay", "a"), Name("pay", "b")]),
    st.lists(SOURCES, min_size=1, max_size=3).map(tuple),
    st.lists(PERMITS, min_size=1, max_size=2).map(tuple),
    st.sampled_from(Mode),
    st.sampled_from([None, datetime(2030, 1, 1, tzinfo=UTC)]),
    st.sampled_from([None, None, TokenCondition("people", (("role", ("admin", 'it\'s "root"')),))]),
    st.sampled_from([(), (), (Name("pay", "a"),)]),
)
SERVICES = st.builds(
    replace,
    st.just(service(PAYMENTS, v1=["10.0.1.1"], v2=[])),
    protocol=st.sampled_from([Protocol.HTTP, Protocol.HTTP2, Protocol.GRPC, Protocol.TCP]),
    split=st.sampled_from(
        [Split.all_to("v1"), Split((("v1", 1), ("v2", 9_999)), HeaderMatch("x-canary", "yes"), "v2")]
    ),
    resilience=st.builds(
        Resilience,
        st.builds(Timeouts, request_ms=st.sampled_from([0, 500]), per_try_ms=st.sampled_from([0, 100])),
        st.builds(Retries, st.integers(0, 3), st.sampled_from([(), ("503", "reset"), ("unknown",), ("5xx",)])),
        load_balancing=st.builds(
            LoadBalancing,
            st.sampled_from(Policy),
            st.sampled_from([Key("x-user"), Key(cookie="a'b")]),
            slow_start=st.sampled_from([None, SlowStart(1_000, 1_500)]),
        ),
        panic=st.sampled_from([0, 1, 10_000]),
    ),
    health_check=st.sampled_from([None, HealthCheck("/healthz"), HealthCheck("", probe=Probe.TCP)]),
    opaque_paths=st.booleans(),
)
