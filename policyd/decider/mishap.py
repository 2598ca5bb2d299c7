"""What a client gets where our own code failed: a 500 in OPA's shape, and for us the traceback in the log.

An exception that nobody expected says nothing about the client, nor about other questions on its connection: both go
on. It is neither yes nor no, so nothing opens by it.
"""

from __future__ import annotations

import structlog

from policyd.decider.exchange import Exchange, Heads, error_body

_WORDS = "this could not be answered: the server's log says why"


def mishap(heads: Heads, exchange: Exchange, error: BaseException) -> bytes:
    """The answer to `exchange`, whose own answer ended in `error`. The words of `error` stay with us."""
    structlog.get_logger("decide").error(
        "a question was not answered",
        target=exchange.target[:200].decode("latin-1"),
        client=exchange.peer.decode(),
        exc_info=(type(error), error, error.__traceback__),
    )
    return heads.response(500, error_body("internal_error", _WORDS), keep_alive=exchange.keep_alive)
