"""Whatever happens on a stream, it ends with the proxy holding just what is assigned, and never breaks on the way."""

from __future__ import annotations

from collections import deque

from envoy.config.route.v3 import route_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.compiler.artifact import Artifact
from policyd.delivery.references import read_references
from policyd.delivery.resource_types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from policyd.delivery.snapshot import NodeSnapshot
from policyd.delivery.xds.conversation import Conversation
from policyd.delivery.xds.subscriptions import Push, Request, Subscription

from .conftest import cluster, endpoints, plain
from .mesh import listener

TYPES = (CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET)
NAMES = ("a", "b", "c")


def route_to(names: frozenset[str], mark: int) -> Artifact:
    """The outbound routes: one virtual host per cluster."""
    message = route_pb2.RouteConfiguration(name="out")
    for name in sorted(names):
        host = message.virtual_hosts.add(name=name, domains=[f"{name}{mark}"])
        host.routes.add().route.cluster = name
    return Artifact(ROUTE, "out", message.SerializeToString(deterministic=True))


def mesh(names: frozenset[str], mark: int) -> NodeSnapshot:
    artifacts = [listener("out", 1, "out", tls=False), route_to(names, mark)]
    for name in names:
        artifacts += [cluster(name, connect_s=mark), endpoints(name, mark)]
    return NodeSnapshot.of("n", artifacts)


class Proxy:
    """What a sidecar does: applies what it is told, asks for what it uses, checks that nothing dangles."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self.has: dict[str, dict[str, Artifact]] = {type_url: {} for type_url in TYPES}
        self._asked: dict[str, set[str]] = {ENDPOINT: set(), ROUTE: set()}
        self._unanswered: deque[Request] = deque()

    def begin(self) -> None:
        self._conversation.receive(Request(CLUSTER))
        self._conversation.receive(Request(LISTENER))

    def hear(self) -> bool:
        """Take in what the server says now; acknowledgements wait until `answer`."""
        pushes = list(self._conversation.poll())
        for nonce, push in pushes:
            self._apply(push)
            self._unanswered.append(Request(push.type_url, nonce=nonce))
            self._ask()
        return bool(pushes)

    def answer(self, error: str | None = None) -> bool:
        if not self._unanswered:
            return False
        request = self._unanswered.popleft()
        self._conversation.receive(Request(request.type_url, nonce=request.nonce, error=error))
        return True

    def _apply(self, push: Push) -> None:
        has = self.has[push.type_url]
        asked = self._asked.get(push.type_url)  # what it no longer asks for it ignores
        has.update(
            {artifact.name: artifact for artifact in push.resources if asked is None or artifact.name in asked}
        )
        for name in push.removed:
            has.pop(name, None)
        for artifact in self.has[ROUTE].values():
            dangling = read_references(artifact).clusters - self.has[CLUSTER].keys()
            assert not dangling, f"the routes name {dangling}, which the proxy does not have"

    def _ask(self) -> None:
        used = {
            ENDPOINT: {name for a in self.has[CLUSTER].values() for name in read_references(a).endpoints},
            ROUTE: {use.route for a in self.has[LISTENER].values() for use in read_references(a).routes},
        }
        for type_url, names in used.items():
            new, old = names - self._asked[type_url], self._asked[type_url] - names
            if new or old:
                self._asked[type_url] = names
                request = Request(type_url, subscribe=tuple(sorted(new)), unsubscribe=tuple(sorted(old)))
                self._conversation.receive(request)
                for name in old:
                    self.has[type_url].pop(name, None)


meshes = st.builds(mesh, st.frozensets(st.sampled_from(NAMES), min_size=1), st.integers(1, 3))
actions = st.lists(st.one_of(meshes, st.sampled_from(["hear", "answer"])), max_size=40)


@given(first=meshes, actions=actions)
@settings(max_examples=150, deadline=None)
def test_no_route_dangles_on_the_way_and_the_end_is_what_is_assigned(
    first: NodeSnapshot, actions: list[NodeSnapshot | str]
) -> None:
    conversation = Conversation(read_references)
    proxy, target = Proxy(conversation), first
    conversation.assign(target)
    proxy.begin()
    for action in actions:
        if isinstance(action, NodeSnapshot):
            target = action
            conversation.assign(target)
        elif action == "hear":
            proxy.hear()
        else:
            proxy.answer()
    for _ in range(100):
        if not (proxy.hear() or proxy.answer()):
            break
    assert conversation.converged
    assert conversation.lacking() == ()
    for type_url in (CLUSTER, ENDPOINT, LISTENER, ROUTE):
        assert proxy.has[type_url] == dict(target.of_type(type_url))


@given(before=meshes, bad=meshes, refused=st.integers(0, 3))
@settings(max_examples=100, deadline=None)
def test_after_a_refusal_the_last_good_set_is_whole_again(
    before: NodeSnapshot, bad: NodeSnapshot, refused: int
) -> None:
    conversation = Conversation(read_references)
    proxy = Proxy(conversation)
    conversation.assign(before)
    proxy.begin()
    while proxy.hear() or proxy.answer():
        pass
    conversation.assign(bad)
    for turn in range(20):
        proxy.hear()
        error = "no" if turn == refused else None
        if proxy.answer(error) and error:
            conversation.assign(before)
            break
    conversation.assign(before)
    for _ in range(100):
        if not (proxy.hear() or proxy.answer()):
            break
    assert conversation.converged
    for type_url in (CLUSTER, ENDPOINT, LISTENER, ROUTE):
        assert proxy.has[type_url] == dict(before.of_type(type_url))


def test_what_was_sent_is_not_due_again() -> None:
    subscription = Subscription(CLUSTER, wildcards=True)
    subscription.receive(Request(CLUSTER))
    offered = {"a": plain(CLUSTER, "a", b"1")}
    push = subscription.due(offered, removals=True)
    assert push is not None
    assert subscription.due(offered, removals=True) == push, "asking changes nothing"
    subscription.sent("1", push)
    assert subscription.due(offered, removals=True) is None
    assert subscription.waiting


def test_a_late_answer_after_the_deadline_is_ignored() -> None:
    subscription = Subscription(CLUSTER, wildcards=True)
    subscription.receive(Request(CLUSTER))
    artifact = plain(CLUSTER, "a", b"1")
    subscription.sent("1", Push(CLUSTER, (artifact,)))
    assert subscription.abandon() == (Push(CLUSTER, (artifact,)),)
    assert subscription.receive(Request(CLUSTER, nonce="1")) is None
    assert not subscription.holds("a", artifact.version)
    assert subscription.due({}, removals=False) == Push(CLUSTER, (), ("a",))


def test_a_stale_refusal_does_not_doubt_what_came_after() -> None:
    subscription = Subscription(CLUSTER, wildcards=True)
    subscription.receive(Request(CLUSTER))
    old, new = plain(CLUSTER, "a", b"1"), plain(CLUSTER, "a", b"2")
    subscription.sent("1", Push(CLUSTER, (old,)))
    subscription.sent("2", Push(CLUSTER, (new,)))
    subscription.receive(Request(CLUSTER, nonce="1", error="no"))
    assert subscription.holds("a", new.version)


def test_without_a_snapshot_there_is_nothing_to_say() -> None:
    conversation = Conversation(read_references)
    conversation.receive(Request(CLUSTER))
    assert list(conversation.poll()) == []
    assert not conversation.converged
