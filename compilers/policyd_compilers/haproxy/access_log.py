"""One JSON line on standard output for each request: who called what, which rule decided, what became of it.

The request is gone when its line is written, so what the line says of it was put into variables first.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

NODE = "POLICYD_NODE"
"""The variable of the process that holds the node's id (`process.node`), so that what is logged is shared by all."""
_COMMON = {
    "node": f"%[env({NODE})]",
    "start": "%[var(txn.start)]",
    "method": "%[var(txn.method),json(utf8s)]",
    "host": "%[var(txn.authority),json(utf8s)]",
    "path": "%[var(txn.target),json(utf8s)]",
    "flags": "%ts",
    "request_id": "%[var(txn.request_id),json(utf8s)]",
}
_NUMBERS = {"status": "%ST", "duration_ms": "%Ta", "bytes_in": "%U", "bytes_out": "%B"}
_INBOUND = {
    "details": "%[var(txn.reason)]",
    "caller": "%[var(txn.caller),json(utf8s)]",
    "ip": "%ci",
    "rule": "%[var(txn.rule)]",
    "would": "%[var(txn.would)]",
}
_OUTBOUND = {"route": "%[var(txn.route)]", "upstream": "%b", "upstream_host": "%s", "retries": "%rc"}


def remember() -> Iterator[str]:
    """The lines that keep what the log will say, before any rule can end the request."""
    yield "http-request set-var(txn.start) date(),utime(%Y-%m-%dT%H:%M:%SZ)"
    yield "http-request set-var(txn.method) method"
    yield "http-request set-var(txn.authority) req.fhdr(host)"
    yield "http-request set-var(txn.target) pathq"
    yield "http-request set-header x-request-id %[uuid()] unless { req.hdr(x-request-id) -m found }"
    yield "http-request set-var(txn.request_id) req.fhdr(x-request-id)"


def inbound() -> str:
    """The log of calls received: `rule` is what decided, `would` how the would-be set differs."""
    return _format("inbound", _INBOUND)


def outbound() -> str:
    """The log of calls made: `route` says why a host was refused, `upstream` which version answered."""
    return _format("outbound", _OUTBOUND)


def _format(listener: str, more: Mapping[str, str]) -> str:
    texts = [f'"{name}":"{value}"' for name, value in {"listener": listener, **_COMMON, **more}.items()]
    numbers = [f'"{name}":{value}' for name, value in _NUMBERS.items()]
    return f"log-format '{{{','.join(texts + numbers)}}}'"
