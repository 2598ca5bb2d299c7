"""Names of things in a mesh."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import NamedTuple

DEFAULT_NAMESPACE = "default"
SPIFFE_FORM = r"spiffe://[a-z0-9._-]+(?:/(?:[A-Za-z0-9_-]|[.][A-Za-z0-9_-]|[.][.][A-Za-z0-9._-])[A-Za-z0-9._-]*)+"
"""What a workload's SPIFFE ID looks like, as every engine of regular expressions reads it alike: a trust domain in
lower case, segments that are neither empty nor `.` nor `..`, no escapes, no query, nothing behind the last one.

Source: SPIFFE-ID specification, sections 2.1 to 2.3; X509-SVID: that of a leaf has a path.
"""
_SPIFFE = re.compile(SPIFFE_FORM)


class Name(NamedTuple):
    """A namespaced name; sorts by namespace, then name. Printed `namespace/name`."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, text: str, namespace: str = DEFAULT_NAMESPACE) -> Name:
        """Read `name` (in `namespace`) or `namespace/name`."""
        if "/" not in text:
            return cls(namespace, text)
        head, _, tail = text.partition("/")
        return cls(head, tail)


def spiffe_id(trust_domain: str, service: Name) -> str:
    """The SPIFFE ID of a service: `spiffe://<trust domain>/ns/<namespace>/svc/<service>`.

    Source: SPIFFE-ID specification, section 2; the path layout is policyd's own. All versions of a service
    share it: a version is a matter of routing, not of trust.
    """
    return f"spiffe://{trust_domain}/ns/{service.namespace}/svc/{service.name}"


def is_spiffe_id(text: str) -> bool:
    """Whether a certificate of a workload can carry it; everything else is nobody's identity."""
    return _SPIFFE.fullmatch(text) is not None


def parse_spiffe_id(trust_domain: str, identity: str) -> Name | None:
    """The service that a SPIFFE ID of this trust domain belongs to; `None` for every other identity."""
    scheme, _, rest = identity.partition("://")
    parts = rest.split("/")
    if scheme != "spiffe" or len(parts) != 5 or not all(parts):
        return None
    domain, ns, namespace, svc, service = parts
    if (domain, ns, svc) != (trust_domain, "ns", "svc"):
        return None
    return Name(namespace, service)


def namespace_prefix(trust_domain: str, namespace: str) -> str:
    """What every SPIFFE ID of a namespace's services starts with (ends in `/`, so that no name is cut)."""
    return f"spiffe://{trust_domain}/ns/{namespace}/svc/"


def common_name(identity: str) -> str:
    """The common name in an identity's certificate: base32(SHA-256(SPIFFE ID)) without padding.

    52 characters, where X.520 allows 64; for proxies that cannot match URI SANs.
    """
    return base64.b32encode(hashlib.sha256(identity.encode()).digest()).decode().rstrip("=")


def dns_name(trust_domain: str, service: Name) -> str:
    """The one DNS name in a service's certificate: `<service>.<namespace>.<trust domain>`."""
    return f"{service.name}.{service.namespace}.{trust_domain}"
