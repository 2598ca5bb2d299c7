"""A real HTTPS server outside of the mesh, with a certificate of its own authority, that says what reached it."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass
class Partner:
    """The server: which names clients asked for in the handshake, and which requests arrived."""

    roots: Path
    names: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)


def certificate(folder: Path, host: str, key: Key | None = None) -> tuple[Path, Path]:
    """Roots, and a certificate with its key (a new one unless given) for `host`, in two files."""
    now, root_key = datetime.now(UTC), ec.generate_private_key(ec.SECP256R1())
    key = key or ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"root of {host}")])

    def builder(subject: x509.Name, public: CertificatePublicKeyTypes) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
        )

    root = builder(issuer, root_key.public_key()).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
    leaf = builder(x509.Name([]), key.public_key()).add_extension(x509.SubjectAlternativeName([_named(host)]), True)
    roots, pair = folder / f"{host}-roots.pem", folder / f"{host}.pem"
    roots.write_bytes(root.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pair.write_bytes(
        leaf.sign(root_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return roots, pair


def _named(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


@contextmanager
def serving(address: tuple[str, int], folder: Path, named: str) -> Iterator[Partner]:
    """The server at an address, with a certificate for `named`; every request is answered with what arrived."""
    roots, pair = certificate(folder, named)
    partner = Partner(roots)

    class Answer(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            partner.paths.append(self.path)
            body = json.dumps(
                {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
            ).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Say nothing."""

    def asked_for(_: Any, name: str | None, __: Any) -> None:
        partner.names.append(name or "")

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pair)
    tls.sni_callback = asked_for
    server = ThreadingHTTPServer(address, Answer)
    server.daemon_threads = True
    server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a broken handshake is what some tests want
    Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield partner
    finally:
        server.shutdown()
        server.server_close()
