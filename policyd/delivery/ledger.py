"""The ledger: what each node was sent, what it acknowledged, what it refused and why.

The xDS server writes it; rollout, status and metrics read it. It outlives connections, so that a proxy which
returns after a refusal is not given the refused content again; `acknowledged` keeps the part of it on disk that
must outlive the process as well.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from policyd.compiler.artifact import Artifact
from policyd.delivery.outcome import Refusal
from policyd.delivery.resource_types import SECRET
from policyd.delivery.snapshot import NodeSnapshot


class Standing(enum.Enum):
    """Where one resource stands on one node."""

    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    SILENT = "silent"
    """Its deadline passed without an answer."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The last word about one resource on one node. `version` is empty for a removal."""

    version: str
    standing: Standing
    at: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Converged:
    """A node has acknowledged all of a snapshot, `seconds` after it was assigned (or after the node returned)."""

    node_id: str
    digest: str
    at: datetime
    seconds: float


@dataclass(frozen=True, slots=True)
class Answered:
    """A node has answered one response: `error_detail` is `None` for an acknowledgement."""

    node_id: str
    type_url: str
    names: tuple[str, ...]
    at: datetime
    seconds: float
    """From the moment the response was handed to the connection."""
    error_detail: str | None = None


Event = Converged | Answered | Refusal
Observer = Callable[[Event], None]


@dataclass(slots=True)
class NodeRecord:
    """All that is known about one node. Readers must not change it."""

    node_id: str
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    """By type URL and resource name."""
    acknowledged: NodeSnapshot | None = None
    """The last snapshot that the node acknowledged as a whole: what a refusal goes back to."""
    confirmed: dict[tuple[str, str], Artifact] = field(default_factory=dict, repr=False)
    """Every resource that it acknowledged singly, whole snapshot or not."""
    suspects: set[tuple[str, str]] = field(default_factory=set)
    """Resources of which the node may hold refused content, whatever version it reports."""
    refusal: Refusal | None = None
    refused: tuple[Refusal, datetime] | None = None
    """What it refused last, and when: kept when that is over, for people."""
    connected: bool = False
    since: datetime | None = None
    """When it last connected or disconnected."""
    known: bool = False
    """Whether it is a node of the mesh: the controller assigned a snapshot to it, or is about to."""
    recalled: bool = False
    """Whether `acknowledged` is what another process remembered, which is all but its secrets."""

    @property
    def whole(self) -> bool:
        """Whether it has acknowledged a whole set of something."""
        return self.acknowledged is not None and bool(self.acknowledged.resources)

    @property
    def accounted(self) -> bool:
        """Whether what the node has came from here: from this process, or from one that left a record of it."""
        return self.recalled or self.acknowledged is not None or bool(self.entries)

    def fallback(self, assigned: NodeSnapshot | None) -> NodeSnapshot:
        """What the node returns to after a refusal: the last whole set, else what it acknowledged so far."""
        if self.acknowledged is None:
            return NodeSnapshot.of(self.node_id, self.confirmed.values())
        if self.recalled and assigned is not None:
            return NodeSnapshot.of(self.node_id, (*self.acknowledged, *assigned.of_type(SECRET).values()))
        return self.acknowledged


class Ledger:
    """Records by node id. `observers` hear of every answer, refusal and completed snapshot, in order."""

    def __init__(self, observers: Iterable[Observer] = ()) -> None:
        self._records: dict[str, NodeRecord] = {}
        self._observers = tuple(observers)
        self.unsaved: set[str] = set()
        """Nodes of which what must outlive the process has changed since it was taken from here."""

    @property
    def records(self) -> Mapping[str, NodeRecord]:
        """Every node ever heard of, by id."""
        return self._records

    def record(self, node_id: str) -> NodeRecord:
        """The record of a node, begun if it is new."""
        known = self._records.get(node_id)
        if known is None:
            known = self._records[node_id] = NodeRecord(node_id)
        return known

    def forget(self, node_id: str) -> None:
        """Drop a node that has left the mesh for good."""
        self._records.pop(node_id, None)
        self.unsaved.add(node_id)

    def recall(self, node_id: str, acknowledged: NodeSnapshot | None, suspects: Iterable[tuple[str, str]]) -> None:
        """What another process knew of a node when it ended."""
        record = self.record(node_id)
        record.acknowledged, record.recalled = acknowledged, True
        record.suspects.update(suspects)

    def forget_recalled(self) -> None:
        """What was recalled cannot be relied on."""
        for record in self._records.values():
            if record.recalled:
                record.acknowledged, record.recalled = None, False
                record.suspects.clear()

    def trust(self, node_id: str) -> None:
        """A proxy of this node has just begun: it cannot hold what the one before it refused."""
        record = self.record(node_id)
        if record.suspects:
            record.suspects.clear()
            self.unsaved.add(node_id)

    def connection(self, node_id: str, *, connected: bool, at: datetime) -> None:
        """A node came or went."""
        record = self.record(node_id)
        record.connected, record.since = connected, at

    def sent(self, node_id: str, type_url: str, versions: Mapping[str, str], at: datetime) -> None:
        """A response went out; `versions` by name, empty for a removal."""
        entries = self.record(node_id).entries
        for name, version in versions.items():
            entries[type_url, name] = Entry(version, Standing.SENT, at)

    def acknowledged(self, answer: Answered, resources: Iterable[Artifact], removed: Iterable[str]) -> None:
        """A response was taken."""
        record, type_url = self.record(answer.node_id), answer.type_url
        if record.suspects:
            self.unsaved.add(answer.node_id)
        for artifact in resources:
            key = (type_url, artifact.name)
            record.entries[key] = Entry(artifact.version, Standing.ACKNOWLEDGED, answer.at)
            record.confirmed[key] = artifact
            record.suspects.discard(key)
        for name in removed:
            key = (type_url, name)
            record.entries.pop(key, None)
            record.confirmed.pop(key, None)
            record.suspects.discard(key)
        self._tell(answer)

    def refused(self, answer: Answered, versions: Mapping[str, str]) -> None:
        """A response was refused; any part of it may have been applied all the same. `versions` by name."""
        word = Entry("", Standing.REFUSED, answer.at, answer.error_detail or "")
        self._doubt(answer.node_id, answer.type_url, versions, word)
        self._tell(answer)

    def silent(self, node_id: str, type_url: str, versions: Mapping[str, str], at: datetime) -> None:
        """A response was never answered."""
        self._doubt(node_id, type_url, versions, Entry("", Standing.SILENT, at))

    def turned_back(self, refusal: Refusal, at: datetime) -> None:
        """A node is on its way back to its last acknowledged set."""
        record = self.record(refusal.node_id)
        record.refusal, record.refused = refusal, (refusal, at)
        self._tell(refusal)

    def converged(self, done: Converged, snapshot: NodeSnapshot) -> None:
        """A node holds the whole of `snapshot`."""
        record = self.record(done.node_id)
        if record.acknowledged is None or record.recalled or record.acknowledged.digest != snapshot.digest:
            self.unsaved.add(done.node_id)
        record.acknowledged, record.recalled = snapshot, False
        self._tell(done)

    def _doubt(self, node_id: str, type_url: str, versions: Mapping[str, str], word: Entry) -> None:
        record = self.record(node_id)
        self.unsaved.add(node_id)
        for name, version in versions.items():
            record.entries[type_url, name] = replace(word, version=version)
            record.suspects.add((type_url, name))

    def _tell(self, event: Event) -> None:
        for observe in self._observers:
            observe(event)
