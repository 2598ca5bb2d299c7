"""The gRPC health protocol for a proxy that does not speak gRPC itself: one call, as the bytes of its HTTP/2 frames.

HAProxy sends them and waits for the bytes of the answer. Sources: RFC 9113, 3.4 (preface) and 4.1 (frames); RFC 7541,
6 (header fields, here none that is compressed); the gRPC protocol over HTTP/2; `grpc.health.v1`.
"""

from __future__ import annotations

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _SETTINGS = 0, 1, 4
_END_STREAM, _END_HEADERS = 1, 4
_POST, _HTTP = b"\x83", b"\x86"
"""`:method: POST` and `:scheme: http`, from the static table (RFC 7541, appendix A)."""
_AUTHORITY, _PATH, _CONTENT_TYPE, _NEW_NAME = b"\x01", b"\x04", b"\x0f\x10", b"\x00"
"""The names of literal fields, by their place in that table."""
_CHECK = b"/grpc.health.v1.Health/Check"


def _grpc(message: bytes) -> bytes:
    """A message that is not compressed, with its length before it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


SERVING = _grpc(b"\x08\x01")
"""The answer `status: SERVING`; every other status, and an error, has other bytes."""


def question(service: str, authority: str) -> bytes:
    """A connection with one call that asks about `service`; empty: the whole server."""
    headers = b"".join(
        (
            _POST,
            _HTTP,
            _PATH + _text(_CHECK),
            _AUTHORITY + _text(authority.encode()),
            _CONTENT_TYPE + _text(b"application/grpc"),
            _NEW_NAME + _text(b"te") + _text(b"trailers"),
        )
    )
    asked = b"\x0a" + _text(service.encode()) if service else b""
    return b"".join(
        (
            _PREFACE,
            _frame(_SETTINGS, 0, 0, b""),
            _frame(_HEADERS, _END_HEADERS, 1, headers),
            _frame(_DATA, _END_STREAM, 1, _grpc(asked)),
        )
    )


def _text(text: bytes) -> bytes:
    """A text after its length, which fits into seven bits: that is one byte in HPACK and in Protobuf alike."""
    assert len(text) < 127
    return bytes([len(text)]) + text


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
