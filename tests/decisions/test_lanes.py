"""The short way of most requests says what the comparisons say, one rule after the other."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from policyd.decisions.compiled import CompiledRule
from policyd.decisions.lanes import NONE, Lane
from policyd.model.access import ANY_METHOD, Permit, Rule, Source
from policyd.model.names import Name
from policyd.model.paths import PathPattern

PATTERNS = (
    "/",
    "/{a}",
    "/**",
    "/v1",
    "/v1/",
    "/v1/{a}",
    "/v1/**",
    "/v1/items",
    "/v1/{a}/items",
    "/{a}/{b}",
    "/v1/items/{a}",
    "/v1/items/{a}/**",
    "/v1/items/GET",
)
PATHS = (
    "/",
    "/v1",
    "/v1/",
    "/v1/items",
    "/v1/items/",
    "/v1/items/7",
    "/v1/items/GET",
    "/v1/7/items",
    "/v1/items/7/8",
)
permits = st.builds(
    Permit,
    st.lists(st.sampled_from(["GET", "POST", ANY_METHOD]), min_size=1, max_size=2).map(tuple),
    st.lists(st.sampled_from(PATTERNS).map(PathPattern.parse), min_size=1, max_size=3).map(tuple),
)
rules = st.lists(st.lists(permits, min_size=1, max_size=3), min_size=1, max_size=5)


def compiled(permits: list[list[Permit]]) -> list[CompiledRule]:
    made = [
        Rule(Name("default", f"r{number}"), (Source(anyone=True),), tuple(each))
        for number, each in enumerate(permits)
    ]
    return [CompiledRule.of(rule, port=80, opaque_paths=False, issuers={}) for rule in made]


@given(rules, st.sampled_from(["GET", "POST", "PUT"]), st.sampled_from(PATHS))
@example(
    [[Permit(("GET",), (PathPattern.parse("/v1/{a}"),))], [Permit(("GET",), (PathPattern.parse("/v1/"),))]],
    "GET",
    "/v1/",
)
def test_a_lane_finds_the_first_rule_that_permits(permits: list[list[Permit]], method: str, path: str) -> None:
    ready = compiled(permits)
    lanes = [lane for position, rule in enumerate(ready) if (lane := Lane.of(position, rule)) is not None]
    assert len(lanes) == len(ready)
    expected = next((position for position, rule in enumerate(ready) if rule.permits(method, path)), NONE)
    assert Lane.joined(lanes).first(method, path) == expected
