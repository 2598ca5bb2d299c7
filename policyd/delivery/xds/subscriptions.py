"""What one proxy asks for, of one type, on one stream: the incremental xDS protocol without any I/O.

`stream` feeds requests in, `conversation` asks what is due. The rules are those of the xDS transport protocol
("Incremental xDS"); where implementations commonly go wrong, the comment names the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field

from policyd.compiler.artifact import Artifact
from policyd.delivery.snapshot import is_kept

WILDCARD = "*"
_UNCERTAIN = ""
"""The version of a resource that the proxy may or may not have: equal to no content digest, so it is sent again."""


@dataclass(frozen=True, slots=True)
class Request:
    """One `DeltaDiscoveryRequest`. `error` is the text of `error_detail`; `None` if that is absent."""

    type_url: str
    subscribe: tuple[str, ...] = ()
    unsubscribe: tuple[str, ...] = ()
    initial_versions: Mapping[str, str] = field(default_factory=dict)
    nonce: str = ""
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Push:
    """The content of one `DeltaDiscoveryResponse`."""

    type_url: str
    resources: tuple[Artifact, ...]
    removed: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every resource that the response is about."""
        return (*(artifact.name for artifact in self.resources), *self.removed)

    @property
    def versions(self) -> dict[str, str]:
        """Versions by resource name; empty for a removal."""
        return {artifact.name: artifact.version for artifact in self.resources} | dict.fromkeys(self.removed, "")


@dataclass(frozen=True, slots=True)
class Answer:
    """The proxy's word about an earlier push; `error` is `None` for an acknowledgement."""

    push: Push
    error: str | None


class Subscription:
    """State of one type on one stream.

    `wildcards` says whether the type may be asked for without names. `suspects` are resources of which the proxy
    may hold refused content whatever it reports. `absence` makes what is sent in place of a removal, for types
    where a proxy ignores removals.
    """

    def __init__(
        self,
        type_url: str,
        *,
        wildcards: bool,
        suspects: Iterable[str] = (),
        absence: Callable[[str], Artifact] | None = None,
    ) -> None:
        self.type_url = type_url
        self._wildcards = wildcards
        self._suspects = frozenset(suspects)
        self._absence = absence
        self._begun = False
        self._wildcard = False
        self._names: set[str] = set()
        self._held: dict[str, str] = {}
        self._owed: set[str] = set()
        self._owes_all = False
        self._in_flight: dict[str, Push] = {}

    @property
    def waiting(self) -> bool:
        """Whether some push has not been answered."""
        return bool(self._in_flight)

    def holds(self, name: str, version: str) -> bool:
        """Whether the proxy was sent, or reported, exactly this content and did not refuse it since."""
        return self._held.get(name) == version

    @property
    def held(self) -> Mapping[str, str]:
        """The versions that the proxy has, by name: as it reported them, and what it was sent since."""
        return self._held

    def receive(self, request: Request) -> Answer | None:
        """Take a request in; returns what it says about an earlier push, if anything.

        Subscription changes count whatever the nonce is: a stale nonce never cancels them.
        """
        answer = self._answered(request)
        first, self._begun = not self._begun, True
        if first:
            self._held.update(request.initial_versions)
            # Only the very first request of a type can mean "everything" by naming nothing.
            self._wildcard = self._wildcards and not request.subscribe
        for name in request.unsubscribe:
            self._unsubscribe(name)
        for name in request.subscribe:
            self._subscribe(name, first=first)
        if first:
            self._distrust_suspects()
        return answer

    def due(self, offered: Mapping[str, Artifact], *, removals: bool, coming: Container[str] = ()) -> Push | None:
        """What has to be sent so that the proxy has what is `offered`, or `None`.

        Equal content is not sent again, except where it is owed: a name that was asked for is always answered,
        with the resource or with its removal. Other removals wait until `removals` are allowed, but for what was
        refused or never answered: nothing that works can depend on it, and it may block what comes after. Names that
        are `coming` are offered in a later step: a removal now would break what the proxy still has. What is offered
        as `kept` is neither sent nor removed.
        """
        wanted = offered.keys() | self._names if self._wildcard else self._names
        resources: list[Artifact] = []
        removed = {name for name in self._owed if name not in offered and name not in coming}
        for name in sorted(wanted):
            artifact = offered.get(name)
            if artifact is None or is_kept(artifact):
                continue
            if self._owes_all or name in self._owed or self._held.get(name) != artifact.version:
                resources.append(artifact)
        for name in sorted(self._held.keys() - offered.keys() - removed):
            if not removals and (self._held[name] != _UNCERTAIN or name in coming):
                continue
            if self._absence is None:
                removed.add(name)
            elif self._held[name] != (absent := self._absence(name)).version:
                resources.append(absent)
        if not resources and not removed:
            return None
        return Push(self.type_url, tuple(resources), tuple(sorted(removed)))

    def sent(self, nonce: str, push: Push) -> None:
        """`push` is on its way under `nonce`."""
        for artifact in push.resources:
            self._held[artifact.name] = artifact.version
        for name in push.removed:
            self._held.pop(name, None)
        self._owed.difference_update(push.names)
        self._owes_all = False
        self._in_flight[nonce] = push

    def owe(self, names: Iterable[str]) -> None:
        """Send these again although their content is the same, if the proxy subscribes to them."""
        self._owed.update(name for name in names if name in self._names)

    def abandon(self) -> tuple[Push, ...]:
        """Stop waiting for answers. What was in flight is uncertain from now on; late answers are ignored."""
        pushes = tuple(self._in_flight.values())
        self._in_flight.clear()
        for push in pushes:
            self._doubt(push)
        return pushes

    def settle_for(self, push: Push) -> None:
        """Do not send again what was just refused: there is nothing better to send."""
        for artifact in push.resources:
            if self._held.get(artifact.name) == _UNCERTAIN:
                self._held[artifact.name] = artifact.version
        for name in push.removed:
            if self._held.get(name) == _UNCERTAIN:
                del self._held[name]

    def _answered(self, request: Request) -> Answer | None:
        push = self._in_flight.pop(request.nonce, None)
        if push is None:
            return None
        if request.error is not None:
            self._doubt(push)
        return Answer(push, request.error)

    def _doubt(self, push: Push) -> None:
        # A refused response may be applied in part: nothing of it can be relied on, its removals neither.
        for artifact in push.resources:
            if self._held.get(artifact.name) == artifact.version:
                self._held[artifact.name] = _UNCERTAIN
        for name in push.removed:
            if name in self._names or self._wildcard:
                self._held.setdefault(name, _UNCERTAIN)

    def _subscribe(self, name: str, *, first: bool) -> None:
        if name == WILDCARD and self._wildcards:
            self._owes_all = self._wildcard
            self._wildcard = True
            return
        self._names.add(name)
        # A reconnecting proxy names what it has with its version: that is no question, unlike a re-subscription.
        if not (first and name in self._held):
            self._owed.add(name)

    def _unsubscribe(self, name: str) -> None:
        if name == WILDCARD and self._wildcards:
            self._wildcard = False
            self._held = {known: version for known, version in self._held.items() if known in self._names}
            return
        self._names.discard(name)
        if self._wildcard:
            # The proxy dropped it, yet "everything" still covers it: it must hear of it again.
            self._owed.add(name)
        else:
            self._held.pop(name, None)
            self._owed.discard(name)

    def _distrust_suspects(self) -> None:
        if not self._wildcard:
            self._held = {name: version for name, version in self._held.items() if name in self._names}
        for name in self._suspects:
            if self._wildcard or name in self._names:
                self._held[name] = _UNCERTAIN
