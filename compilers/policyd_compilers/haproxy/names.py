"""Names inside a node's configuration. Names of intents are DNS labels without dots, so a dot joins them."""

from __future__ import annotations

from policyd.compiler.naming import SVID, TRUST_BUNDLE
from policyd.model.names import Name

NODE_FILE = "05-node.cfg"
PROCESS = "10-process.cfg"
INBOUND_FILE = "20-inbound.cfg"
OUTBOUND_FILE = "30-outbound.cfg"
CERTIFICATE = f"{SVID}.pem"
"""The node's certificate chain and key in one file, beside the configuration."""
ROOTS = f"{TRUST_BUNDLE}.pem"
APP_HEALTH = "app-health"
DECISIONS = "decisions"
"""The table that counts what was decided, by rule or by reason."""


def destination_file(service: Name) -> str:
    """The file with the backends of a destination; equal for all its callers."""
    return f"50-{service.namespace}.{service.name}.cfg"


def backend(service: Name, version: str) -> str:
    """The backend of one version of a service: its counters are that version's counters."""
    return f"{service.namespace}.{service.name}.{version}"


def condition(service: Name, what: str) -> str:
    """A condition on requests to a service."""
    return f"{service.namespace}.{service.name}:{what}"
