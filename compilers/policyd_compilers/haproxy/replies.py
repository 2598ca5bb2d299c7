"""What a caller is told when the sidecar itself answers: JSON with the reason, and the right status."""

from __future__ import annotations

from policyd.compiler.rules import MESSAGES
from policyd.model.names import Name

UPGRADE = "upgrade-not-offered"
OVERFLOW = "overflow"
_MESSAGES = {
    **MESSAGES,
    UPGRADE: "connections are not upgraded to other protocols",
    OVERFLOW: "as many requests as the service allows a caller are under way",
}
TOLD = "txn.told"
"""The caller's identity, if he may be told it; see `EDGE_HEADER`."""
_JSON = "%[{},json(utf8s)]"


def deny(status: int, reason: str, condition: str, caller: Name | None = None) -> str:
    """The line that ends a request. `caller` is the service itself, where the sidecar refuses its own application."""
    fields = {
        "reason": reason,
        "message": _MESSAGES[reason],
        "method": _JSON.format("method"),
        "host": _JSON.format("req.fhdr(host)"),
        "path": _JSON.format("pathq"),
        "caller": str(caller) if caller is not None else _JSON.format(f"var({TOLD})"),
    }
    body = ",".join(f'"{name}":"{value}"' for name, value in fields.items())
    return (
        f"http-request deny deny_status {status} content-type application/json "
        f"lf-string '{{\"error\":{{{body}}}}}' {condition}"
    )
