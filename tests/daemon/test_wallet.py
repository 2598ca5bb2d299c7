"""The wallet: the same secrets until they are renewed, renewed before they expire, one trust domain for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policyd.base.errors import Stalled
from policyd.daemon.wallet import Wallet
from policyd.model.mesh import Settings
from policyd.model.names import Name
from policyd.testing.clock import FakeClock

WEB, SHOP = Name("default", "web"), Name("default", "shop")
SETTINGS = Settings("mesh", "one.example", leaf_s=1_000)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def wallet(tmp_path: Path, clock: FakeClock) -> Wallet:
    wallet = Wallet(tmp_path / "identity", clock)
    wallet.follow(SETTINGS)
    return wallet


def test_nothing_is_signed_before_a_mesh_is_known(tmp_path: Path, clock: FakeClock) -> None:
    with pytest.raises(Stalled):
        Wallet(tmp_path, clock).secrets(WEB)


def test_the_same_tuple_until_renewal(wallet: Wallet, clock: FakeClock) -> None:
    web, shop = wallet.secrets(WEB), wallet.secrets(SHOP)
    assert wallet.secrets(WEB) is web

    clock.advance(501)  # half-life and past it: everyone is due
    assert wallet.renew_due() == (SHOP, WEB)

    assert wallet.secrets(WEB) is not web
    assert wallet.secrets(WEB)[0].body != web[0].body
    assert wallet.secrets(SHOP)[1] == shop[1]  # the trust bundle is the same


def test_renewal_is_foreseen_before_the_leaf_ends(wallet: Wallet, clock: FakeClock) -> None:
    wallet.secrets(WEB)
    due = wallet.next_renewal()
    assert due is not None
    assert 0 < (due - clock.now()).total_seconds() <= SETTINGS.leaf_s / 2
    assert wallet.renew_due() == ()


def test_another_lifetime_issues_anew(wallet: Wallet) -> None:
    before = wallet.secrets(WEB)
    wallet.follow(replace(SETTINGS, leaf_s=60))
    assert wallet.secrets(WEB) is not before


def test_another_trust_domain_is_refused(wallet: Wallet) -> None:
    with pytest.raises(Stalled, match=r"one\.example"):
        wallet.follow(Settings("mesh", "two.example"))
    assert wallet.trust_domain == "one.example"


def test_the_root_outlives_a_restart(wallet: Wallet, tmp_path: Path, clock: FakeClock) -> None:
    again = Wallet(tmp_path / "identity", clock)
    again.follow(SETTINGS)
    assert again.secrets(WEB)[1] == wallet.secrets(WEB)[1]
