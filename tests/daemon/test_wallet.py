"""The wallet: the same secrets until they are renewed, renewed before they expire, one trust domain for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from policyd.base.errors import Stalled
from policyd.daemon.wallet import Wallet
from policyd.delivery.snapshot import is_kept
from policyd.identity import CertificateAuthority
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


# --- a root that is gone -----------------------------------------------------------------------------------------


def lose_root(tmp_path: Path) -> None:
    (tmp_path / "identity" / "root.pem").unlink()


def started(tmp_path: Path, clock: FakeClock, *, live: bool = True) -> Wallet:
    wallet = Wallet(tmp_path / "identity", clock)
    wallet.follow(SETTINGS, live=live)
    return wallet


def roots_in(wallet: Wallet) -> int:
    """How many roots proxies are given."""
    return wallet.secrets(WEB)[1].body.count(b"BEGIN CERTIFICATE")


def test_where_the_root_is_gone_proxies_keep_what_they_have(wallet: Wallet, tmp_path: Path, clock: FakeClock) -> None:
    lose_root(tmp_path)
    for live in (True, False):  # what they trust is remembered, whatever else is known
        again = started(tmp_path, clock, live=live)
        assert (again.rootless, again.trust_domain) == (True, "one.example")
        assert all(is_kept(secret) for secret in again.secrets(WEB))
        assert (again.renew_due(), again.next_renewal()) == ((), None)
        again.follow(SETTINGS)
        assert again.rootless
    assert not (tmp_path / "identity" / "root.pem").exists()


def test_a_new_root_is_trusted_before_it_signs_and_the_old_one_until_its_last_leaf_has_ended(
    wallet: Wallet, tmp_path: Path, clock: FakeClock
) -> None:
    lose_root(tmp_path)
    again = started(tmp_path, clock)
    again.publish()
    leaf, _ = again.secrets(WEB)
    assert (is_kept(leaf), roots_in(again), again.publishing) == (True, 2, True)

    resumed = started(tmp_path, clock)  # a restart in between changes nothing
    assert (resumed.rootless, resumed.publishing, roots_in(resumed)) == (False, True, 2)
    assert is_kept(resumed.secrets(WEB)[0])

    resumed.sign()
    assert not is_kept(resumed.secrets(WEB)[0])
    assert (roots_in(resumed), resumed.publishing) == (2, False)
    clock.advance(SETTINGS.leaf_s - 1)
    resumed.renew_due()
    assert roots_in(resumed) == 2
    clock.advance(1)
    assert WEB in resumed.renew_due()
    assert roots_in(resumed) == 1


def test_where_nobody_knows_what_proxies_trust_no_root_is_made_for_them(tmp_path: Path, clock: FakeClock) -> None:
    wallet = started(tmp_path, clock, live=True)
    assert wallet.rootless
    wallet.publish()
    assert (wallet.publishing, roots_in(wallet)) == (False, 1)
    assert not is_kept(wallet.secrets(WEB)[0])


def test_a_root_that_was_made_in_vain_is_thrown_away(wallet: Wallet, tmp_path: Path, clock: FakeClock) -> None:
    wallet.doubt()  # proxies have turned out to trust another one
    assert wallet.rootless
    assert started(tmp_path, clock, live=False).rootless


def test_a_root_that_was_there_before_is_not_doubted(wallet: Wallet, tmp_path: Path, clock: FakeClock) -> None:
    again = started(tmp_path, clock)
    again.doubt()
    assert not again.rootless


def test_a_root_that_a_person_restores_is_taken(wallet: Wallet, tmp_path: Path, clock: FakeClock) -> None:
    root = (tmp_path / "identity" / "root.pem").read_bytes()
    lose_root(tmp_path)
    assert started(tmp_path, clock).rootless
    (tmp_path / "identity" / "root.pem").write_bytes(root)
    (tmp_path / "identity" / "root.pem").chmod(0o600)
    assert started(tmp_path, clock).secrets(WEB)[1] == wallet.secrets(WEB)[1]


def test_another_root_than_proxies_trust_is_not_used_by_itself(
    wallet: Wallet, tmp_path: Path, clock: FakeClock
) -> None:
    lose_root(tmp_path)
    CertificateAuthority.open(tmp_path / "identity", "one.example", clock.now(), 86_400)
    again = started(tmp_path, clock)
    assert again.rootless
    again.publish()
    assert (again.publishing, roots_in(again)) == (True, 2)
