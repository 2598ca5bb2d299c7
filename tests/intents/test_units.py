"""Scalars with units: what is read, exactly."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from policyd.intents import units


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("600ms", 600),
        ("2s", 2_000),
        ("5m", 300_000),
        ("24h", 86_400_000),
        ("30d", 2_592_000_000),
        ("4w", 2_419_200_000),
        ("1y", 31_536_000_000),
        ("0s", 0),
    ],
)
def test_durations(text: str, milliseconds: int) -> None:
    assert units.duration_ms(text) == milliseconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("12h", 43_200), ("30d", 2_592_000), ("1M", 2_592_000), ("1Q", 7_776_000), ("1Y", 31_536_000)],
)
def test_openslo_durations_tell_minutes_from_months(text: str, seconds: int) -> None:
    assert units.openslo_seconds(text) == seconds


@pytest.mark.parametrize(("text", "points"), [("20%", 2_000), ("0.5%", 50), ("100%", 10_000), ("33.33%", 3_333)])
def test_shares(text: str, points: int) -> None:
    assert units.share_bp(text) == points


@pytest.mark.parametrize("text", ["0%", "101%", "20", "1.234%", "-5%", "20 %", 20, None, True])
def test_no_shares(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        units.share_bp(text)


@given(st.integers(min_value=1, max_value=99_999))
def test_targets_carry_no_float_dust(thousandths: int) -> None:
    percent = thousandths / 1_000
    assert units.objective(percent) == pytest.approx(percent / 100, abs=0, rel=1e-15)
    assert len(repr(units.objective(percent))) <= 8 or "e" in repr(units.objective(percent))


def test_a_date_is_its_first_moment_in_utc() -> None:
    assert units.instant("2027-03-31") == datetime(2027, 3, 31, tzinfo=UTC)
    assert units.instant("2027-03-31T00:30:00+02:00") == datetime(2027, 3, 30, 22, 30, tzinfo=UTC)
    assert units.instant("2027-03-31t12:00z") == datetime(2027, 3, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text", ["2027-13-01", "31.3.2027", "2027-03-31T12:00:00", "0000-01-01", 20270331, "tomorrow"]
)
def test_no_instants(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        units.instant(text)


def test_addresses_have_one_spelling() -> None:
    assert units.address("2001:DB8:0:0::1") == "2001:db8::1"
    assert units.app_address("[::1]:9000") == ("::1", 9_000)


@pytest.mark.parametrize("text", ["10.0.1", "010.0.0.1", "10.0.0.1/32", "10.0.0.1:80", 167772161])
def test_no_addresses(text: object) -> None:
    with pytest.raises(PydanticCustomError):
        units.address(text)


@pytest.mark.parametrize(
    "text", ["127.0.0.1:0", "127.0.0.1:65536", "127.0.0.1:x", "127.0.0.1:²", ":80", "8.8.8.8:53"]
)
def test_no_application_addresses(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        units.app_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "spiffe://partner.example",
        "spiffe://partner.example/",
        "spiffe://Partner.example/x",
        "spiffe://partner.example/a//b",
        "spiffe://partner.example/a/../b",
        "spiffe://partner.example/a/",
        "spiffe://user@partner.example/a",
        "spiffe://partner.example:80/a",
        "spiffe://partner.example/a?b",
        "https://partner.example/a",
        "spiffe://partner.example/" + "a" * 2_048,
    ],
)
def test_no_spiffe_ids(text: str) -> None:
    with pytest.raises(PydanticCustomError):
        units.identity(text)


@given(st.text(max_size=80))
def test_readers_raise_nothing_but_findings(text: str) -> None:
    readers = (
        units.duration_ms,
        units.openslo_seconds,
        units.share_bp,
        units.step_bp,
        units.objective,
        units.instant,
        units.address,
        units.app_address,
        units.label,
        units.reference,
        units.trust_domain,
        units.identity,
        units.path_pattern,
    )
    for reader in readers:
        with contextlib.suppress(PydanticCustomError):
            reader(text)
