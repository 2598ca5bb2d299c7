"""The current SVID of each service, and its renewal."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from policyd.identity.authority import CertificateAuthority
from policyd.identity.svid import SvidIssuer, renewal, spread
from policyd.model.names import Name
from policyd.testing.clock import FakeClock

DAY_S = 86_400
WEB, CART = Name("shop", "web"), Name("shop", "cart")


def issuer(tmp_path: Path, clock: FakeClock, *, root_s: int = 365 * DAY_S, jitter: float = 0.0) -> SvidIssuer:
    authority = CertificateAuthority.open(tmp_path / "ca", "shop.example", clock.now(), root_s)
    return SvidIssuer(authority, clock, DAY_S, lambda _: jitter)


def test_the_same_svid_is_given_until_it_is_renewed(tmp_path: Path) -> None:
    clock = FakeClock()
    svids = issuer(tmp_path, clock)
    first = svids.svid(WEB)
    clock.advance(DAY_S * 0.4)
    assert svids.svid(WEB) is first
    renewed = svids.renew(WEB)
    assert svids.svid(WEB) is renewed
    assert renewed.key_pem != first.key_pem
    assert renewed.not_after == clock.now() + timedelta(seconds=DAY_S)


def test_the_key_belongs_to_the_certificate(tmp_path: Path) -> None:
    svid = issuer(tmp_path, FakeClock()).svid(WEB)
    certificate = x509.load_pem_x509_certificate(svid.certificate_chain_pem)
    assert load_pem_private_key(svid.key_pem, None).public_key() == certificate.public_key()
    assert svid.not_before == certificate.not_valid_before_utc


def test_a_service_is_due_at_half_life(tmp_path: Path) -> None:
    clock = FakeClock()
    svids = issuer(tmp_path, clock)
    assert svids.next_renewal() is None
    svid = svids.svid(WEB)
    assert svid.renew_at == clock.now() + timedelta(seconds=DAY_S / 2) == svids.next_renewal()
    assert svids.due(svid.renew_at - timedelta(seconds=1)) == ()
    assert svids.due(svid.renew_at) == (WEB,)


def test_the_next_renewal_is_the_earliest_and_forgotten_services_are_not_renewed(tmp_path: Path) -> None:
    clock = FakeClock()
    svids = issuer(tmp_path, clock)
    svids.svid(WEB)
    clock.advance(60)
    svids.svid(CART)
    assert svids.next_renewal() == svids.svid(WEB).renew_at
    svids.retain([CART])
    assert svids.next_renewal() == svids.svid(CART).renew_at
    assert svids.due(clock.now() + timedelta(days=2)) == (CART,)


def test_an_expired_svid_is_never_given(tmp_path: Path) -> None:
    clock = FakeClock()
    svids = issuer(tmp_path, clock)
    first = svids.svid(WEB)
    clock.advance(DAY_S)
    assert svids.svid(WEB) is not first


def test_a_leaf_cut_short_by_the_roots_end_is_not_renewed_ever_faster(tmp_path: Path) -> None:
    clock = FakeClock()
    svids = issuer(tmp_path, clock, root_s=DAY_S // 2)
    svid = svids.svid(WEB)
    assert svid.renew_at == svid.not_after


def test_keys_do_not_show_in_logs(tmp_path: Path) -> None:
    assert "PRIVATE" not in repr(issuer(tmp_path, FakeClock()).svid(WEB))


@given(name=st.text("abcdefghijklmnopqrstuvwxyz-", min_size=1), life_s=st.integers(60, 90 * DAY_S))
def test_renewal_falls_between_forty_and_fifty_per_cent_of_life(name: str, life_s: int) -> None:
    issued = FakeClock().now()
    life = timedelta(seconds=life_s)
    share = spread(Name("shop", name))
    assert 0 <= share < 1
    assert share == spread(Name("shop", name))
    at = renewal(issued, issued + life, share)
    assert life * 0.399 <= at - issued <= life * 0.5


def test_a_leaf_from_the_future_is_due_once_the_clock_was_set_back(tmp_path: Path) -> None:
    clock = FakeClock()
    svids = issuer(tmp_path, clock)
    clock.advance(DAY_S)
    svids.svid(WEB)
    assert svids.due(clock.now()) == ()
    assert svids.due(clock.now() - timedelta(hours=12)) == (WEB,)
