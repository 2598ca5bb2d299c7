"""Keys come from allowed hosts over TLS, and stay when those are away."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from policyd.identity.key_sets import AGAIN_S, FRESH_S, LONGEST, Fetching, KeySets
from policyd.testing.clock import FakeClock

FIRST = {"kty": "EC", "crv": "P-256", "kid": "1", "x": "AA", "y": "BB"}
SECOND = {**FIRST, "kid": "2"}


class Issuer:
    """A real HTTPS server: the sibling of somebody's login."""

    def __init__(self, folder: Path) -> None:
        self.authorities = folder / "authorities.pem"
        self.status, self.body = 200, json.dumps({"keys": [FIRST]}).encode()
        self.asked = 0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                self.send_response(issuer.status)
                self.send_header("location", "https://elsewhere.example/keys")
                self.send_header("content-length", str(len(issuer.body)))
                self.end_headers()
                self.wfile.write(issuer.body)

            def log_message(self, *_: object) -> None: ...

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate(folder, self.authorities))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"https://{self.host}/keys"

    def stop(self) -> None:
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def offers(self, *keys: object) -> None:
        self.body = json.dumps({"keys": keys}).encode()


def _certificate(folder: Path, authorities: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    pem = made.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    authorities.write_bytes(pem)
    both = folder / "server.pem"
    both.write_bytes(private + pem)
    return both


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[Issuer]:
    one = Issuer(tmp_path)
    yield one
    one.stop()


def key_sets(issuer: Issuer, clock: FakeClock, *hosts: str) -> KeySets:
    allowed = frozenset(hosts or (issuer.host,))
    return KeySets(issuer.authorities.parent / "keys.json", Fetching(allowed, issuer.authorities), clock)


def kids(sets: KeySets, url: str) -> list[str]:
    return [key["kid"] for key in json.loads(sets.keys[url])["keys"]]


async def test_keys_are_fetched_kept_and_followed(issuer: Issuer) -> None:
    clock = FakeClock()
    sets = key_sets(issuer, clock)
    assert await sets.refresh([issuer.url])
    assert kids(sets, issuer.url) == ["1"]
    assert not await sets.refresh([issuer.url])
    assert issuer.asked == 1, "a fresh set is not asked for again"
    issuer.offers(FIRST, SECOND)
    clock.advance(FRESH_S)
    assert await sets.refresh([issuer.url])
    assert kids(sets, issuer.url) == ["1", "2"]
    assert sets.trouble == ""


async def test_they_stay_while_the_host_is_away_and_after_a_restart(issuer: Issuer) -> None:
    clock = FakeClock()
    sets = key_sets(issuer, clock)
    await sets.refresh([issuer.url])
    issuer.stop()
    clock.advance(FRESH_S)
    assert not await sets.refresh([issuer.url])
    assert kids(sets, issuer.url) == ["1"]
    assert f"keys of `{issuer.url}` are not to be had" in sets.trouble
    assert kids(key_sets(issuer, clock), issuer.url) == ["1"]
    await sets.refresh([])
    assert sets.trouble == "", "what nobody asks for is no trouble"


async def test_a_host_that_is_not_allowed_is_not_asked(issuer: Issuer) -> None:
    sets = key_sets(issuer, FakeClock(), "login.example")
    assert not await sets.refresh([issuer.url])
    assert issuer.asked == 0
    assert f"host `{issuer.host}` is not among `fetch.hosts`" in sets.trouble
    assert "no token of that issuer is valid" in sets.trouble


async def test_a_certificate_of_nobody_we_trust_is_refused(issuer: Issuer, tmp_path: Path) -> None:
    sets = KeySets(tmp_path / "keys.json", Fetching(frozenset({issuer.host})), FakeClock())
    assert not await sets.refresh([issuer.url])
    assert "certificate" in sets.trouble.lower()


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (302, b"", "the answer is 302"),
        (500, b"{}", "the answer is 500"),
        (200, b"<html>", "it is not a JWK set"),
        (200, b"[" * 100_000, "it is not a JWK set"),
        (200, b'{"keys": []}', "it is not a JWK set"),
        (200, b'{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}', "it holds a secret"),
        (200, b'{"keys": [{"kty": "none"}]}', "no public key of a known type"),
        (200, b'{"keys": [{"kty": ["EC"]}, {"kty": {}}, {"kty": null}]}', "no public key of a known type"),
        (200, b'{"keys": [{"kty": "oct", "kid": ["EC"]}]}', "it holds a secret"),
        (200, b" " * (LONGEST + 1), "longer than"),
    ],
)
async def test_what_is_no_key_set_changes_nothing(issuer: Issuer, status: int, body: bytes, words: str) -> None:
    clock = FakeClock()
    sets = key_sets(issuer, clock)
    await sets.refresh([issuer.url])
    issuer.status, issuer.body = status, body
    clock.advance(FRESH_S)
    assert not await sets.refresh([issuer.url])
    assert kids(sets, issuer.url) == ["1"]
    assert words in sets.trouble
    issuer.status = 200
    issuer.offers(SECOND)
    clock.advance(AGAIN_S)
    assert await sets.refresh([issuer.url])
    assert (kids(sets, issuer.url), sets.trouble) == (["2"], "")


async def test_of_a_key_only_what_can_be_known_is_kept(issuer: Issuer) -> None:
    """A number that JSON cannot say again, or half a character, would make proxies refuse the good keys, too."""
    odd = b'{"kty": "EC", "kid": "1", "ext": 1e999, "x5c": ["MII", 7], "key_ops": ["verify"], "use": "\\ud800"}'
    issuer.body = b'{"keys": [%b], "n": 1e999}' % odd
    sets = key_sets(issuer, FakeClock())
    assert await sets.refresh([issuer.url])
    assert json.loads(sets.keys[issuer.url]) == {"keys": [{"kty": "EC", "kid": "1", "key_ops": ["verify"]}]}


@pytest.mark.parametrize(
    "url", ["https://login.example:x/keys", "https://[::1/keys", "https://login.example/\x7f", "https://xn--/keys"]
)
async def test_what_is_no_url_is_said(issuer: Issuer, url: str) -> None:
    sets = key_sets(issuer, FakeClock(), "login.example:x", "login.example", "xn--", "[::1")
    assert not await sets.refresh([url, issuer.url])
    assert f"keys of `{url}` are not to be had: it is not a URL" in sets.trouble


async def test_a_damaged_memory_is_none(issuer: Issuer) -> None:
    (issuer.authorities.parent / "keys.json").write_bytes(b'{"https://x": 7}')
    assert key_sets(issuer, FakeClock()).keys == {}
