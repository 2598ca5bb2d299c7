"""`PolicyTest` documents against the rules of their own tree: what is expected, and what is decided.

    documents + mesh -> Expectations.judge -> Tried -> findings, `policyd test`

A document is judged again only where it, a destination that it asks about, or what has ended by now is another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import cast

from policyd.base.diagnostics import Finding, Location
from policyd.decisions.destination import Destination
from policyd.decisions.following import Followed, follow
from policyd.decisions.index import Index
from policyd.decisions.reasons import short
from policyd.decisions.request import NO_TOKEN, Request, Token, TokenState
from policyd.intents import Document
from policyd.intents.policy_test import Case, PolicyTest
from policyd.intents.policy_test import Token as TokenIntent
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.revocation import caller_identity
from policyd.model.route import Route

KIND = "PolicyTest"


@dataclass(frozen=True, slots=True)
class Tried:
    """One case and what became of it."""

    document: Document
    number: int
    case: Case
    followed: Followed

    @property
    def passed(self) -> bool:
        """Whether it is as expected."""
        return self.followed.outcome.value == self.case.expect

    @property
    def place(self) -> Location:
        """Where the expectation stands."""
        return self.document.locate("spec", self.number, "expect")

    @property
    def _arrives(self) -> str:
        """Where a rule of a route rewrites the path, or sends it to another service: what is judged, and by whom."""
        sent, judged = self.followed.sent, self.followed.judged
        path = f" as `{judged.bare_path}`" if judged.bare_path != sent.bare_path else ""
        there = f" at `{short(judged.destination)}`" if judged.destination != sent.destination else ""
        return f" to what arrives{path}{there}" if self.followed.reply is None and (path or there) else ""

    def finding(self) -> Finding:
        """What to say where it is not as expected: the decision, and the nearest reasons as a hint."""
        first, *near = self.followed.reasons
        when = f" at {self.case.at:%Y-%m-%dT%H:%M:%SZ}" if self.case.at is not None else ""
        return self.document.finding(
            "PD1391",
            f"`{self.case.expect}` is expected, and the answer{when}{self._arrives} is "
            f"`{self.followed.outcome.value}` ({self.followed.status}): {first.text}",
            *("spec", self.number, "expect"),
            hint="; ".join(reason.text for reason in near),
        )


@dataclass(frozen=True, slots=True)
class _Kept:
    """The cases of a document, and all that they hung on."""

    tried: tuple[Tried, ...]
    trust_domain: str
    issuers: Mapping[str, str]
    destinations: Mapping[Name, Destination | None]
    routes: Mapping[Name, Route | None]
    since: datetime
    until: datetime | None

    def holds(self, index: Index, mesh: Mesh, at: datetime) -> bool:
        """Whether all would be decided alike."""
        return (
            self.trust_domain == index.trust_domain
            and self.issuers == index.issuers
            and self.since <= at
            and (self.until is None or at < self.until)
            and all(index.destinations.get(name) is known for name, known in self.destinations.items())
            and all(_route(mesh, name) == known for name, known in self.routes.items())
        )


class Expectations:
    """Judges trees one after another. `decided` counts the cases that really had to be; not for two threads."""

    def __init__(self) -> None:
        self._index: Index | None = None
        self._kept: dict[Document, _Kept] = {}
        self.decided = 0

    def judge(self, documents: Iterable[Document], mesh: Mesh, at: datetime) -> tuple[Tried, ...]:
        """Every case of a tree, in order of place. `mesh` is what the tree says, without who is cut off."""
        tests = [document for document in documents if document.kind == KIND]
        self._index = Index.build(mesh, self._index) if tests else None
        kept = {document: self._of(document, mesh, at) for document in tests}
        self._kept = kept
        return tuple(tried for known in kept.values() for tried in known.tried)

    def _of(self, document: Document, mesh: Mesh, at: datetime) -> _Kept:
        assert self._index is not None
        known = self._kept.get(document)
        if known is None or not known.holds(self._index, mesh, at):
            known = _try(document, self._index, mesh, at)
            self.decided += len(known.tried)
        return known


def failures(tried: Iterable[Tried]) -> tuple[Finding, ...]:
    """A finding for every case that is not as expected."""
    return tuple(one.finding() for one in tried if not one.passed)


def _route(mesh: Mesh, name: Name) -> Route | None:
    service = mesh.services.get(name)
    return service.route if service is not None else None


def _try(document: Document, index: Index, mesh: Mesh, at: datetime) -> _Kept:
    tried = tuple(_cases(document, index, mesh, at))
    called = {one.followed.sent.destination for one in tried}
    routes = {name: _route(mesh, name) for name in called}
    judging = called.union(*(route.services for route in routes.values() if route is not None))
    destinations = {name: index.destinations.get(name) for name in judging}
    now = destinations.values() if any(one.case.at is None for one in tried) else ()
    ends = (destination.next_expiry(at) for destination in now if destination is not None)
    until = min((end for end in ends if end is not None), default=None)
    return _Kept(tried, index.trust_domain, index.issuers, destinations, routes, at, until)


def _cases(document: Document, index: Index, mesh: Mesh, at: datetime) -> Iterator[Tried]:
    namespace = document.name.namespace
    for number, case in enumerate(cast("PolicyTest", document.intent).spec):
        method, path = case.request
        request = Request(
            source=caller_identity(index.trust_domain, case.from_, namespace),
            destination=Name.parse(case.to, namespace),
            method=method,
            path=path,
            host=case.host or "",
            ip=case.ip or "",
            port=case.port,
            token=_token(case.jwt, index.issuers),
            headers=_brought(case),
        )
        yield Tried(document, number, case, follow(index, mesh, request, case.at or at))


def _brought(case: Case) -> tuple[tuple[str, str], ...] | None:
    """All headers that it brings, cookies among them; `None` where the case speaks of none."""
    cookies = "; ".join(f"{name}={value}" for name, value in case.cookies.items())
    return (*case.headers.items(), *([("cookie", cookies)] if cookies else ())) or None


def _token(said: TokenIntent | None, issuers: Mapping[str, str]) -> Token:
    if said is None:
        return NO_TOKEN
    claims = {name: values[0] if len(values) == 1 else list(values) for name, values in said.claims.items()}
    state = TokenState.VALID if said.valid else TokenState.INVALID
    return Token(state, issuers.get(said.issuer, ""), claims)
