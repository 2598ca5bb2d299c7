"""What is said to one proxy, in which order: make before break, without any I/O.

A snapshot is laid out in steps. In each step some types open: what the proxy lacks is sent, and the next step
waits until it is acknowledged.

    1  add     secrets, clusters, endpoints
    2  add     listeners, routes
    3  remove  listeners, then 4 routes, 5 clusters, 6 endpoints, 7 secrets

So a route never names a cluster that is not there yet, and a cluster is never taken while a route still names it.
A type that has not opened on this stream keeps its questions waiting; one that has opened answers them at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from envoy.config.endpoint.v3 import endpoint_pb2

from policyd.compiler.artifact import Artifact
from policyd.delivery.resource_types import (
    CLUSTER,
    ENDPOINT,
    LISTENER,
    PUSH_ORDER,
    ROUTE,
    SECRET,
    WILDCARD_TYPES,
)
from policyd.delivery.snapshot import NodeSnapshot, ReadReferences, is_kept, uses
from policyd.delivery.xds.subscriptions import Answer, Push, Request, Subscription


@dataclass(frozen=True, slots=True)
class _Step:
    types: tuple[str, ...]
    removes: bool = False


_STEPS = (
    _Step((SECRET, CLUSTER, ENDPOINT)),
    _Step((LISTENER, ROUTE)),
    _Step((LISTENER,), removes=True),
    _Step((ROUTE,), removes=True),
    _Step((CLUSTER,), removes=True),
    _Step((ENDPOINT,), removes=True),
    _Step((SECRET,), removes=True),
)
_LAST = len(_STEPS) - 1


def empty_assignment(cluster: str) -> Artifact:
    """A cluster without endpoints. Sent instead of a removal, after which a proxy would keep the old hosts."""
    assignment = endpoint_pb2.ClusterLoadAssignment(cluster_name=cluster)
    return Artifact(ENDPOINT, cluster, assignment.SerializeToString(deterministic=True))


class Conversation:
    """One stream of one proxy: its subscriptions, and how far its snapshot has been laid out."""

    def __init__(self, read: ReadReferences, suspects: Iterable[tuple[str, str]] = ()) -> None:
        self._read = read
        self._suspects = tuple(suspects)
        self._subscriptions: dict[str, Subscription] = {}
        self._target: NodeSnapshot | None = None
        self._uses: frozenset[tuple[str, str]] = frozenset()
        self._step = 0
        self._offered: dict[str, Mapping[str, Artifact]] = {}
        self._removing: set[str] = set()
        self._refused: set[tuple[str, str, str]] = set()
        self._nonce = 0

    def assign(self, target: NodeSnapshot) -> None:
        """Begin to lay out `target`, from whatever the proxy has now."""
        self._target = target
        self._uses = uses(target, self._read)
        self._withdraw()
        self._removing.clear()
        self._step = 0
        self._open(_STEPS[0])

    def receive(self, request: Request) -> Answer | None:
        """Take a request in; returns what it says about an earlier push, if anything."""
        answer = self._subscription(request.type_url).receive(request)
        if answer is not None and answer.error is not None:
            self._doubt(answer.push)
        return answer

    def poll(self) -> Iterator[tuple[str, Push]]:
        """What to send now, with its nonce, in order. Empty until a snapshot is assigned."""
        if self._target is None:
            return
        while True:
            for type_url in self._types():
                push = self._send(type_url)
                if push is not None:
                    yield push
            if self._step == _LAST or any(self._waiting(type_url) for type_url in _STEPS[self._step].types):
                return
            self._step += 1
            self._open(_STEPS[self._step])

    @property
    def converged(self) -> bool:
        """Whether the proxy has acknowledged everything that the assigned snapshot makes it use."""
        if self._target is None or self._step < _LAST:
            return False
        if any(subscription.waiting for subscription in self._subscriptions.values()):
            return False
        return next(self._lacking(), None) is None

    def held(self) -> Mapping[tuple[str, str], str]:
        """The version of everything that the proxy has, by type and name."""
        return {
            (type_url, name): version
            for type_url, subscription in self._subscriptions.items()
            for name, version in subscription.held.items()
        }

    def lacking(self) -> tuple[tuple[str, str], ...]:
        """Type and name of what the proxy should use and was not sent, or refused."""
        return tuple(sorted(self._lacking()))

    def abandon(self) -> tuple[Push, ...]:
        """Stop waiting for answers; returns what was never answered."""
        pushes = tuple(push for subscription in self._subscriptions.values() for push in subscription.abandon())
        for push in pushes:
            self._doubt(push)
        return pushes

    def settle_for(self, push: Push) -> None:
        """Leave refused content of `push` alone where the assigned snapshot asks for just that content."""
        wanted = self._target.of_type(push.type_url) if self._target is not None else {}
        same = tuple(a for a in push.resources if (w := wanted.get(a.name)) is not None and w.version == a.version)
        gone = tuple(name for name in push.removed if name not in wanted)
        self._subscription(push.type_url).settle_for(Push(push.type_url, same, gone))

    def _lacking(self) -> Iterator[tuple[str, str]]:
        if self._target is None:
            return
        for type_url, name in self._uses:
            artifact = self._target.resources[type_url][name]
            if is_kept(artifact):
                continue
            subscription = self._subscriptions.get(type_url)
            if subscription is None or not subscription.holds(name, artifact.version):
                yield type_url, name

    def _send(self, type_url: str) -> tuple[str, Push] | None:
        subscription, offered = self._subscriptions[type_url], self._offered.get(type_url)
        if offered is None or self._target is None:
            return None
        coming = self._target.of_type(type_url)
        push = subscription.due(offered, removals=type_url in self._removing, coming=coming)
        if push is None:
            return None
        self._nonce += 1
        nonce = str(self._nonce)
        subscription.sent(nonce, push)
        if type_url == CLUSTER and ENDPOINT in self._subscriptions:
            # A changed cluster warms until its endpoints come again, although they are the same.
            names = (name for artifact in push.resources for name in self._read(artifact).endpoints)
            self._subscriptions[ENDPOINT].owe(names)
        return nonce, push

    def _open(self, step: _Step) -> None:
        assert self._target is not None
        for type_url in step.types:
            wanted = self._target.of_type(type_url)
            if step.removes:
                self._removing.add(type_url)
                self._offered[type_url] = wanted
            else:
                self._offered[type_url] = {**self._offered.get(type_url, {}), **wanted}

    def _doubt(self, push: Push) -> None:
        self._refused.update((push.type_url, artifact.name, artifact.version) for artifact in push.resources)

    def _withdraw(self) -> None:
        """Offer nothing any more that was refused or never answered (the new target may name it again)."""
        for type_url, name, version in self._refused:
            offered = dict(self._offered.get(type_url, {}))
            if name in offered and offered[name].version == version:
                del offered[name]
                self._offered[type_url] = offered
        self._refused.clear()

    def _types(self) -> Iterator[str]:
        known = self._subscriptions
        yield from (type_url for type_url in PUSH_ORDER if type_url in known)
        yield from (type_url for type_url in known if type_url not in PUSH_ORDER)

    def _waiting(self, type_url: str) -> bool:
        subscription = self._subscriptions.get(type_url)
        if subscription is None:
            # A returning proxy asks for one type after the other; its routes must not overtake its clusters.
            return type_url in WILDCARD_TYPES and bool(self._target and self._target.of_type(type_url))
        return subscription.waiting

    def _subscription(self, type_url: str) -> Subscription:
        known = self._subscriptions.get(type_url)
        if known is None:
            known = self._subscriptions[type_url] = Subscription(
                type_url,
                wildcards=type_url in WILDCARD_TYPES,
                suspects=(name for kind, name in self._suspects if kind == type_url),
                absence=empty_assignment if type_url == ENDPOINT else None,
            )
            if type_url not in PUSH_ORDER:
                # Nothing of such a type is ever delivered: its names are answered as unknown.
                self._offered[type_url] = {}
        return known
