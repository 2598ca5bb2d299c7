"""Certificates for gateways: a pair is taken when it belongs together, and the last one stays while none does."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from policyd.identity.certificates import LONGEST, Certificates, Files
from policyd.testing.clock import FakeClock
from tests.compilers.envoy.outside import Key, certificate


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "chain.pem", tmp_path / "key.pem")


def written(files: Files, folder: Path, name: str, key: Key | None = None) -> tuple[bytes, bytes]:
    """A new pair, as text: what stands before the key, and the key."""
    (folder / name).mkdir()
    _, pair = certificate(folder / name, "shop.example", key)
    chain, _, rest = pair.read_bytes().partition(b"-----BEGIN PRIVATE")
    return chain, b"-----BEGIN PRIVATE" + rest


def now() -> FakeClock:
    return FakeClock(datetime.now(UTC))


def test_what_is_no_pair_is_said_and_the_last_one_stays(files: Files, tmp_path: Path) -> None:
    shop = Certificates({"shop": files}, now())
    assert not shop.refresh()
    assert shop.trouble == (
        f"certificate `shop`: `{files.chain}` cannot be read: no such file or directory; its listeners are closed"
    )
    first, second = written(files, tmp_path, "first"), written(files, tmp_path, "second")
    files.chain.write_bytes(first[0])
    files.key.write_bytes(first[1])
    assert shop.refresh()
    assert (shop.trouble, shop.pairs["shop"].chain) == ("", first[0])
    held = shop.pairs
    assert not shop.refresh()
    assert shop.pairs is held

    files.chain.write_bytes(second[0])
    assert not shop.refresh()
    assert "the key is not that of the certificate; what was there before is shown" in shop.trouble
    assert shop.pairs is held
    files.key.write_bytes(second[1])
    assert shop.refresh()
    assert (shop.trouble, shop.pairs["shop"].key) == ("", second[1])
    files.key.unlink()
    assert not shop.refresh()
    assert shop.pairs["shop"].key == second[1]


def test_one_that_is_missing_takes_no_other_with_it(files: Files, tmp_path: Path) -> None:
    chain, key = written(files, tmp_path, "good")
    files.chain.write_bytes(chain)
    files.key.write_bytes(key)
    both = Certificates({"shop": files, "gone": Files(tmp_path / "a", tmp_path / "b")}, now())
    assert both.refresh()
    assert [*both.pairs] == ["shop"]
    assert "`gone`" in both.trouble


def test_one_that_has_ended_is_shown_and_said(files: Files, tmp_path: Path) -> None:
    chain, key = written(files, tmp_path, "good")
    files.chain.write_bytes(chain)
    files.key.write_bytes(key)
    clock = now()
    shop = Certificates({"shop": files}, clock)
    assert shop.refresh()
    clock.advance(2 * 3_600)
    assert not shop.refresh()
    assert "certificate `shop`: it ended at" in shop.trouble


@pytest.mark.parametrize("text", [b"", b"no PEM", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n"])
def test_what_is_none_is_said_in_words(files: Files, text: bytes) -> None:
    files.chain.write_bytes(text)
    files.key.write_bytes(text)
    shop = Certificates({"shop": files}, now())
    assert not shop.refresh()
    assert shop.trouble.endswith("; its listeners are closed")


def test_a_key_behind_a_passphrase_and_a_file_without_an_end_are_refused(files: Files, tmp_path: Path) -> None:
    chain, plain = written(files, tmp_path, "good")
    key = serialization.load_pem_private_key(plain, None)
    files.chain.write_bytes(chain)
    locked = serialization.BestAvailableEncryption(b"secret")
    pem, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    files.key.write_bytes(key.private_bytes(pem, form, locked))
    shop = Certificates({"shop": files}, now())
    assert not shop.refresh()
    assert "is encrypted" in shop.trouble
    files.key.write_bytes(b"x" * (LONGEST + 1))
    assert not shop.refresh()
    assert "is longer than" in shop.trouble


@pytest.mark.parametrize("cut", [1, 40, 300])
def test_a_chain_that_is_still_being_written_is_not_taken(files: Files, tmp_path: Path, cut: int) -> None:
    chain, key = written(files, tmp_path, "good")
    files.chain.write_bytes(chain + chain.rstrip()[:-cut])
    files.key.write_bytes(key)
    shop = Certificates({"shop": files}, now())
    assert not shop.refresh()
    assert "ends in the middle of a certificate" in shop.trouble
    files.chain.write_bytes(chain + chain)
    assert shop.refresh()
    assert not shop.trouble


@pytest.mark.parametrize(
    "key",
    [
        ed25519.Ed25519PrivateKey.generate(),
        ec.generate_private_key(ec.SECP256K1()),
        rsa.generate_private_key(65_537, 1_024),
    ],
    ids=["ed25519", "secp256k1", "RSA 1024"],
)
def test_what_no_proxy_would_show_is_not_sent(files: Files, tmp_path: Path, key: Key) -> None:
    chain, text = written(files, tmp_path, "odd", key)
    files.chain.write_bytes(chain)
    files.key.write_bytes(text)
    shop = Certificates({"shop": files}, now())
    assert not shop.refresh()
    assert "proxies show certificates with RSA keys" in shop.trouble


def test_a_key_of_a_kind_that_nobody_knows_is_said(files: Files, tmp_path: Path) -> None:
    chain, text = written(files, tmp_path, "good")
    pem, form, locked = serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    der = serialization.load_pem_private_key(text, None).private_bytes(pem, form, locked)
    unknown = der.replace(
        bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030155")
    )  # another curve's name
    files.chain.write_bytes(chain)
    files.key.write_bytes(
        b"-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(unknown) + b"-----END PRIVATE KEY-----\n"
    )
    shop = Certificates({"shop": files}, now())
    assert not shop.refresh()
    assert shop.trouble == "certificate `shop`: Curve 1.2.840.10045.3.1.85 is not supported; its listeners are closed"
