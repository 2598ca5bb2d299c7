"""The root, and what it signs."""

from __future__ import annotations

import base64
import hashlib
import shutil
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from policyd.base.errors import Stalled
from policyd.identity.authority import ROOT_FILE, CertificateAuthority
from policyd.model.names import Name

NOW = datetime(2027, 1, 1, tzinfo=UTC)
YEAR_S = 365 * 86_400
WEB = Name("shop", "web")


def opened(folder: Path, at: datetime = NOW, trust_domain: str = "shop.example") -> CertificateAuthority:
    return CertificateAuthority.open(folder, trust_domain, at, YEAR_S)


def leaf_of(authority: CertificateAuthority, at: datetime = NOW, leaf_s: float = 3_600) -> x509.Certificate:
    return authority.sign(ec.generate_private_key(ec.SECP256R1()).public_key(), WEB, at, leaf_s)


def test_the_root_is_made_once_and_loaded_again(tmp_path: Path) -> None:
    first = opened(tmp_path / "ca")
    assert opened(tmp_path / "ca", NOW + timedelta(days=30)).bundle_pem == first.bundle_pem
    assert first.not_after == NOW + timedelta(seconds=YEAR_S)


def test_only_its_owner_can_read_the_root(tmp_path: Path) -> None:
    opened(tmp_path / "ca")
    assert stat.S_IMODE((tmp_path / "ca").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "ca" / ROOT_FILE).stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "ca").iterdir()] == [ROOT_FILE]


def test_a_leaf_has_one_uri_one_dns_name_and_the_hashed_common_name(tmp_path: Path) -> None:
    leaf = leaf_of(opened(tmp_path / "ca"))
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    identity = "spiffe://shop.example/ns/shop/svc/web"
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [identity]
    assert names.get_values_for_type(x509.DNSName) == ["web.shop.shop.example"]
    assert len(list(names)) == 2
    (common,) = leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    hashed = base64.b32encode(hashlib.sha256(identity.encode()).digest()).decode().rstrip("=")
    assert common.value == hashed
    assert len(hashed) <= 64
    assert [each.value for each in leaf.subject.get_attributes_for_oid(NameOID.USER_ID)] == [identity]


def test_a_leaf_may_do_what_a_sidecar_does_and_no_more(tmp_path: Path) -> None:
    extensions = leaf_of(opened(tmp_path / "ca")).extensions
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    purposes = set(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    assert purposes == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_a_leaf_begins_a_little_before_now_and_never_outlives_the_root(tmp_path: Path) -> None:
    authority = opened(tmp_path / "ca")
    leaf = leaf_of(authority)
    assert NOW - timedelta(minutes=2) < leaf.not_valid_before_utc < NOW
    assert leaf.not_valid_after_utc == NOW + timedelta(hours=1)
    late = authority.not_after - timedelta(minutes=1)
    assert leaf_of(authority, late).not_valid_after_utc == authority.not_after
    with pytest.raises(Stalled):
        leaf_of(authority, authority.not_after)


def test_leaves_verify_for_servers_and_clients(tmp_path: Path) -> None:
    authority = opened(tmp_path / "ca")
    leaf = leaf_of(authority)
    policy = PolicyBuilder().store(Store([x509.load_pem_x509_certificate(authority.bundle_pem)])).time(NOW)
    chain = policy.build_server_verifier(x509.DNSName("web.shop.shop.example")).verify(leaf, [])
    assert len(chain) == 2
    policy.build_client_verifier().verify(leaf, [])


@pytest.mark.skipif(shutil.which("openssl") is None, reason="`openssl` is missing: apt-get install openssl")
def test_openssl_agrees(tmp_path: Path) -> None:
    authority = opened(tmp_path / "ca")
    (tmp_path / "root.pem").write_bytes(authority.bundle_pem)
    (tmp_path / "leaf.pem").write_bytes(leaf_of(authority).public_bytes(Encoding.PEM))
    for purpose in ("sslserver", "sslclient"):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-attime", str(int(NOW.timestamp()))]
        subprocess.run([*command, "-CAfile", "root.pem", "leaf.pem"], cwd=tmp_path, check=True, capture_output=True)


def _damaged(root: Path) -> None:
    root.write_bytes(root.read_bytes()[:200])


def _emptied(root: Path) -> None:
    root.write_bytes(b"")


def _deleted_beside_other_files(root: Path) -> None:
    root.rename(root.with_name("root.pem.bak"))


def _open_to_others(root: Path) -> None:
    root.chmod(0o644)


def _with_another_key(root: Path) -> None:
    other = root.parent.parent / "other"
    opened(other)
    certificate = root.read_bytes().partition(b"-----BEGIN PRIVATE KEY")[0]
    key = b"-----BEGIN PRIVATE KEY" + (other / ROOT_FILE).read_bytes().partition(b"-----BEGIN PRIVATE KEY")[2]
    root.write_bytes(certificate + key)


@pytest.mark.parametrize(
    "harm", [_damaged, _emptied, _deleted_beside_other_files, _open_to_others, _with_another_key]
)
def test_a_harmed_folder_needs_a_person_and_never_gets_a_new_root(tmp_path: Path, harm: object) -> None:
    opened(tmp_path / "ca")
    assert callable(harm)
    harm(tmp_path / "ca" / ROOT_FILE)
    before = {path.name: path.read_bytes() for path in (tmp_path / "ca").iterdir()}
    with pytest.raises(Stalled) as caught:
        opened(tmp_path / "ca")
    assert caught.value.hint
    assert {path.name: path.read_bytes() for path in (tmp_path / "ca").iterdir()} == before


def test_the_root_of_another_trust_domain_is_not_used(tmp_path: Path) -> None:
    opened(tmp_path / "ca")
    with pytest.raises(Stalled, match="another trust domain"):
        opened(tmp_path / "ca", trust_domain="other.example")


def test_an_expired_root_needs_a_person(tmp_path: Path) -> None:
    opened(tmp_path / "ca")
    with pytest.raises(Stalled, match="expired"):
        opened(tmp_path / "ca", NOW + timedelta(seconds=YEAR_S))


def test_what_an_interrupted_first_write_left_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "ca").mkdir(mode=0o700)
    (tmp_path / "ca" / ".root-half").write_bytes(b"-----BEGIN")
    opened(tmp_path / "ca")
    assert (tmp_path / "ca" / ROOT_FILE).exists()


def test_a_throwaway_root_is_new_each_time_and_signs_like_a_real_one() -> None:
    first, second = (CertificateAuthority.throwaway("shop.example", NOW) for _ in range(2))
    assert first.bundle_pem != second.bundle_pem
    leaf_of(first).verify_directly_issued_by(x509.load_pem_x509_certificate(first.bundle_pem))
    assert first.not_after == NOW + timedelta(hours=1)
