"""Access rules as a frontend decides them: each rule is a few conditions, and the first that holds leaves its name.

    caller, method, path, expiry  ->  txn.rule (who allowed)  |  txn.reason (why not)

Nothing is allowed by leaving a line out: what no rule has put its name to is denied by the last line. The hashed
common name says who the caller is (`policyd.model.names.common_name`), the UID in which namespace or trust domain.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from policyd.compiler.callers import Callers, callers
from policyd.compiler.rules import NO_RULE_FOR_CALLER, NO_RULE_FOR_REQUEST, RuleSets, policy_name
from policyd.model.access import ANY_METHOD, Access, Mode, Permit, Rule
from policyd.model.names import common_name
from policyd.model.paths import PathPattern
from policyd_compilers.haproxy import replies
from policyd_compilers.haproxy.names import DECISIONS
from policyd_compilers.haproxy.text import argument, literal, regex, remark, word

_START, _REST, _END = r"\A", r"(?:/|\z)", r"\z"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def identity() -> Iterator[str]:
    """The lines that read who calls, from the certificate that TLS has verified and from nothing else."""
    yield "http-request set-var(txn.name) ssl_c_s_dn(CN)"
    yield "http-request set-var(txn.caller) ssl_c_s_dn(UID)"
    yield "http-request set-header x-forwarded-client-cert URI=%[var(txn.caller)]"


def rules(access: Access, trust_domain: str, *, opaque_paths: bool) -> Iterator[str]:
    """The lines that decide, count and deny."""
    sets = RuleSets.of(access, opaque_paths=opaque_paths)
    named = [(rule, callers(rule, trust_domain)) for rule in sets.observed or sets.enforced]
    known = [(rule, who) for rule, who in named if who.exact or who.prefixes]
    for rule, who in known:
        yield from _conditions(rule, who)
    enforced = [rule for rule, _ in known if rule.mode is Mode.ENFORCE]
    yield "acl allowed var(txn.rule) -m found"
    yield f"http-request set-var(txn.reason) str({NO_RULE_FOR_CALLER})"
    for rule in enforced:
        yield f"http-request set-var(txn.reason) str({NO_RULE_FOR_REQUEST}) if {_caller(rule)}"
    yield from _decide("txn.rule", "allowed", enforced)
    if sets.observed:
        yield from _observe([rule for rule, _ in known])
    yield f"http-request track-sc0 var(txn.rule) table {DECISIONS} if allowed"
    yield f"http-request track-sc0 var(txn.reason) table {DECISIONS} unless allowed"
    denied = f"{{ var(txn.reason) -m str -- {NO_RULE_FOR_CALLER} }}"
    yield replies.deny(403, NO_RULE_FOR_CALLER, f"if !allowed {denied}")
    yield replies.deny(403, NO_RULE_FOR_REQUEST, "unless allowed")
    yield "http-request unset-var(txn.reason)"


def _observe(would_be: Sequence[Rule]) -> Iterator[str]:
    """The whole would-be set beside the deciding one: logged, counted where they differ, deciding nothing."""
    yield "acl would-allow var(txn.observed_rule) -m found"
    yield from _decide("txn.observed_rule", "would-allow", would_be)
    yield "http-request set-var(txn.observed) str(denied)"
    yield "http-request set-var(txn.observed) str(allowed) if would-allow"
    yield 'http-request set-var-fmt(txn.difference) "would-allow %[var(txn.observed_rule)]" if would-allow !allowed'
    yield f"http-request track-sc1 var(txn.difference) table {DECISIONS} if would-allow !allowed"


def _conditions(rule: Rule, who: Callers) -> Iterator[str]:
    """What the rule asks of callers, methods and paths, one value a line; lines of one name are alternatives."""
    for each in sorted(who.exact):
        yield f"acl {_caller(rule)} var(txn.name) -m str -- {common_name(each)}{remark(each)}"
    for prefix in sorted(who.prefixes):
        yield f"acl {_caller(rule)} var(txn.caller) -m beg -- {word(prefix)}"
    for number, permit in enumerate(rule.permits, 1):
        if ANY_METHOD not in permit.methods:
            yield f"acl {_part(rule, number, 'method')} method {' '.join(word(each) for each in permit.methods)}"
        for path in permit.paths:
            yield from (f"acl {_part(rule, number, 'path')} {match}" for match in _path(path))


def _decide(variable: str, decided: str, rules: Sequence[Rule]) -> Iterator[str]:
    for rule in rules:
        for number, permit in enumerate(rule.permits, 1):
            condition = " ".join([f"!{decided}", _caller(rule), *_permitted(rule, number, permit)])
            yield f"http-request set-var({variable}) str({argument(policy_name(rule))}) if {condition}"


def _permitted(rule: Rule, number: int, permit: Permit) -> Iterator[str]:
    if ANY_METHOD not in permit.methods:
        yield _part(rule, number, "method")
    yield _part(rule, number, "path")
    if rule.expires is not None:
        yield f"{{ date(0,ms) lt {_milliseconds(rule.expires)} }}"


def _path(pattern: PathPattern) -> Iterator[str]:
    """The alternatives that together are the pattern's set; the request is canonical, the query is not in `path`."""
    if not pattern.segments:
        yield "path -m beg -- /"
    elif None in pattern.segments:
        body = "".join("/" + ("[^/]+" if segment is None else literal(segment)) for segment in pattern.segments)
        yield f"path -m reg -- {regex(_START + body + (_REST if pattern.rest else _END))}"
    else:
        whole = "/" + "/".join(segment or "" for segment in pattern.segments)
        yield f"path -m str -- {word(whole)}"
        if pattern.rest:
            yield f"path -m beg -- {word(whole + '/')}"


def _caller(rule: Rule) -> str:
    return f"{rule.name.namespace}.{rule.name.name}:caller"


def _part(rule: Rule, number: int, what: str) -> str:
    return f"{rule.name.namespace}.{rule.name.name}:{number}:{what}"


def _milliseconds(instant: datetime) -> int:
    """Since the epoch, rounded down: a rule never lasts longer than it says."""
    since = instant.astimezone(UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000
