"""What a person's word may do after a loss, and what it may not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from policyd.base.diagnostics import Finding, Location, Severity
from policyd.base.errors import UsageError
from policyd.daemon.admission import Admitted, Rejected
from policyd.daemon.lost import Found
from policyd.daemon.recovery import Recovery
from policyd.daemon.troubles import Troubles
from policyd.daemon.wallet import Wallet
from policyd.delivery.snapshot import is_kept
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.testing import build
from policyd.testing.clock import FakeClock

COMMIT = "c" * 40
WEB = Name("default", "web")
MESH = build.mesh([build.service("web", {"v1": ["10.0.0.1"]})], settings=Settings("shop", "one.example"))
REFUSED = Finding("PD2104", Severity.ERROR, "`all` allows every path", Location("a.yaml", 3, 1))


class Parts:
    """All that recovery asks, so far as these tests look: a store that is lost, and proxies that a test sets."""

    def __init__(self, wallet: Wallet) -> None:
        self.wallet = wallet
        self.lost = True
        self.outcome: Admitted | Rejected = Admitted(cast("Any", None), MESH, {}, ())
        self.recovered: list[str] = []
        self.delivered: list[bool] = []
        """For each delivery, whether nodes kept their leaf."""
        self.away: set[str] = set()
        self.found = Found()

    def serving(self) -> Any:
        return SimpleNamespace(nodes=lambda: tuple(build_nodes()))

    async def recover(self, commit: str, promoted: object) -> None:
        self.recovered.append(commit)
        self.lost = False

    async def deliver_secrets(self) -> None:
        self.delivered.append(is_kept(self.wallet.secrets(WEB)[0]))

    def resolve(self, revision: str) -> str:
        return COMMIT

    def snapshot(self, commit: str) -> None:
        return None

    async def judge_again(self, snapshot: object, trust_domain: str) -> Admitted | Rejected:
        return self.outcome

    def proxy(self, node: str) -> Any:
        return SimpleNamespace(converged=node not in self.away)


def build_nodes() -> list[Any]:
    return [SimpleNamespace(id="a"), SimpleNamespace(id="b")]


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(Wallet(tmp_path / "identity", FakeClock()))


@pytest.fixture
def remembered(tmp_path: Path) -> None:
    """Another process has given proxies certificates, and its root is gone."""
    Wallet(tmp_path / "identity", FakeClock()).follow(MESH.settings)
    (tmp_path / "identity" / "root.pem").unlink()


@pytest.fixture
def recovery(parts: Parts) -> Recovery:
    all_of_it = cast("Any", parts)
    return Recovery(
        all_of_it,
        all_of_it,
        mirror=all_of_it,
        admission=all_of_it,
        wallet=parts.wallet,
        troubles=Troubles(),
        xds=all_of_it,
        envoys=all_of_it,
    )


async def test_no_word_promotes_what_a_commit_could_not(recovery: Recovery, parts: Parts) -> None:
    parts.outcome = Rejected(cast("Any", None), (REFUSED,))
    with pytest.raises(UsageError, match=r"commit cccccccccc cannot be promoted: a\.yaml:3:1: PD2104"):
        await recovery.promoted("HEAD")
    assert parts.recovered == []


async def test_where_nothing_is_lost_there_is_nothing_to_say(recovery: Recovery, parts: Parts) -> None:
    parts.lost = False
    parts.wallet.follow(MESH.settings)
    with pytest.raises(UsageError, match="the store is not lost"):
        await recovery.promoted("HEAD")
    with pytest.raises(UsageError, match="the root certificate is there"):
        await recovery.new_root()
    assert (parts.recovered, parts.delivered) == ([], [])


async def test_what_is_promoted_comes_before_whom_to_trust(recovery: Recovery, parts: Parts) -> None:
    with pytest.raises(UsageError, match="not known what proxies should run"):
        await recovery.new_root()
    assert await recovery.promoted("HEAD") == COMMIT
    assert parts.wallet.rootless  # proxies hold certificates of a root that nobody remembers
    assert await recovery.new_root() == ()
    assert set(parts.delivered) == {False}


async def test_no_leaf_of_a_new_root_is_shown_before_all_trust_it(
    remembered: None, parts: Parts, recovery: Recovery
) -> None:
    parts.lost = False
    parts.wallet.follow(MESH.settings, live=True)
    assert "the root certificate of `one.example` is gone" in recovery.about_root()

    parts.away.add("b")
    assert await recovery.new_root() == ("b",)
    assert parts.delivered == [True]
    assert "1 proxies do not trust it yet, b" in recovery.about_root()
    await recovery._look()
    assert parts.delivered == [True]
    parts.away.clear()
    await recovery._look()  # by itself, as soon as the last one has come
    assert parts.delivered == [True, False]
    assert recovery.about_root() == ""


async def test_a_person_may_go_on_without_those_that_are_away(
    remembered: None, parts: Parts, recovery: Recovery
) -> None:
    parts.lost = False
    parts.wallet.follow(MESH.settings, live=True)
    parts.away.add("b")
    assert await recovery.new_root() == ("b",)
    assert await recovery.new_root() == ()
    assert parts.delivered == [True, False]
