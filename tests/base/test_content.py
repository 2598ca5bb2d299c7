"""Names by content: equal values, equal digests; different values, different digests."""

from __future__ import annotations

import enum
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.base.content import DIGEST_LENGTH, digest, digest_bytes


@dataclass(frozen=True)
class Point:
    x: int
    y: int = 0
    note: str = field(default="", compare=False)


@dataclass(frozen=True)
class Vector:
    x: int
    y: int = 0


class Colour(enum.Enum):
    RED = "red"


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


@given(plain, plain)
def test_equal_digests_mean_equal_json(one: object, other: object) -> None:
    if repr(one) == repr(other):
        assert digest(one) == digest(other)
    if one != other:
        assert digest(one) != digest(other)


@given(st.dictionaries(st.text(), st.integers()))
def test_the_order_of_a_mapping_does_not_count(mapping: dict[str, int]) -> None:
    assert digest(mapping) == digest(dict(reversed(mapping.items())))


def test_what_equality_leaves_out_the_digest_leaves_out() -> None:
    assert digest(Point(1, note="here")) == digest(Point(1, note="there"))
    assert digest(Point(1)) != digest(Point(2))


def test_the_kind_of_a_value_counts() -> None:
    assert digest(Point(1)) != digest(Vector(1))
    assert digest((1, 2)) == digest([1, 2])
    assert digest("1") != digest(1) != digest(True)


def test_enums_and_instants() -> None:
    assert digest(Colour.RED) == digest("red")
    assert digest(datetime(2027, 1, 1, tzinfo=UTC)) != digest(datetime(2027, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize("value", [object(), {1, 2}, b"bytes", Point])
def test_what_has_no_digest_says_so(value: object) -> None:
    with pytest.raises(TypeError, match="no content digest"):
        digest(value)


def test_digests_are_short_hex_and_the_same_in_every_process() -> None:
    value = {"b": [1, None, "ü"], "a": 0.5}
    name = digest(value)
    assert len(name) == DIGEST_LENGTH == len(digest_bytes(b""))
    assert int(name, 16) >= 0
    code = f"from policyd.base.content import digest; print(digest({value!r}))"
    for seed in ("0", "1"):
        answer = subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        )
        assert answer.stdout.strip() == name
