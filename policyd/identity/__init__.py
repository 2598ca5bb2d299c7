"""Identity: the root, the SVIDs that it signs, and when they are renewed."""

from policyd.identity.authority import CertificateAuthority
from policyd.identity.svid import Svid, SvidIssuer

__all__ = ["CertificateAuthority", "Svid", "SvidIssuer"]
