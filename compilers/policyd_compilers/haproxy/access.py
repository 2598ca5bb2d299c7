"""Access rules as a frontend decides them: each rule is a few conditions, and the first that holds leaves its name.

    caller, method, path, expiry  ->  txn.rule (who allowed)  |  txn.reason (why not)

Nothing is allowed by leaving a line out: what no rule has put its name to is denied by the last line. The hashed
common name says who the caller is (`policyd.model.names.common_name`), the UID in which namespace or trust domain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from policyd.compiler.addresses import Blocks
from policyd.compiler.callers import Callers, callers
from policyd.compiler.conditions import ADDRESS, EXPIRY, PORT
from policyd.compiler.rules import (
    NO_RULE_FOR_CALLER,
    NO_RULE_FOR_REQUEST,
    REVOKED,
    SAME,
    WOULD_ALLOW,
    WOULD_DENY,
    Judged,
    RuleSets,
)
from policyd.model.access import ANY_METHOD, Access, Permit, Rule
from policyd.model.mesh import Settings
from policyd.model.names import SPIFFE_FORM, common_name
from policyd.model.paths import PathPattern
from policyd.model.service import Service
from policyd_compilers.haproxy import replies
from policyd_compilers.haproxy.names import DECISIONS
from policyd_compilers.haproxy.text import argument, literal, regex, remark, word

_START, _REST, _END = r"\A", r"(?:/|\z)", r"\z"
CONDITIONS = frozenset({ADDRESS, PORT, EXPIRY})
"""What is judged here besides callers, methods and paths."""
_V6 = "peer-is-v6"
_SPIFFE = regex(_START + SPIFFE_FORM + _END)
"""Rules look for the beginning of an identity: what could not be a whole one is nobody's."""
_Who = Mapping[str, Sequence[Callers]]
"""The callers of each rule, by its name in logs."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def identity() -> Iterator[str]:
    """The lines that read who calls, from the certificate that TLS has verified and from nothing else."""
    yield "http-request set-var(txn.name) ssl_c_s_dn(CN)"
    yield f"http-request set-var(txn.caller) ssl_c_s_dn(UID) if {{ ssl_c_s_dn(UID) -m reg -- {_SPIFFE} }}"
    yield "http-request set-header x-forwarded-client-cert URI=%[var(txn.caller)]"


def rules(settings: Settings, service: Service, access: Access) -> Iterator[str]:
    """The lines that decide, count and deny."""
    sets = RuleSets.of(access, service, CONDITIONS)
    who = {
        each.name: tuple(_by_family(callers(each.rule, settings.trust_domain)))
        for each in (*sets.enforced, *sets.added)
    }
    if any(each.blocks for some in who.values() for each in some):
        yield f"acl {_V6} src -m sub -- :"
    enforced, would_be = (
        [each for each in some if who[each.name]] for some in (sets.enforced, sets.would_be if sets.observes else ())
    )
    for each in sorted({*enforced, *would_be}, key=lambda each: each.rule.name):
        yield from _conditions(each.rule, who[each.name])
    yield from _revoked(access.revoked)
    yield "acl allowed var(txn.rule) -m found"
    yield f"http-request set-var(txn.reason) str({NO_RULE_FOR_CALLER})"
    for each in enforced:
        yield from (
            f"http-request set-var(txn.reason) str({NO_RULE_FOR_REQUEST}) if {_caller(each.rule, number)}"
            for number, _ in enumerate(who[each.name], 1)
        )
    yield from _decide("txn.rule", "allowed", enforced, who)
    if sets.observes:
        yield from _differ(would_be, who)
    yield f"http-request track-sc0 var(txn.rule) table {DECISIONS} if allowed"
    yield f"http-request track-sc0 var(txn.reason) table {DECISIONS} unless allowed"
    denied = f"{{ var(txn.reason) -m str -- {NO_RULE_FOR_CALLER} }}"
    yield replies.deny(403, NO_RULE_FOR_CALLER, f"if !allowed {denied}")
    yield replies.deny(403, NO_RULE_FOR_REQUEST, "unless allowed")
    yield "http-request unset-var(txn.reason)"


def _revoked(identities: Sequence[str]) -> Iterator[str]:
    """Who is cut off is denied before any rule is looked at, by whichever name his certificate shows."""
    if not identities:
        return
    for each in identities:
        yield f"acl {REVOKED} var(txn.name) -m str -- {common_name(each)}"
        yield f"acl {REVOKED} var(txn.caller) -m str -- {word(each)}"
    yield f"http-request set-var(txn.reason) str({REVOKED}) if {REVOKED}"
    yield f"http-request track-sc0 var(txn.reason) table {DECISIONS} if {REVOKED}"
    yield replies.deny(403, REVOKED, f"if {REVOKED}")


def _differ(would_be: Sequence[Judged], who: _Who) -> Iterator[str]:
    """How the would-be set differs from the decision: logged, counted where it does, deciding nothing."""
    yield "acl would-fit var(txn.would_rule) -m found"
    yield from _decide("txn.would_rule", "would-fit", would_be, who, would=True)
    yield f"http-request set-var(txn.would) str({SAME})"
    for word_, rule, differs in (
        (WOULD_ALLOW, "would_rule", "would-fit !allowed"),
        (WOULD_DENY, "rule", "allowed !would-fit"),
    ):
        yield f'http-request set-var-fmt(txn.would) "{word_} %[var(txn.{rule})]" if {differs}'
        yield f"http-request track-sc1 var(txn.would) table {DECISIONS} if {differs}"


def _conditions(rule: Rule, who: Sequence[Callers]) -> Iterator[str]:
    """What the rule asks of callers, methods and paths, one value a line; lines of one name are alternatives."""
    for number, some in enumerate(who, 1):
        for each in sorted(some.exact):
            yield f"acl {_caller(rule, number)} var(txn.name) -m str -- {common_name(each)}{remark(each)}"
        for prefix in sorted(some.prefixes):
            yield f"acl {_caller(rule, number)} var(txn.caller) -m beg -- {word(prefix)}"
        yield from (f"acl {_part(rule, number, 'from')} src {block}" for block in some.blocks)
    for number, permit in enumerate(rule.permits, 1):
        if ANY_METHOD not in permit.methods:
            yield f"acl {_part(rule, number, 'method')} method {' '.join(word(each) for each in permit.methods)}"
        for path in permit.paths:
            yield from (f"acl {_part(rule, number, 'path')} {match}" for match in path_in(path))


def _decide(variable: str, decided: str, rules: Sequence[Judged], who: _Who, *, would: bool = False) -> Iterator[str]:
    """The first rule that fits; with `would`, one that others stand for from when on none of them does any more."""
    for each in rules:
        for source, some in enumerate(who[each.name], 1):
            for number, permit in enumerate(each.rule.permits, 1):
                meant = _meant(each.rule, source, some)
                conditions = [f"!{decided}", *meant, *_permitted(each.rule, number, permit)]
                if would and each.again is not None:
                    conditions.append(f"{{ date(0,ms) ge {_milliseconds(each.again)} }}")
                condition = " ".join(conditions)
                yield f"http-request set-var({variable}) str({argument(each.name)}) if {condition}"


def _by_family(who: Iterable[Callers]) -> Iterator[Callers]:
    """HAProxy finds IPv4 addresses in IPv6 ones, and the other way round: each family is asked for by itself."""
    for each in who:
        known = Blocks.of(each.blocks)
        for family in (known.v4, known.v6) if each.blocks else ():
            if family:
                yield replace(each, blocks=tuple(map(str, family)))
        if not each.blocks:
            yield each


def _meant(rule: Rule, number: int, who: Callers) -> Iterator[str]:
    yield _caller(rule, number)
    if who.blocks:
        yield _V6 if ":" in who.blocks[0] else f"!{_V6}"
        yield _part(rule, number, "from")


def _permitted(rule: Rule, number: int, permit: Permit) -> Iterator[str]:
    if ANY_METHOD not in permit.methods:
        yield _part(rule, number, "method")
    yield _part(rule, number, "path")
    if rule.expires is not None:
        yield f"{{ date(0,ms) lt {_milliseconds(rule.expires)} }}"


def path_in(pattern: PathPattern) -> Iterator[str]:
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


def _caller(rule: Rule, number: int) -> str:
    """The condition on who calls. Sources at several addresses have one each."""
    return f"{rule.name.namespace}.{rule.name.name}:{f'{number}:' if number > 1 else ''}caller"


def _part(rule: Rule, number: int, what: str) -> str:
    return f"{rule.name.namespace}.{rule.name.name}:{number}:{what}"


def _milliseconds(instant: datetime) -> int:
    """Since the epoch, rounded down: a rule never lasts longer than it says."""
    since = instant.astimezone(UTC) - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000 + since.microseconds // 1_000
