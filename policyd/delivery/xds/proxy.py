"""One proxy as the server knows it, across its connections: what it is assigned, what it refused.

`server` assigns, `stream` brings requests and takes pushes away. A refusal, or silence past the deadline, turns the
proxy back to its last acknowledged set at once; that holds until another snapshot is assigned. A proxy that does not
answer the way back in time either has hung: its silence said nothing about the content, so it is asked again as soon
as it answers anything, or returns.

A stranger is a proxy that holds configuration of which nobody here has a record. As long as strangers are withheld it
is sent nothing, and counts as one that is away.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping

import structlog

from policyd.base.clock import Clock
from policyd.delivery.ledger import Answered, Converged, Ledger
from policyd.delivery.outcome import NO_ANSWER, Refusal
from policyd.delivery.resource_types import short_name
from policyd.delivery.snapshot import NodeSnapshot, ReadReferences
from policyd.delivery.xds.conversation import Conversation
from policyd.delivery.xds.subscriptions import Answer, Push, Request

log = structlog.get_logger(__name__)


class Proxy:
    """State of one node id. Every change of it is told to whoever waits in `settled`."""

    def __init__(
        self,
        node_id: str,
        clock: Clock,
        ledger: Ledger,
        read: ReadReferences,
        *,
        asked_again: Callable[[Proxy], None] | None = None,
        floor: Callable[[NodeSnapshot], NodeSnapshot] | None = None,
        withholding: Callable[[], bool] = lambda: False,
    ) -> None:
        """`asked_again` is called when what is assigned is laid out anew, so that it gets a deadline.

        `floor` takes out of a set of before what must not be served any more. `withholding` says whether strangers
        are sent nothing now.
        """
        self.node_id = node_id
        self._clock = clock
        self._ledger = ledger
        self._read = read
        self._assigned: NodeSnapshot | None = None
        self._refusal: Refusal | None = None
        self._conversation: Conversation | None = None
        self._close: Callable[[], None] = _nothing
        self._wake: Callable[[], None] = _nothing
        self._converged = False
        self._hangs = False
        self._asked_again = asked_again
        self._floor = floor if floor is not None else _as_it_is
        self._withholding = withholding
        self._withheld = False
        self._begun_at = 0.0
        self._sent_at: dict[str, float] = {}
        self._changed = asyncio.Event()
        self.version = ""
        """The program at the other end, such as `envoy 1.40.0`."""
        self.stranger = False
        """Whether it holds configuration that came from nobody who is remembered here."""
        self.epoch = 0
        """Counts assignments and connections, so that a deadline knows whether it is still about the same thing."""

    @property
    def assigned(self) -> NodeSnapshot | None:
        """What the controller wants the proxy to have."""
        return self._assigned

    @property
    def refusal(self) -> Refusal | None:
        """Why the proxy does not have what is assigned."""
        return self._refusal

    @property
    def connected(self) -> bool:
        """Whether a stream of this proxy is open, and anything may be sent on it."""
        return self._conversation is not None and not self._withheld

    @property
    def present(self) -> bool:
        """Whether a stream of this proxy is open."""
        return self._conversation is not None

    @property
    def converged(self) -> bool:
        """Whether the connected proxy has acknowledged all of what is assigned."""
        return self._converged

    async def settled(self, snapshot: NodeSnapshot) -> None:
        """Return when `snapshot` is acknowledged, refused or superseded, or the proxy is not connected."""
        while self._wants(snapshot) and self.connected and not (self._converged or self._refusal):
            await self._changed.wait()

    async def gone(self) -> None:
        """Return when no stream of the proxy is open."""
        while self._conversation is not None:
            await self._changed.wait()

    def reported(self) -> Mapping[tuple[str, str], str]:
        """The version of everything that the connected proxy has, by type and name; empty while it is away."""
        return self._conversation.held() if self._conversation is not None else {}

    def admit(self) -> None:
        """It is no stranger any more: what it is assigned next is sent."""
        if self._withheld:
            self._withheld, self._assigned = False, None
        self.stranger = False

    def assign(self, snapshot: NodeSnapshot) -> None:
        """Make `snapshot` what the proxy shall have. The same content again changes nothing, refusal included."""
        if self._wants(snapshot):
            return
        self._assigned = snapshot
        self._refusal, self._hangs = None, False
        record = self._ledger.record(self.node_id)
        record.known, record.refusal = True, None
        self._lay_out(snapshot)

    def connect(
        self, wake: Callable[[], None], close: Callable[[], None], *, fresh: bool, version: str
    ) -> Conversation:
        """Begin a stream; an older stream of the same node id is closed: the newest wins.

        `fresh` says that the proxy holds nothing yet: a process that has just begun. What the one before it refused
        (a port was taken) or kept silent about may suit it, so it is asked again.
        """
        if self._conversation is not None:
            log.warning("two streams with one node id, closing the older", node=self.node_id)
            self._close()
        record = self._ledger.record(self.node_id)
        self.stranger = not fresh and not record.accounted
        self._withheld = self.stranger and self._withholding()
        if self._withheld:
            log.warning("a proxy returns with configuration that nobody remembers, and keeps it", node=self.node_id)
        if fresh:
            self._ledger.trust(self.node_id)
        if fresh or self._hangs:
            self._hangs = False
            self._refusal = record.refusal = None
        self.version = version
        conversation = Conversation(self._read, record.suspects)
        self._conversation, self._wake, self._close = conversation, wake, close
        self._sent_at.clear()
        self._ledger.connection(self.node_id, connected=True, at=self._clock.now())
        if self._assigned is None:
            if not record.known:
                log.warning("an unknown node has connected and gets nothing until it is assigned", node=self.node_id)
        else:
            # What it refused stays out of its new stream too, or its own memory would bring it back.
            self._lay_out(self._fallback() if self._refusal else self._assigned)
        return conversation

    def disconnect(self, conversation: Conversation) -> None:
        """A stream has ended. Nothing happens if a newer one has taken its place."""
        if self._conversation is not conversation:
            return
        self._conversation, self._wake, self._close = None, _nothing, _nothing
        self._converged = False
        self._ledger.connection(self.node_id, connected=False, at=self._clock.now())
        self._tell()

    def receive(self, conversation: Conversation, request: Request) -> None:
        """Take in what the proxy says on its current stream."""
        if self._conversation is not conversation:
            return
        answer = conversation.receive(request)
        if answer is not None:
            self._judge(conversation, request.nonce, answer)
        self._wake()

    def pushes(self, conversation: Conversation) -> list[tuple[str, Push]]:
        """What to send on this stream now."""
        if self._conversation is not conversation:
            return []
        pushes = list(conversation.poll())
        for nonce, push in pushes:
            self._sent_at[nonce] = self._clock.monotonic()
            self._ledger.sent(self.node_id, push.type_url, push.versions, self._clock.now())
        if not self._converged and conversation.converged:
            self._arrived()
        return pushes

    def overdue(self, epoch: int) -> bool:
        """The deadline of what began at `epoch` has passed: what was not answered by now is taken out.

        Returns whether that turned the proxy back.
        """
        conversation = self._conversation
        if epoch != self.epoch or conversation is None or self._converged or self._refusal or not self._assigned:
            return False
        lacking = conversation.lacking()
        silent = conversation.abandon()
        for push in silent:
            self._ledger.silent(self.node_id, push.type_url, push.versions, self._clock.now())
        type_url = silent[0].type_url if silent else lacking[0][0] if lacking else ""
        names = silent[0].names if silent else tuple(name for kind, name in lacking if kind == type_url)
        self._turn_back(Refusal(self.node_id, self._assigned.digest, type_url, names, NO_ANSWER, self.version))
        return True

    def overdue_back(self, epoch: int) -> None:
        """The deadline of the way back that began at `epoch` has passed as well."""
        conversation = self._conversation
        if epoch == self.epoch and self._refusal and conversation is not None and not conversation.converged:
            log.warning("a node answers nothing at all, and is asked again when it does", node=self.node_id)
            self._hangs = True

    def _wants(self, snapshot: NodeSnapshot) -> bool:
        return self._assigned is not None and self._assigned.digest == snapshot.digest

    def _judge(self, conversation: Conversation, nonce: str, answer: Answer) -> None:
        push, now = answer.push, self._clock.monotonic()
        heard = Answered(
            node_id=self.node_id,
            type_url=push.type_url,
            names=push.names,
            at=self._clock.now(),
            seconds=now - self._sent_at.pop(nonce, now),
            error_detail=answer.error,
        )
        if answer.error is None:
            self._ledger.acknowledged(heard, push.resources, push.removed)
            return
        self._ledger.refused(heard, push.versions)
        if self._refusal is None and self._assigned is not None:
            named = tuple(name for name in push.names if _names(answer.error, name))
            refusal = Refusal(
                self.node_id, self._assigned.digest, push.type_url, named or push.names, answer.error, self.version
            )
            self._turn_back(refusal)
        else:
            log.error(
                "a node refuses what it had acknowledged before",
                node=self.node_id,
                type=short_name(push.type_url),
                names=push.names,
                error=answer.error,
            )
        conversation.settle_for(push)

    def _turn_back(self, refusal: Refusal) -> None:
        log.warning(
            "a node did not take its configuration and returns to the last acknowledged one",
            node=self.node_id,
            type=short_name(refusal.type_url),
            names=refusal.resources,
            error=refusal.error_detail,
        )
        self._refusal = refusal
        self._ledger.turned_back(refusal, self._clock.now())
        self._lay_out(self._fallback())

    def _fallback(self) -> NodeSnapshot:
        return self._floor(self._ledger.record(self.node_id).fallback(self._assigned))

    def _lay_out(self, snapshot: NodeSnapshot) -> None:
        self.epoch += 1
        self._converged = False
        self._begun_at = self._clock.monotonic()
        if self._conversation is not None and not self._withheld:
            self._conversation.assign(snapshot)
            self._wake()
        self._tell()

    def _arrived(self) -> None:
        if self._assigned is None:
            return
        if self._refusal is not None:
            self._wake_up(self._assigned)
            return
        self._converged = True
        done = Converged(
            self.node_id, self._assigned.digest, self._clock.now(), self._clock.monotonic() - self._begun_at
        )
        self._ledger.converged(done, self._assigned)
        self._tell()

    def _wake_up(self, assigned: NodeSnapshot) -> None:
        """It has come all the way back; what is assigned comes next, if it hung before."""
        if not self._hangs:
            return
        self._hangs = False
        self._refusal = self._ledger.record(self.node_id).refusal = None
        self._lay_out(assigned)
        if self._asked_again is not None:
            self._asked_again(self)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _names(text: str, name: str) -> bool:
    """Whether the proxy's words name a resource, as a whole word: `web` is not named by `shop/web/v1`."""
    return re.search(rf"(?<![\w/.-]){re.escape(name)}(?![\w/-])", text) is not None


def _as_it_is(snapshot: NodeSnapshot) -> NodeSnapshot:
    return snapshot


def _nothing() -> None:
    """No stream: nobody to wake or close."""
