"""The methods that a canonical request may have; every other one is refused with 400 before any rule.

Source: RFC 9110 section 9.3 and RFC 5789. TRACE (it reflects credentials) and CONNECT (it opens tunnels) are left
out: no rule, and no `*` in a rule, lets them in. That a service takes connections (`tcp`) is another matter.
"""

from __future__ import annotations

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_ALL = frozenset(METHODS)
CONNECTION = "CONNECT"
"""What stands for a method where a connection is asked for, which has no path; only a `tcp` service takes one."""


def is_canonical_method(method: str) -> bool:
    """Whether a request with this method is judged by rules at all."""
    return method in _ALL
