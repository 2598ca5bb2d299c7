"""Redirects of a route that lead back to where they began."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from policyd.model.paths import PathPattern
from policyd.model.route import Match, Route, RouteRule
from policyd.model.route_actions import Redirect

_SEE_OTHER = 303
"""The one status that makes every further request a `GET`. Source: RFC 9110, section 15.4.4."""


def round_trip(route: Route, rule: RouteRule, hosts: Collection[str]) -> tuple[RouteRule, ...]:
    """The rules that send a client from one to the next and back to `rule`, the first of them; else none.

    `hosts` are the names of the service. What else a request brings, such as headers, it brings again.
    """
    way, asked = [rule], rule.match
    while (to := way[-1].redirect) is not None and _stays(to, hosts):
        asked = _again(asked, to)
        following = next((each for each in route.rules if each.match.covers(asked)), None)
        if following is rule:
            return tuple(way)
        if following is None or following in way:
            break
        way.append(following)
    return ()


def _stays(to: Redirect, hosts: Collection[str]) -> bool:
    """Whether the new place is the same service, by the scheme that sidecars are called by."""
    return (not to.host or to.host in hosts) and to.scheme != "https"


def _again(asked: Match, to: Redirect) -> Match:
    """What the client asks for next."""
    return replace(
        asked,
        hosts=(to.host,) if to.host else asked.hosts,
        paths=(PathPattern.parse(to.path),) if to.path else asked.paths,
        methods=("GET",) if to.code == _SEE_OTHER else asked.methods,
    )
