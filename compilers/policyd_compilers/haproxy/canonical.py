"""What is not canonical is refused with 400 before any rule: no two parsers can read differently what passes.

One expression says what a canonical path is (`policyd.model.paths.is_canonical_path`). It only ever lets in: were it
too much for the engine on some input, that input would be refused. Its quantifiers are possessive, so that a long
path needs neither time nor stack.
"""

from __future__ import annotations

from collections.abc import Iterator

from policyd.compiler.rules import NOT_CANONICAL
from policyd.model.methods import METHODS
from policyd_compilers.haproxy import replies
from policyd_compilers.haproxy.names import DECISIONS
from policyd_compilers.haproxy.text import regex

PATH = (
    r"\A(?:/(?!\.\.?(?:/|\z))(?:[A-Za-z0-9._~!$&\x27()*+,=:@-]|"
    r"%(?:0[1-9A-F]|1[0-9A-F]|2[0235]|3[BCEF]|5[BDE]|60|7[BCDF]|[89A-F][0-9A-F]))++)*+/?\z"
)
"""Segments of one or more path bytes, none of them `.` or `..`; `\\x27` is the quote that the word itself ends at."""
_PORT = r":\+?0*[0-9]{1,9}"
HOST = rf"(?i)\A(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?:\.?(?:{_PORT})?|{_PORT}\.)\z"
"""One host name or address, one trailing dot and a port if need be; a port of ten digits is refused here."""

TARGET = r"\A/[!\x22$-~]*\z"
"""Path and query together begin with `/` and are visible ASCII without `#`, whatever a service carries in paths."""
CONTROL = r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
"""What no header may hold; HAProxy itself lets it pass."""


def rules(*, opaque_paths: bool) -> Iterator[str]:
    """The lines that refuse, and those that leave the one spelling of the host for the rules and the application."""
    path = [] if opaque_paths else ["canonical-path"]
    yield f"acl canonical-method method {' '.join(METHODS)}"
    if not opaque_paths:
        yield f"acl canonical-path path -m reg -- {regex(PATH)}"
    yield f"acl canonical-target pathq -m reg -- {regex(TARGET)}"
    yield "acl one-host req.fhdr_cnt(host) eq 1"
    yield f"acl canonical-host req.fhdr(host) -m reg -- {regex(HOST)}"
    yield r"acl has-fragment url -m sub -- \#"
    yield "acl has-underscore req.hdr_names(:) -m sub -- _"
    yield f"acl has-control req.hdrs -m reg -- {regex(CONTROL)}"
    wrong = ["!has-fragment", "!has-underscore", "!has-control"]
    needs = ["canonical-method", "canonical-target", *path, "one-host", "canonical-host", *wrong]
    yield f"http-request set-var(txn.canonical) bool(true) if {' '.join(needs)}"
    yield "acl canonical var(txn.canonical) -m found"
    yield f"http-request track-sc0 str({NOT_CANONICAL}) table {DECISIONS} unless canonical"
    yield replies.deny(400, NOT_CANONICAL, "unless canonical")
    yield from host()
    yield "http-request set-header host %[var(txn.host)]"


def host() -> Iterator[str]:
    """Normalise the host into a variable: lower case, without port and one trailing dot."""
    yield "http-request set-var(txn.host) req.fhdr(host),lower,regsub(:[+]?[0-9]+[.]?$,),regsub([.]$,)"
