"""What a rule of a route does to requests besides choosing where they go: redirects and rewrites."""

from __future__ import annotations

from collections.abc import Iterator

from policyd.model.paths import EVERYTHING, PathPattern
from policyd.model.route import RouteRule
from policyd.model.route_actions import Redirect, Rewrite
from policyd_compilers.haproxy.access import path_in
from policyd_compilers.haproxy.text import literal, regex, word


def redirect(asked: Redirect, here: str) -> Iterator[str]:
    """The lines that send a client elsewhere; what the rule does not say stays, and so does the query."""
    start = f"{asked.scheme or 'http'}://{word(asked.host) if asked.host else '%[var(txn.host)]'}"
    line = f"http-request redirect code {asked.code} location"
    if not asked.path:
        yield f"{line} {start}%[pathq] if {here}"
        return
    yield f"{line} {start}{_format(asked.path)}?%[query] if {here} {{ query -m len gt 0 }}"
    yield f"{line} {start}{_format(asked.path)} if {here}"


def rewrite(rule: RouteRule, asked: Rewrite, here: str) -> Iterator[str]:
    """The lines that change what the callee sees. The pattern is noted first: a new path may meet another."""
    if asked.path:
        for number, pattern in enumerate(rule.match.paths or (EVERYTHING,)):
            unmet = f"{here} !{{ var(txn.rewrite) -m found }}"
            for line in path_in(pattern):
                yield f"http-request set-var(txn.rewrite) int({number}) if {unmet} {{ {line} }}"
            found, new = _replaced(pattern, asked.path)
            yield f"http-request replace-path {found} {new} if {here} {{ var(txn.rewrite) -m int {number} }}"
    if asked.host:
        yield f"http-request set-header host {word(asked.host)} if {here}"


def _replaced(pattern: PathPattern, to: str) -> tuple[str, str]:
    """What is looked for, and what stands there afterwards."""
    if not pattern.rest:
        return regex(r"\A.*\z"), _format(to)
    beginning = "".join("/" + literal(segment or "") for segment in pattern.segments)
    if to == "/":
        return regex(rf"\A{beginning}/?(.*)\z"), r"/\1"
    return regex(rf"\A{beginning}(.*)\z"), rf"{_format(to)}\1"


def _format(path: str) -> str:
    """A path in a format, where a per cent sign is written twice."""
    return word(path.replace("%", "%%"))
