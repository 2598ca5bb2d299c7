"""A small intent repository that people edit: what its documents say, where they stand, and how it changes.

Edits are values, so that hypothesis can draw, print and shrink a whole history. Most keep the repository sound, since
a commit that is refused shows nothing of what comes after the checks; some leave something behind that points
nowhere, as people do.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import yaml
from hypothesis import strategies as st

NAMES = ("default/web", "default/shop", "default/cart", "pay/ledger", "pay/cards")
VERSIONS = ("v1", "v2", "v3")
Key = tuple[str, str]
"""Kind and `namespace/name`."""


def _service(number: int) -> dict[str, Any]:
    versions = {
        version: {"endpoints": [f"10.{number}.{slot}.{host}" for host in (1, 2)]}
        for slot, version in enumerate(VERSIONS[:2], start=1)
    }
    return {"port": 8080, "versions": versions, "version": "v1", "slo": {"availability": 99.9}}


def _rule(to: str, *sources: str) -> dict[str, Any]:
    return {"to": to, "from": list(sources), "allow": [{"methods": ["GET"], "paths": ["/v1/items"]}]}


def _slo(service: str, source: str) -> dict[str, Any]:
    said = {"service": service, "good": "non-5xx"} if source == "policyd" else {"query": "up"}
    total = {"service": service} if source == "policyd" else {"query": "all"}
    ratio = {
        "counter": True,
        "good": {"metricSource": {"type": source, "spec": said}},
        "total": {"metricSource": {"type": source, "spec": total}},
    }
    return {
        "service": service,
        "indicator": {"metadata": {"name": "answers"}, "spec": {"ratioMetric": ratio}},
        "budgetingMethod": "Occurrences",
        "objectives": [{"target": 0.99}],
    }


@dataclass
class Draft:
    """The working files of the repository, as what they say. `render` writes them down."""

    documents: dict[Key, dict[str, Any]] = field(default_factory=dict)
    home: dict[Key, str] = field(default_factory=dict)
    """The file that a document stands in; where it is not said, a file of its own."""
    comments: dict[str, int] = field(default_factory=dict)
    """How many lines of comment a file begins with."""
    broken: dict[str, str] = field(default_factory=dict)
    """Files that are no intents, by path."""

    @classmethod
    def first(cls) -> Draft:
        """A sound repository of four services in two namespaces."""
        draft = cls()
        draft.documents["Mesh", "default/sim"] = {"trustDomain": "sim.example", "strategy": "careful"}
        draft.documents["RolloutStrategy", "default/careful"] = {
            "waves": [{"proxies": 1}, {"proxies": "50%"}, {"proxies": "100%"}],
            "hold": "10s",
        }
        for number, name in enumerate(NAMES[:4]):
            draft.documents["Service", name] = _service(number)
        draft.documents["AccessRule", "default/web-shops"] = _rule("shop", "web")
        draft.documents["AccessRule", "default/shop-fills"] = _rule("cart", "shop")
        draft.documents["AccessRule", "pay/cart-pays"] = _rule("ledger", "default/cart")
        draft.documents["CanarySplit", "default/shop"] = {
            "service": "shop",
            "steps": [10, 50, 100],
            "hold": "10s",
            "gates": ["shop-availability"],
        }
        draft.documents["SLO", "pay/settled"] = _slo("ledger", "policyd")
        return draft

    def render(self) -> dict[str, str]:
        """Every file with its text."""
        texts: dict[str, list[str]] = {}
        for (kind, full), spec in self.documents.items():
            namespace, _, name = full.partition("/")
            path = self.home.get((kind, full), f"{namespace}/{kind.lower()}-{name}.yaml")
            if kind == "SLO":  # OpenSLO, as published, has no namespaces
                version = "openslo/v1"
                metadata: dict[str, Any] = {"name": name, "annotations": {"policyd.dev/namespace": namespace}}
            else:
                version, metadata = "policyd.dev/v1alpha1", {"name": name, "namespace": namespace}
            document = {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}
            texts.setdefault(path, []).append(yaml.dump(document, sort_keys=False, Dumper=_Plain))
        files = {
            path: "# a note\n" * self.comments.get(path, 0) + "---\n".join(parts) for path, parts in texts.items()
        }
        return files | self.broken


class _Plain(yaml.SafeDumper):
    """Writes equal values twice, where YAML would refer to the first: anchors are no part of the format."""

    def ignore_aliases(self, data: object) -> bool:
        return True


Edit = tuple[str, tuple[Any, ...]]
"""The name of a function in `EDITS`, and its arguments."""


def _set_field(draft: Draft, name: str, change: tuple[str, Any]) -> None:
    spec = draft.documents.get(("Service", name))
    if spec is not None:
        spec[change[0]] = deepcopy(change[1])


def _instances(draft: Draft, name: str, version: str, hosts: tuple[int, ...]) -> None:
    """Give a version other instances; an empty tuple takes the version away."""
    spec = draft.documents.get(("Service", name))
    if spec is None:
        return
    if hosts:
        slot = VERSIONS.index(version) + 1
        spec["versions"][version] = {"endpoints": [f"10.{NAMES.index(name)}.{slot}.{host}" for host in hosts]}
    else:
        spec["versions"].pop(version, None)


def _add_service(draft: Draft, name: str) -> None:
    draft.documents.setdefault(("Service", name), _service(NAMES.index(name)))


def _remove_service(draft: Draft, name: str, tidy: bool) -> None:
    """Take a service away; `tidy` takes away what names it, too."""
    draft.documents.pop(("Service", name), None)
    for (kind, full), spec in list(draft.documents.items()) if tidy else ():
        namespace = full.partition("/")[0]
        if kind == "AccessRule":
            spec["from"] = [one for one in spec["from"] if _full(one, namespace) != name]
        named = spec.get("to", spec.get("service", ""))
        if _full(named, namespace) == name or (kind == "AccessRule" and not spec["from"]):
            del draft.documents[kind, full]


def _full(name: str, namespace: str) -> str:
    """A name as it is meant in a namespace."""
    return name if "/" in name else f"{namespace}/{name}"


def _put_rule(
    draft: Draft, number: int, to: str, sources: tuple[str, ...], paths: tuple[str, ...], extra: str, careless: bool
) -> None:
    """Add or replace a rule; one who is not `careless` looks whether those whom it names are there."""
    if not careless:
        sources = tuple(one for one in sources if one == "*" or ("Service", one) in draft.documents)
        if not sources or ("Service", to) not in draft.documents:
            return
    namespace, _, short = to.partition("/")
    rule = _rule(short, *sources)
    rule["allow"][0]["paths"] = list(paths)
    if extra == "observe":
        rule["mode"] = "observe"
    elif extra:
        rule["expires"] = extra
    draft.documents["AccessRule", f"{namespace}/rule-{number}"] = rule


def _put_split(draft: Draft, name: str, steps: tuple[int, ...], gates: tuple[str, ...]) -> None:
    if ("Service", name) in draft.documents:
        namespace, _, short = name.partition("/")
        split = {"service": short, "steps": list(steps), "hold": "10s", "gates": list(gates)}
        draft.documents["CanarySplit", f"{namespace}/{short}"] = split


def _put_slo(draft: Draft, name: str, source: str) -> None:
    if ("Service", name) in draft.documents:
        namespace, _, short = name.partition("/")
        draft.documents["SLO", f"{namespace}/settled"] = _slo(short, source)


def _remove(draft: Draft, number: int) -> None:
    """Take away some document that is neither the mesh nor a service."""
    keys = [key for key in draft.documents if key[0] not in {"Mesh", "Service"}]
    if keys:
        del draft.documents[keys[number % len(keys)]]


def _move(draft: Draft, number: int, path: str) -> None:
    """Let a document stand in another file."""
    draft.home[list(draft.documents)[number % len(draft.documents)]] = path


def _comment(draft: Draft, number: int) -> None:
    path = sorted(draft.render())[number % len(draft.render())]
    draft.comments[path] = (draft.comments.get(path, 0) + 1) % 3


def _mesh(draft: Draft, change: tuple[str, Any]) -> None:
    spec = draft.documents["Mesh", "default/sim"]
    if change[1] is None:
        spec.pop(change[0], None)
    else:
        spec[change[0]] = change[1]


def _strategy(draft: Draft, waves: tuple[Any, ...], gates: Any) -> None:
    said = {"waves": [{"proxies": wave} for wave in waves], "hold": "10s", "gates": gates}
    draft.documents["RolloutStrategy", "default/careful"] = said


def _break(draft: Draft, path: str, text: str) -> None:
    draft.broken[path] = text


def _mend(draft: Draft) -> None:
    draft.broken.clear()


EDITS: dict[str, Callable[..., None]] = {
    edit.__name__: edit
    for edit in (
        _set_field, _instances, _add_service, _remove_service, _put_rule, _put_split, _put_slo, _remove, _move,
        _comment, _mesh, _strategy, _break, _mend,
    )
}  # fmt: skip

_NAME = st.sampled_from(NAMES)
_NUMBER = st.integers(0, 20)
_FIELDS = st.sampled_from(
    [
        ("version", "v1"), ("version", "v2"), ("version", "v2"), ("version", "v3"),
        ("port", 8081), ("protocol", "http2"), ("protocol", "http"), ("opaquePaths", True), ("opaquePaths", False),
        ("healthCheck", {"path": "/healthz"}),
        ("slo", {"availability": 99.5}), ("slo", {"latency": {99: "300ms"}}), ("slo", {"availability": 99.9}),
        ("resilience", {"timeout": {"request": "2s"}}),
        ("resilience", {"retries": {"attempts": 2, "on": [503]}, "timeout": {"request": "2s", "perTry": "1s"}}),
    ]
)  # fmt: skip
_MESH = st.sampled_from(
    [
        ("strategy", "careful"), ("strategy", None), ("strategy", "immediate"), ("strategy", "careful"),
        ("strategy", "nowhere"), ("ports", {"inbound": 15007}), ("ports", None), ("identity", {"leaf": "12h"}),
    ]
)  # fmt: skip
_PATHS = st.sampled_from([("/v1/items",), ("/v1/{id}", "/v2/**"), ("/**",)])
_BROKEN = st.sampled_from(
    [
        "kind: Service\n",
        "{[",
        "apiVersion: policyd.dev/v1alpha1\nkind: Service\nmetadata: {name: cards, namespace: pay}\nspec: {prot: 1}\n",
        "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: other}\nspec: {trustDomain: sim.example}\n",
        (
            "apiVersion: policyd.dev/v1alpha1\nkind: AccessRule\nmetadata: {name: web-shops}\n"
            "spec: {to: shop, from: [web], allow: [{methods: [PUT], paths: [/v1]}]}\n"
        ),
    ]
)
_SOURCES = st.lists(st.one_of(_NAME, st.just("*")), min_size=1, max_size=3, unique=True).map(tuple)
_GATES = st.sampled_from([(), (), (), ("shop-availability",), ("settled",), ("ledger-latency-99",)])
_PATH = st.sampled_from(["all.yaml", "pay/all.yaml", "default/web.yaml", ".hidden/x.yaml"])
_WAVES = st.sampled_from([(1, "100%"), (1, "50%", "100%"), ("100%",), (1, 2, "100%")])


def _edit(function: Callable[..., None], *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[Edit]:
    return st.tuples(st.just(function.__name__), st.tuples(*arguments))


edits: st.SearchStrategy[Edit] = st.one_of(
    _edit(_set_field, _NAME, _FIELDS),
    _edit(_set_field, _NAME, st.sampled_from([("version", "v1"), ("version", "v2")])),
    _edit(_set_field, _NAME, _FIELDS),
    _edit(_instances, _NAME, st.sampled_from(VERSIONS), st.sampled_from([(1,), (1, 2), (3,), (2, 3), ()])),
    _edit(_add_service, _NAME),
    _edit(_remove_service, _NAME, st.sampled_from([True] * 4 + [False])),
    _edit(
        _put_rule, st.integers(0, 3), _NAME, _SOURCES, _PATHS,
        st.sampled_from(["", "", "observe", "2027-03-31", "2026-02-01T00:00:00Z"]),
        st.sampled_from([False] * 7 + [True]),
    ),
    _edit(_put_split, _NAME, st.sampled_from([(10, 100), (50, 100), (100,)]), _GATES),
    _edit(_put_slo, _NAME, st.sampled_from(["policyd", "policyd", "prometheus", "datadog"])),
    _edit(_remove, _NUMBER),
    _edit(_move, _NUMBER, _PATH),
    _edit(_comment, _NUMBER),
    _edit(_mesh, _MESH),
    _edit(_strategy, _WAVES, st.sampled_from(["touched", "touched", ["shop-availability"], ["settled"]])),
    _edit(_break, st.sampled_from(["broken.yaml", "aaa.yaml"]), _BROKEN),
    _edit(_mend),
)  # fmt: skip
"""One edit of the working files."""


def apply(draft: Draft, drawn: Edit) -> None:
    """Make the edit in `draft`; one that has nothing to hold on to does nothing."""
    name, arguments = drawn
    EDITS[name](draft, *arguments)
