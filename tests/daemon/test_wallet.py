"""The wallet: the same secrets until they are renewed, renewed before they expire, one trust domain for ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from envoy.extensions.transport_sockets.tls.v3.secret_pb2 import Secret

from policyd.base.errors import Stalled
from policyd.daemon.wallet import Wallet
from policyd.delivery.snapshot import is_kept
from policyd.identity import CertificateAuthority, fingerprint
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


# --- a root that is distrusted -----------------------------------------------------------------------------------


def root_of(wallet: Wallet) -> str:
    """The root that signs, as a person names it."""
    return wallet.trusted[-1]


def leaf_is_signed_by_the_newest_root(wallet: Wallet) -> bool:
    svid, bundle = (Secret.FromString(secret.body) for secret in wallet.secrets(WEB))
    roots = x509.load_pem_x509_certificates(bundle.validation_context.trusted_ca.inline_bytes)
    leaf = x509.load_pem_x509_certificate(svid.tls_certificate.certificate_chain.inline_bytes)
    leaf.verify_directly_issued_by(roots[-1])
    return True


def test_a_root_that_is_distrusted_is_in_no_bundle_and_has_signed_no_leaf(wallet: Wallet) -> None:
    old = root_of(wallet)
    before = wallet.secrets(WEB)
    assert wallet.distrust({old})
    assert (old in wallet.trusted, roots_in(wallet), wallet.dropped) == (False, 1, (old,))
    assert wallet.secrets(WEB)[0].body != before[0].body
    assert leaf_is_signed_by_the_newest_root(wallet)
    assert not wallet.distrust({old}), "a second time there is nothing to exchange"


def test_distrust_outlives_a_restart(wallet: Wallet, tmp_path: Path, clock: FakeClock) -> None:
    old = root_of(wallet)
    wallet.distrust({old})
    again = started(tmp_path, clock)  # whether the store still says so or not
    assert (again.rootless, again.trusted, again.dropped) == (False, wallet.trusted, (old,))


@pytest.mark.parametrize("told", [True, False], ids=["the store knows", "the store was lost"])
def test_a_distrusted_root_that_is_restored_signs_nothing(
    wallet: Wallet, tmp_path: Path, clock: FakeClock, told: bool
) -> None:
    file = tmp_path / "identity" / "root.pem"
    old, backup = root_of(wallet), file.read_bytes()
    wallet.distrust({old})
    file.write_bytes(backup)
    again = Wallet(tmp_path / "identity", clock)
    if told:
        again.distrust({old})
    again.follow(SETTINGS, live=True)
    assert (again.rootless, all(is_kept(secret) for secret in again.secrets(WEB))) == (True, True)
    again.publish()
    assert (roots_in(again), old in again.trusted) == (2, False)


def test_a_remembered_root_is_distrusted_though_its_folder_is_lost(
    wallet: Wallet, tmp_path: Path, clock: FakeClock
) -> None:
    old = root_of(wallet)
    lose_root(tmp_path)
    again = started(tmp_path, clock)
    assert again.distrust({old})
    assert (again.rootless, again.dropped, roots_in(again)) == (False, (old,), 1)
    assert leaf_is_signed_by_the_newest_root(again)


def test_a_backup_of_state_with_the_root_still_trusted_is_mended_at_the_start(
    wallet: Wallet, tmp_path: Path, clock: FakeClock
) -> None:
    old = root_of(wallet)
    again = Wallet(tmp_path / "identity", clock)
    assert not again.distrust({old}), "nothing is known of any mesh yet"
    again.follow(SETTINGS, live=True)
    assert (old in again.trusted, again.dropped, again.rootless) == (False, (old,), False)
    assert leaf_is_signed_by_the_newest_root(again)


def test_where_nobody_knows_what_proxies_trust_it_may_be_what_is_distrusted(tmp_path: Path, clock: FakeClock) -> None:
    wallet = started(tmp_path, clock, live=True)
    assert wallet.rootless
    assert wallet.distrust({"ab" * 32})
    assert (wallet.rootless, wallet.dropped, roots_in(wallet)) == (False, ("ab" * 32,), 1)


def test_the_first_root_is_not_one_that_is_distrusted_already(tmp_path: Path, clock: FakeClock) -> None:
    CertificateAuthority.open(tmp_path / "identity", "one.example", clock.now(), 86_400)
    root = fingerprint((tmp_path / "identity" / "root.pem").read_bytes())
    wallet = Wallet(tmp_path / "identity", clock)
    wallet.distrust({root})
    wallet.follow(SETTINGS)
    assert (wallet.rootless, root in wallet.trusted, roots_in(wallet)) == (False, False, 1)


def test_distrust_in_the_middle_of_an_exchange_ends_it(wallet: Wallet, tmp_path: Path, clock: FakeClock) -> None:
    old = root_of(wallet)
    lose_root(tmp_path)
    again = started(tmp_path, clock)
    again.publish()
    assert again.distrust({old})
    assert (again.publishing, roots_in(again)) == (False, 1)
    assert leaf_is_signed_by_the_newest_root(again)


def test_a_root_that_only_lingers_takes_no_leaf_with_it(wallet: Wallet, tmp_path: Path, clock: FakeClock) -> None:
    old = root_of(wallet)
    lose_root(tmp_path)
    again = started(tmp_path, clock)
    again.publish()
    again.sign()
    leaf = again.secrets(WEB)[0]
    assert again.distrust({old})
    assert (again.secrets(WEB)[0], roots_in(again)) == (leaf, 1)


def test_a_root_that_nobody_was_given_changes_nothing(wallet: Wallet) -> None:
    before = wallet.secrets(WEB)
    assert not wallet.distrust({"cd" * 32})
    assert (wallet.secrets(WEB), wallet.dropped) == (before, ())


def test_distrust_waits_for_no_disk(
    wallet: Wallet, tmp_path: Path, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    old = root_of(wallet)
    with monkeypatch.context() as disk:
        disk.setattr(Path, "replace", full)
        assert wallet.distrust({old})
        assert (old in wallet.trusted, roots_in(wallet)) == (False, 1)
        assert "No space left" in wallet.unwritten
    wallet.renew_due()
    assert wallet.unwritten == ""
    assert started(tmp_path, clock).trusted == wallet.trusted


def test_only_a_persons_word_ends_distrust_and_brings_no_root_back(
    wallet: Wallet, tmp_path: Path, clock: FakeClock
) -> None:
    old = root_of(wallet)
    wallet.distrust({old})
    wallet.readmit({old})
    assert (wallet.dropped, old in wallet.trusted) == ((), False)
    assert started(tmp_path, clock).dropped == ()
