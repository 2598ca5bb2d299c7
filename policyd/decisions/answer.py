"""A decision as people and programs are told it: plain values, with the places in Git that said so.

Decision + provenance -> Answer -> `policyd explain`, `/v1/explain`, `policyd why`
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from policyd.compiler.rules import policy_name
from policyd.decisions.decision import Cause, Decision
from policyd.decisions.index import Index
from policyd.decisions.request import Request
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.provenance import Key, Provenance
from policyd.model.revocation import Revocation


@dataclass(frozen=True, slots=True)
class Live:
    """What the connected proxies of the destination do with the request, while they differ."""

    allow: int
    of: int
    unknown: int = 0
    """Those that have not acknowledged what they were given last, so that nobody can tell."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision, the rule that allowed, and why; `outcome` is `allow`, `deny` (401, 403) or `reject` (400).

    Of a request that is followed from its caller also `redirect` or `abort`: a rule of a route answers it.
    """

    allow: bool
    outcome: str
    rule: str
    reasons: tuple[str, ...]
    place: str = ""
    """`file:line:column` of the rule."""
    owner: str = ""
    commit: str = ""
    places: tuple[str, ...] = ()
    """For each reason, where the rule that it is about stands."""
    status: int = 403
    cause: str = ""
    """Why, in one word: `no-rule`, `revoked`, `token-needed`, ..."""
    would: str = ""
    """`would-allow` or `would-deny`, where the observed rules would decide otherwise."""
    observer: str = ""
    policy: str = ""
    """The rule as logs name it: `namespace/rule#hash`."""
    logged_now: str = ""
    """What logs call the rule now that was asked about by its name in a log; empty if there is none."""
    judged: str = ""
    """Whose rules answered: `promoted`, `head`, a commit, a node; empty for a folder."""
    live: Live | None = None
    routing: tuple[str, ...] = ()
    """Where the request goes and how often it is tried, in words; only where somebody asks for an explanation."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is asked, and where its intents stand."""

    mesh: Mesh
    provenance: Mapping[Key, Provenance]
    commit: str = ""
    cuts: tuple[Revocation, ...] = ()
    """Who is cut off there: the mesh's own revocations, and those that were ordered."""


def answered(decision: Decision, request: Request, said: Said, index: Index, logged: str = "") -> Answer:
    """The decision with its places. `logged` is a rule's name in a log, whose name now is looked up."""
    reasons = decision.reasons
    texts, places = [reason.text for reason in reasons], [place_of(said, reason.rule) for reason in reasons]
    for cut in _cuts(decision, request, said.cuts):
        texts.append(f"revocation `{cut.name}`: {cut.reason}")
        places.append(place_of(said, cut.name, "Revocation"))
    known = said.provenance.get(Key("AccessRule", decision.rule)) if decision.rule is not None else None
    names = _policy_names(index, request, [decision.rule, _rule_of(logged)])
    return Answer(
        allow=decision.allow,
        outcome=decision.outcome.value,
        rule=str(decision.rule or ""),
        reasons=tuple(texts),
        place=str(known.location) if known is not None else "",
        owner=known.owner if known is not None else "",
        commit=said.commit,
        places=tuple(places),
        status=decision.status,
        cause=decision.cause.value,
        would=decision.would.value if decision.would is not None else "",
        observer=str(decision.observer or ""),
        policy=names[0],
        logged_now=names[1],
    )


def place_of(said: Said, name: Name | None, kind: str = "AccessRule") -> str:
    """Where the intents say it; empty where nobody knows."""
    known = said.provenance.get(Key(kind, name)) if name is not None else None
    return str(known.location) if known is not None else ""


def _cuts(decision: Decision, request: Request, cuts: Iterable[Revocation]) -> tuple[Revocation, ...]:
    """The revocations that closed it."""
    if decision.cause is not Cause.REVOKED:
        return ()
    return tuple(cut for cut in cuts if cut.cuts(request.destination) == request.source)


def _rule_of(logged: str) -> Name | None:
    name = logged.partition("#")[0]
    return Name.parse(name) if "#" in logged and "/" in name else None


def _policy_names(index: Index, request: Request, names: Iterable[Name | None]) -> list[str]:
    """Rules of the destination as logs call them; empty for one that is not there."""
    destination = index.destinations.get(request.destination)
    rules = {rule.name: rule for rule in destination.access.rules} if destination is not None else {}
    return [policy_name(rules[name]) if name is not None and name in rules else "" for name in names]
