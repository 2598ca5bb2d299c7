"""The certificate authority: one root per mesh, kept in a folder of its own, and the names that it signs.

    folder/root.pem   certificate and private key, mode 0600

The root is made when the folder is empty and when the one in it is distrusted, never else: a folder that holds
anything but a sound root of this trust domain stops the controller. A new root by accident would cut every proxy off
from every other.
Names follow the SPIFFE X.509-SVID specification.
"""

from __future__ import annotations

import stat
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from policyd.base.errors import Stalled
from policyd.identity.private_file import write_once, write_over
from policyd.model.names import Name, common_name, dns_name, spiffe_id

ROOT_FILE = "root.pem"
BACKDATE = timedelta(seconds=60)
"""How far before now a certificate begins, so that a peer whose clock is behind accepts it."""
_HINT = "restore the folder from its backup; if there is none, empty it: `policyd status` then says the way on"


class CertificateAuthority:
    """Signs with one root. Make it with `open`."""

    def __init__(self, trust_domain: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
        self.trust_domain = trust_domain
        self._certificate = certificate
        self._key = key

    @classmethod
    def open(cls, folder: Path, trust_domain: str, at: datetime, root_s: int) -> CertificateAuthority:
        """Load the root from `folder`, or make one that lives `root_s` seconds if the folder is empty or absent.

        Raises `Stalled` if the folder holds something else, or a root that is damaged, of another trust domain,
        readable by others, or expired.
        """
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _visible(folder):
                write_once(folder / ROOT_FILE, _pem(*_new_root(trust_domain, at, root_s)))
            return cls._load(folder / ROOT_FILE, trust_domain, at)
        except OSError as error:
            raise Stalled(f"cannot use `{folder}` for the root certificate: {error}", hint=_HINT) from error

    @classmethod
    def make(cls, trust_domain: str, at: datetime, root_s: int) -> CertificateAuthority:
        """A new root that lives `root_s` seconds, in memory alone until `keep`."""
        return cls(trust_domain, *_new_root(trust_domain, at, root_s))

    def keep(self, folder: Path) -> None:
        """Write this root to `folder`, in place of the one that is there. Raises `Stalled`."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_over(folder / ROOT_FILE, _pem(self._certificate, self._key))
        except OSError as error:
            raise Stalled(f"`{folder / ROOT_FILE}` cannot be written: {error.strerror}") from error

    @staticmethod
    def discard(folder: Path) -> None:
        """Throw away a root that was made in vain: proxies trust another one. Raises `Stalled`."""
        try:
            (folder / ROOT_FILE).unlink(missing_ok=True)
        except OSError as error:
            raise Stalled(f"`{folder / ROOT_FILE}` cannot be taken away: {error.strerror}") from error

    @classmethod
    def is_in(cls, folder: Path) -> bool:
        """Whether the folder holds anything: `open` will not make a root then."""
        return folder.is_dir() and bool(_visible(folder))

    @property
    def bundle_pem(self) -> bytes:
        """Every root that peers are to be verified against."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def not_before(self) -> datetime:
        """When the root begins; no leaf is valid earlier."""
        return self._certificate.not_valid_before_utc

    @property
    def not_after(self) -> datetime:
        """When the root expires; no leaf outlives it."""
        return self._certificate.not_valid_after_utc

    def sign(
        self, public_key: ec.EllipticCurvePublicKey, service: Name, at: datetime, leaf_s: float
    ) -> x509.Certificate:
        """A leaf for `service` that lives `leaf_s` seconds from `at`. Every name is set here, none is taken over.

        Exactly one URI SAN (the SPIFFE ID) and one DNS SAN. Raises `Stalled` when the root has expired.
        """
        if at >= self.not_after:
            raise Stalled(f"the root of `{self.trust_domain}` expired at {self.not_after:%Y-%m-%d %H:%M} UTC")
        return self._leaf(
            public_key, spiffe_id(self.trust_domain, service), dns_name(self.trust_domain, service), at, leaf_s
        )

    def _leaf(
        self, public_key: ec.EllipticCurvePublicKey, identity: str, host: str, at: datetime, leaf_s: float
    ) -> x509.Certificate:
        names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity), x509.DNSName(host)])
        issuer_key_id = self._certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        usages = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        return (
            x509.CertificateBuilder()
            .subject_name(_subject(identity))
            .issuer_name(self._certificate.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(max(at - BACKDATE, self._certificate.not_valid_before_utc))
            .not_valid_after(min(at + timedelta(seconds=leaf_s), self.not_after))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(usages, critical=False)
            .add_extension(names, critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(issuer_key_id), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )

    @classmethod
    def throwaway(cls, trust_domain: str, at: datetime, root_s: int = 3_600) -> CertificateAuthority:
        """A root that is kept nowhere and that nobody trusts: for validators that insist on reading a certificate."""
        return cls.make(trust_domain, at, root_s)

    @classmethod
    def _load(cls, path: Path, trust_domain: str, at: datetime) -> CertificateAuthority:
        if not path.exists():
            raise Stalled(f"`{path.parent}` holds other files but no `{ROOT_FILE}`", hint=_HINT)
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise Stalled(f"`{path}` is open to other users (mode {mode:03o})", hint=f"chmod 600 {path}")
        pem = path.read_bytes()
        try:
            certificate = x509.load_pem_x509_certificate(pem)
            key = serialization.load_pem_private_key(pem, password=None)
            certificate.verify_directly_issued_by(certificate)
        except Exception as error:  # the parser's own errors, bad signatures and foreign key types alike
            raise Stalled(f"`{path}` is damaged: {error}", hint=_HINT) from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise Stalled(f"the key in `{path}` does not belong to the certificate beside it", hint=_HINT)
        if _trust_domains(certificate) != [f"spiffe://{trust_domain}"]:
            raise Stalled(f"`{path}` is the root of another trust domain than `{trust_domain}`", hint=_HINT)
        if at >= certificate.not_valid_after_utc:
            raise Stalled(f"the root in `{path}` expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
        return cls(trust_domain, certificate, key)


def _subject(identity: str) -> x509.Name:
    """What proxies read that cannot match URI SANs: the hash names the caller, the UID also tells its namespace."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name(identity)),
            x509.NameAttribute(NameOID.USER_ID, identity),
        ]
    )


def _new_root(trust_domain: str, at: datetime, root_s: int) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "policyd root")])
    identity = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - BACKDATE)
        .not_valid_after(at + timedelta(seconds=root_s))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(identity, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate, key


def _pem(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM) + key_pem(key)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as proxies and our own files have it: PKCS #8 in PEM, not encrypted."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _trust_domains(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def _visible(folder: Path) -> list[str]:
    """Files but for those that an interrupted write left behind."""
    return [entry.name for entry in folder.iterdir() if not entry.name.startswith(".root-")]
