"""The real proxy's judgement of a configuration."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from policyd.base.errors import Retry, Stalled, UsageError
from policyd.compiler.protocol import Validation
from policyd.delivery.binaries import find_envoy, find_program
from policyd.delivery.validate import validate

ARGUMENTS = ("--mode", "validate", "-c", "{dir}/envoy.json", "--disable-hot-restart", "--concurrency", "1")


def of(config: object) -> Validation:
    return Validation("envoy", ARGUMENTS, {"envoy.json": json.dumps(config).encode()})


async def test_a_sound_configuration_is_accepted(envoy_binary: Path) -> None:
    verdict = await validate(of({"static_resources": {}}), envoy_binary, 30)
    assert verdict.accepted
    assert verdict.reason == ""


async def test_a_refused_configuration_says_why_in_the_proxys_words(envoy_binary: Path) -> None:
    verdict = await validate(of({"static_resources": {"clusters": [{"nmae": "a"}]}}), envoy_binary, 30)
    assert not verdict.accepted
    assert "nmae" in verdict.reason


async def test_a_program_that_does_not_decide_is_ended() -> None:
    hangs = Validation("python", ("-c", "import time; time.sleep(60)"), {})
    with pytest.raises(Retry):
        await validate(hangs, Path(sys.executable), 0.3)


async def test_a_missing_program_needs_a_person() -> None:
    with pytest.raises(Stalled):
        await validate(of({}), Path("/nowhere/envoy"), 5)


async def test_no_file_is_written_outside_the_folder() -> None:
    with pytest.raises(Stalled):
        await validate(Validation("x", (), {"../escaped": b""}), Path(sys.executable), 5)


def test_the_binary_is_found_and_not_its_wrapper(envoy_binary: Path) -> None:
    found = find_envoy()
    assert found is not None
    assert found.read_bytes()[:4] == b"\x7fELF"
    assert find_envoy(envoy_binary) == envoy_binary
    assert find_program("envoy") == found


def test_an_explicit_path_must_exist() -> None:
    with pytest.raises(UsageError):
        find_envoy(Path("/nowhere/envoy"))
