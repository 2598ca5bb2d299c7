"""What `status --wait-for` takes for live, for lost, and for not yet."""

from __future__ import annotations

from typing import Any

import pytest

from policyd.cli.waiting import awaited, failed
from tests.cli.conftest import Policyd

COMMIT = "c" * 40


def answer(**changed: Any) -> dict[str, Any]:
    """A controller for which everything that `COMMIT` asks for is live."""
    return {
        "head": COMMIT,
        "commit": {"commit": COMMIT, "taken": True},
        "services": [
            {
                "service": "default/api",
                "asked": "v2",
                "diverged": "",
                "versions": [{"version": "v1", "weight": 0}, {"version": "v2", "weight": 10_000}],
            }
        ],
        "releases": [{"phase": "promoted", "title": "api v1 -> v2", "reason": ""}],
        "nodes": [{"node": "default/api/v2/127.0.2.22", "connected": True, "in_sync": True}],
        **changed,
    }


def test_live_is_live_by_any_length_of_the_id() -> None:
    for commit in (COMMIT, COMMIT[:7]):
        assert (failed(answer(), commit), awaited(answer(), commit)) == ("", "")


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"head": "", "services": [], "releases": [], "nodes": []}, "no commit yet"),
        ({"head": "d" * 40}, "the controller follows `dddddddddddd`"),
        ({"releases": [{"phase": "progressing", "title": "api v1 -> v2", "reason": "3 of 5 s"}]}, "3 of 5 s"),
        ({"nodes": [{"node": "default/api/v2/x", "connected": True, "in_sync": False}]}, "1 of 1 proxies"),
        ({"nodes": []}, "no proxy is known yet"),
    ],
)
def test_what_is_missing_is_said(changed: dict[str, Any], said: str) -> None:
    assert failed(answer(**changed), COMMIT) == ""
    assert said in awaited(answer(**changed), COMMIT)


def test_a_version_that_does_not_serve_yet_is_missing() -> None:
    now = answer()
    now["services"][0]["versions"] = [{"version": "v1", "weight": 10_000}, {"version": "v2", "weight": 0}]
    assert awaited(now, COMMIT) == "another version of `default/api` serves"


def test_a_refused_commit_and_one_that_went_back_are_lost() -> None:
    assert "was refused" in failed(answer(head="d" * 40, commit={"commit": COMMIT, "taken": False}), COMMIT)
    back = answer()
    back["services"][0]["diverged"] = "9 of 20 requests failed"
    assert "9 of 20 requests failed" in failed(back, COMMIT)
    assert failed(back, "e" * 40) == "", "another commit's fate"


def test_the_time_is_bounded(policyd: Policyd, address: str) -> None:
    done = policyd("status", "--server", address, "--wait-for", COMMIT, "--timeout", "0.3")
    assert done.exit_code == 2
    assert "is not live after 0.3 s: default/checkout v1 -> v2: progressing" in done.stderr
    none = policyd("status", "--server", address, "--wait-for", "HEAD")
    assert none.exit_code == 2
    assert "`git rev-parse HEAD` says it" in none.stderr
