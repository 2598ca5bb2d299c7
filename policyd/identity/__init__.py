"""Identity: the root, the SVIDs that it signs, and when they are renewed."""

from policyd.identity.authority import CertificateAuthority
from policyd.identity.roots import RootRecord, Trusted, fingerprint
from policyd.identity.svid import Svid, SvidIssuer
from policyd.identity.throwaway import throwaway_secrets

__all__ = ["CertificateAuthority", "RootRecord", "Svid", "SvidIssuer", "Trusted", "fingerprint", "throwaway_secrets"]
