"""The whole configuration of one node, named by content, and the check that it hangs together.

Snapshots come from the compilers (plus secrets) and go to `delivery.xds`. Nothing is sent that `consistent` finds
fault with: the proxy's own validator misses most of what is looked for here.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from policyd.base.content import DIGEST_LENGTH
from policyd.compiler.artifact import Artifact
from policyd.compiler.memo import Memo
from policyd.delivery.references import References, read_references
from policyd.delivery.resource_types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET, short_name

ReadReferences = Callable[[Artifact], References]

_KEPT = b"\0"
"""No message begins so: there is no field 0."""


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """What one node shall have: artefacts by type URL and name, sorted. Equal content has an equal `digest`."""

    node_id: str
    resources: Mapping[str, Mapping[str, Artifact]] = field(repr=False)
    digest: str

    @classmethod
    def of(cls, node_id: str, artifacts: Iterable[Artifact]) -> NodeSnapshot:
        """Gather artefacts; raises `ValueError` when two of one type and name differ."""
        resources: dict[str, dict[str, Artifact]] = {}
        whole = hashlib.sha256()
        for artifact in sorted(artifacts, key=lambda a: (a.kind, a.name)):
            named = resources.setdefault(artifact.kind, {})
            known = named.get(artifact.name)
            if known is not None:
                if known.version != artifact.version:
                    raise ValueError(f"two different {short_name(artifact.kind)}s are named `{artifact.name}`")
                continue
            named[artifact.name] = artifact
            whole.update(f"{artifact.kind}\0{artifact.name}\0{artifact.version}\n".encode())
        return cls(node_id, resources, whole.hexdigest()[:DIGEST_LENGTH])

    def of_type(self, type_url: str) -> Mapping[str, Artifact]:
        """The artefacts of one type, by name; empty if there are none."""
        return self.resources.get(type_url, {})

    def __iter__(self) -> Iterator[Artifact]:
        for named in self.resources.values():
            yield from named.values()


def kept(kind: str, name: str) -> Artifact:
    """Stands in a snapshot for whatever the node has under that name, which is neither sent nor taken away."""
    return Artifact(kind, name, _KEPT)


def is_kept(artifact: Artifact) -> bool:
    """Whether the artefact only says that the node keeps what it has under that name."""
    return artifact.body == _KEPT


def reference_reader(memo: Memo) -> ReadReferences:
    """A reader that opens each artefact once: `memo` remembers what it uses by type, name and content."""

    def read(artifact: Artifact) -> References:
        key = ("references", artifact.kind, artifact.name, artifact.version)
        return memo.get(key, lambda: read_references(artifact))

    return read


def consistent(snapshot: NodeSnapshot, read: ReadReferences = read_references) -> tuple[str, ...]:
    """What is wrong with the snapshot as a whole, one sentence each; empty means that it may be sent.

    Every name that a resource uses exists: endpoints of EDS clusters, routes of listeners, clusters of routes,
    secrets. Every resource is called what it is filed under. No two listeners share an address, no two virtual
    hosts a name or domain; a filter is configured per route only where it runs. Give a `reference_reader` so that
    the cost follows what changed.
    """
    problems: list[str] = []
    holders: defaultdict[str, list[str]] = defaultdict(list)
    for artifact in snapshot:
        if is_kept(artifact):
            continue
        label = f"{short_name(artifact.kind)} `{artifact.name}`"
        used = read(artifact)
        problems.extend(f"{label} {fault}" for fault in used.faults)
        if used.own_name and used.own_name != artifact.name:
            problems.append(f"{label} calls itself `{used.own_name}`")
        problems.extend(_missing(snapshot, label, used))
        problems.extend(_misplaced_overrides(snapshot, label, used, read))
        for address in used.addresses:
            holders[address].append(artifact.name)
    problems.extend(
        f"listeners {', '.join(f'`{name}`' for name in names)} share the address {address}"
        for address, names in sorted(holders.items())
        if len(names) > 1
    )
    return tuple(problems)


def uses(snapshot: NodeSnapshot, read: ReadReferences) -> frozenset[tuple[str, str]]:
    """Type and name of what a proxy with this snapshot asks for: all clusters and listeners, and what they use."""
    wanted: set[tuple[str, str]] = set()
    for type_url in (CLUSTER, LISTENER):
        for name, artifact in snapshot.of_type(type_url).items():
            wanted.add((type_url, name))
            used = read(artifact)
            wanted.update((ENDPOINT, endpoint) for endpoint in used.endpoints)
            wanted.update((ROUTE, use.route) for use in used.routes)
            wanted.update((SECRET, secret) for secret in used.secrets)
    return frozenset((type_url, name) for type_url, name in wanted if name in snapshot.of_type(type_url))


def _missing(snapshot: NodeSnapshot, label: str, used: References) -> Iterator[str]:
    wanted = (
        (CLUSTER, "cluster", used.clusters),
        (ENDPOINT, "endpoints", used.endpoints),
        (ROUTE, "routes", {use.route for use in used.routes}),
        (SECRET, "secret", used.secrets),
    )
    for type_url, word, names in wanted:
        for name in sorted(names - snapshot.of_type(type_url).keys()):
            yield f"{label} uses the {word} `{name}`, which the node does not have"


def _misplaced_overrides(snapshot: NodeSnapshot, label: str, used: References, read: ReadReferences) -> Iterator[str]:
    for use in used.routes:
        route = snapshot.of_type(ROUTE).get(use.route)
        if route is None:
            continue
        for name in sorted(read(route).filter_overrides - use.filters):
            yield f"{label} does not run the filter `{name}` that its routes `{use.route}` configure"
