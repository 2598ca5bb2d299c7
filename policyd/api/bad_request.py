"""What cannot be understood: raised by who reads a request, answered by who writes bodies.

It needs nothing, so that decision servers, which read the same questions, load no web framework.
"""

from __future__ import annotations


class BadRequest(Exception):
    """The request cannot be understood; `code` is OPA's word for it, `hint` what a person can do."""

    def __init__(self, message: str, *, code: str = "invalid_parameter", status: int = 400, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.hint = hint
