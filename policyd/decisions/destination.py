"""All rules of one service, ready to be asked: by caller, then by path, so that few of them are looked at.

Literal paths are found by hash; of the rules that name a caller, those with patterns are tried in order. What decides
and what explains are the same comparisons (`Destination.obstacle`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from policyd.decisions.addresses import NOWHERE, Blocks, address_number
from policyd.decisions.callers import Callers, prefixes
from policyd.decisions.compiled import CompiledRule
from policyd.decisions.decision import Cause, Obstacle, Would
from policyd.decisions.lanes import NONE, Lane
from policyd.decisions.request import Request, TokenState
from policyd.model.access import Access, Mode
from policyd.model.methods import is_canonical_method
from policyd.model.names import Name, is_spiffe_id
from policyd.model.paths import is_canonical_path


@dataclass(frozen=True, slots=True)
class Named:
    """The rules that name a caller by one key, in order: from where he has to call (`None` = anywhere).

    `patterned` are those of them whose paths are not all literal. `lane` answers for all of them, where none asks for
    more than method and path, and nothing is observed.
    """

    rules: Mapping[int, Blocks | None]
    patterned: tuple[int, ...]
    lane: Lane | None


class Verdict(NamedTuple):
    """What is decided, before anybody asks why."""

    cause: Cause
    rule: Name | None = None
    would: Would | None = None
    observer: Name | None = None


_UNKNOWN_PORT, _REVOKED, _NO_RULE = Verdict(Cause.UNKNOWN_PORT), Verdict(Cause.REVOKED), Verdict(Cause.NO_RULE)


@dataclass(frozen=True, slots=True)
class Destination:
    """The rules of one service. Numbers are positions in `rules`, which are in order of name."""

    access: Access
    trust_domain: str
    opaque_paths: bool
    connections: bool
    port: int
    rules: tuple[CompiledRule, ...]
    by_identity: Mapping[str, Named]
    by_prefix: Mapping[str, Named]
    by_path: Mapping[str, Mapping[int, None]]
    """The rules that allow something on a literal path."""
    revoked: frozenset[str]
    observers: Mapping[int, tuple[int, ...]]
    """The rules that are only observed, each with those that it stands for."""
    allowed: tuple[Verdict, ...]
    """What is said where a rule is the first to allow, and nothing is observed."""
    sources_told: dict[Name, str] = field(init=False, default_factory=dict, compare=False, repr=False)
    """By rule, whom it allows, in words: of the rules that were told to somebody so far."""

    @classmethod
    def of(
        cls,
        access: Access,
        trust_domain: str,
        *,
        opaque_paths: bool,
        port: int,
        connections: bool = False,
        issuers: Mapping[str, str] | None = None,
    ) -> Destination:
        """Make the rules of one service ready. `issuers` are the `iss` of tokens by the name that rules use.

        `connections`: the service takes connections, and no requests.
        """
        rules = tuple(
            CompiledRule.of(
                rule, port=port, opaque_paths=opaque_paths, connections=connections, issuers=issuers or {}
            )
            for rule in access.rules
        )
        by_identity: dict[str, dict[int, Blocks | None]] = {}
        by_prefix: dict[str, dict[int, Blocks | None]] = {}
        by_path: dict[str, dict[int, None]] = {}
        for position, compiled in enumerate(rules):
            for path in compiled.literal:
                by_path.setdefault(path, {})[position] = None
            for source in compiled.rule.sources:
                callers = Callers.of(source, trust_domain)
                for identity in filter(is_spiffe_id, callers.identities):  # nobody is called anything else
                    _add(by_identity.setdefault(identity, {}), position, callers.blocks)
                for prefix in callers.prefixes:
                    _add(by_prefix.setdefault(prefix, {}), position, callers.blocks)
        observers = _observers(rules)
        lanes = [None if observers else Lane.of(position, compiled) for position, compiled in enumerate(rules)]
        return cls(
            access,
            trust_domain,
            opaque_paths,
            connections,
            port,
            rules,
            _named(by_identity, rules, lanes),
            _named(by_prefix, rules, lanes),
            by_path,
            frozenset(access.revoked),
            observers,
            tuple(Verdict(Cause.ALLOWED, compiled.rule.name) for compiled in rules),
        )

    @property
    def asks_tokens(self) -> bool:
        """Whether some rule asks for a token."""
        return any(rule.token is not None for rule in self.rules)

    def naming(self, source: str) -> Sequence[Named]:
        """The rules that name a caller, by each key that he is known by."""
        direct = self.by_identity.get(source)
        found = () if direct is None else (direct,)
        if not self.by_prefix:
            return found
        wider = [named for prefix in prefixes(source) if (named := self.by_prefix.get(prefix)) is not None]
        return (*found, *wider)

    def candidates(self, naming: Sequence[Named], path: str) -> Collection[int]:
        """The rules that are looked at, in order: they name the caller, and the path or a pattern."""
        literal = self.by_path.get(path)
        found: list[int] = []
        for named in naming:
            if literal is not None and len(literal) <= len(named.rules):
                found += [position for position in literal if position in named.rules]
            elif literal is not None:
                found += [position for position in named.rules if position in literal]
            found += named.patterned
        return sorted(set(found)) if len(found) > 1 else found

    def judge(self, request: Request, at: datetime) -> Verdict:
        """Decide about a canonical request to this service at the instant `at`."""
        if request.port is not None and request.port != self.port:
            return _UNKNOWN_PORT
        if request.source in self.revoked:
            return _REVOKED
        naming = self.naming(request.source)
        if not naming:
            return _NO_RULE
        path = request.bare_path
        if len(naming) == 1 and (lane := naming[0].lane) is not None:
            first = lane.first(request.method, path)
            return _NO_RULE if first == NONE else self.allowed[first]
        return self._compared(request, path, naming, at)

    def plainly(self, source: str, method: str, path: str) -> Verdict | None:
        """What `Index.judge` decides of a request that says no more, at any instant; `None` where it has to look.

        Who is in `by_identity` has a SPIFFE ID, and a literal path of a lane is canonical: that is not asked again.
        """
        if not path or self.connections or source in self.revoked or not is_canonical_method(method):
            return None
        named = self.by_identity.get(source)
        if named is None and not is_spiffe_id(source):
            return None
        if self.by_prefix:
            naming = self.naming(source)
            if len(naming) > 1:
                return None
            named = naming[0] if naming else None
        if named is None:
            return _NO_RULE if is_canonical_path(path) else None
        lane = named.lane
        if lane is None or not (method + path in lane.literal or is_canonical_path(path)):
            return None
        first = lane.first(method, path)
        return _NO_RULE if first == NONE else self.allowed[first]

    def _compared(self, request: Request, path: str, naming: Sequence[Named], at: datetime) -> Verdict:
        """Decide by the conditions of each rule that could allow."""
        allowing: int | None = None
        fitting: list[int] = []
        refusal = Cause.NO_RULE
        for position in self.candidates(naming, path):
            obstacle = self.obstacle(position, naming, request, path, at)
            if obstacle is None:
                if allowing is None:
                    allowing = position
                if not self.observers:
                    break
                fitting.append(position)
            elif obstacle is Obstacle.OBSERVES:
                fitting.append(position)
            elif obstacle is Obstacle.TOKEN and self._asks(position, request):
                refusal = Cause.TOKEN_NEEDED
        would, observer = self._would(allowing, fitting, at) if self.observers else (None, None)
        if allowing is None:
            return _NO_RULE if refusal is Cause.NO_RULE and would is None else Verdict(refusal, None, would, observer)
        return Verdict(Cause.ALLOWED, self.rules[allowing].rule.name, would, observer)

    def obstacle(
        self, position: int, naming: Sequence[Named], request: Request, path: str, at: datetime
    ) -> Obstacle | None:
        """What of a rule the request does not meet, if anything; `naming` are the rules that name its caller."""
        compiled = self.rules[position]
        if not compiled.permits(request.method, path):
            if compiled.methods_on(path):
                return Obstacle.METHOD
            return Obstacle.PORT if compiled.elsewhere and compiled.ports_on(path) else Obstacle.PATH
        if not compiled.rule.in_force(at):
            return Obstacle.EXPIRED
        if (unmet := _unmet(position, naming, request.ip)) is not None:
            return unmet
        if compiled.token is not None and not compiled.token.met_by(request.token):
            return Obstacle.TOKEN
        return None if compiled.rule.mode is Mode.ENFORCE else Obstacle.OBSERVES

    def next_expiry(self, at: datetime) -> datetime | None:
        """The first instant after `at` at which a rule ends; `None` if none ever does."""
        ends = (compiled.rule.expires for compiled in self.rules)
        return min((end for end in ends if end is not None and end > at), default=None)

    def _asks(self, position: int, request: Request) -> bool:
        """Whether a rule that lacks only a token decides, and no valid one was given."""
        return request.token.state is not TokenState.VALID and self.rules[position].rule.mode is Mode.ENFORCE

    def _would(self, allowing: int | None, fitting: Sequence[int], at: datetime) -> tuple[Would | None, Name | None]:
        """What the observed rules would change, in the place of what they stand for (`Access.would_be`)."""
        standing = {each: gone for each, gone in self.observers.items() if self.rules[each].rule.in_force(at)}
        gone = {position for replaced in standing.values() for position in replaced}
        left = next((position for position in fitting if position not in gone), None)
        if allowing is None and left is not None:
            return Would.ALLOW, self.rules[left].rule.name
        if allowing is not None and left is None:
            observer = next(observer for observer, replaced in standing.items() if allowing in replaced)
            return Would.DENY, self.rules[observer].rule.name
        return None, None


def _add(rules: dict[int, Blocks | None], position: int, blocks: Blocks | None) -> None:
    """One more source of a rule: together they name the caller from wherever one of them does."""
    before = rules.get(position, blocks)
    rules[position] = None if blocks is None or before is None else before | blocks


def _named(
    by_key: Mapping[str, Mapping[int, Blocks | None]], rules: Sequence[CompiledRule], lanes: Sequence[Lane | None]
) -> Mapping[str, Named]:
    """Callers that are named by the same rules share what is made of those."""
    made: dict[tuple[tuple[int, Blocks | None], ...], Named] = {}
    found: dict[str, Named] = {}
    for key, positions in by_key.items():
        same = tuple(positions.items())
        if same not in made:
            patterned = tuple(position for position in positions if rules[position].patterns)
            made[same] = Named(positions, patterned, _joined(positions, lanes))
        found[key] = made[same]
    return found


def _joined(positions: Mapping[int, Blocks | None], lanes: Sequence[Lane | None]) -> Lane | None:
    """The lane of these rules; `None` where one of them looks at more than method and path."""
    own = [lanes[position] for position, blocks in positions.items() if blocks is None]
    known = [lane for lane in own if lane is not None]
    return Lane.joined(known) if len(known) == len(positions) else None


def _observers(rules: Sequence[CompiledRule]) -> dict[int, tuple[int, ...]]:
    positions = {compiled.rule.name: position for position, compiled in enumerate(rules)}
    return {
        position: tuple(positions[name] for name in compiled.rule.replaces if name in positions)
        for position, compiled in enumerate(rules)
        if compiled.rule.mode is Mode.OBSERVE
    }


def _unmet(position: int, naming: Sequence[Named], ip: str) -> Obstacle | None:
    """What the caller lacks, if anything: to be named by the rule, or to call from where it names him."""
    unmet = Obstacle.SOURCE
    for named in naming:
        blocks = named.rules.get(position, NOWHERE)
        if blocks is None:
            return None
        if blocks is not NOWHERE:
            unmet, number = Obstacle.ADDRESS, address_number(ip)
            if number is not None and number in blocks:
                return None
    return unmet
