"""Which folders may speak for a namespace: nobody opens another team's service by writing down that team's name.

The daemon's settings bind namespaces to folders; who may write to a folder, the repository's host knows (code
owners). Nothing that Git says can change a binding. Beside them stand the names that the settings give to what only
they say how to reach.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import PlainValidator

from policyd.base.diagnostics import Finding
from policyd.intents.document import Document
from policyd.intents.egress import Egress, EgressSpec, OutboundTls
from policyd.intents.gateway import Gateway, GatewaySpec
from policyd.intents.kind import OneOrMany
from policyd.intents.mesh import Mesh, MeshSpec
from policyd.intents.observability import Observability, Tracing
from policyd.intents.openslo import NAMESPACE, OpensloIntent
from policyd.intents.place import Step
from policyd.intents.translate import nearest
from policyd.intents.units import label, shown, unreadable

OTHERS = "*"
"""Stands for every namespace that is not listed."""
PLACEHOLDER = "{namespace}"
"""In a folder: the namespace's own name."""
_OTHER_FIELD = re.compile(r"\{(?!namespace\})[a-z_]*\}")


def namespace_or_others(value: object) -> str:
    """Read a namespace, or `*`. Raises `unreadable`."""
    return OTHERS if value == OTHERS else label(value)


def folder(value: object) -> str:
    """Read a folder of the watched tree as a prefix of paths: `teams/pay/`, empty for `/`. Raises `unreadable`."""
    if not isinstance(value, str) or not value.isprintable():
        raise unreadable(f"`{shown(value)}` is not a folder", hint="write it as `teams/pay`")
    if _OTHER_FIELD.search(value):
        raise unreadable(
            f"`{shown(value)}` asks for more than a namespace", hint=f"all that is filled in is `{PLACEHOLDER}`"
        )
    parts = value.removeprefix("/").removesuffix("/").split("/")
    if parts == [""] and value == "/":
        return ""
    if any(part in {"", ".", ".."} for part in parts) or "\\" in value:
        raise unreadable(
            f"`{shown(value)}` is not a folder of the repository",
            hint="from the watched folder on, without `.` and `..`: `teams/pay`; all of it is `/`",
        )
    return "/".join(parts) + "/"


Folders = Mapping[
    Annotated[str, PlainValidator(namespace_or_others)], OneOrMany[Annotated[str, PlainValidator(folder)]]
]
"""Folders by namespace, as the settings give them."""


@dataclass(frozen=True, slots=True)
class Bindings:
    """The folders of each namespace, as path prefixes. With none at all, any file may name any namespace.

    As soon as one is bound, a namespace that is not listed and not covered by `*` may be used nowhere.
    """

    folders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    collectors: frozenset[str] | None = None
    """The collectors of spans that the settings say how to reach; `None` where no settings are known."""

    roots: frozenset[str] | None = None
    """The roots for external hosts that the settings know; `None` where no settings are known."""

    certificates: frozenset[str] | None = None
    """The certificates for gateways that the settings know; `None` where no settings are known."""

    def findings(self, documents: Iterable[Document]) -> Iterator[Finding]:
        """An error for each document outside of its namespace's folders, and for what the settings do not know."""
        for document in documents:
            match document.intent:
                case Mesh(spec=MeshSpec(observability=Observability(tracing=Tracing(otlp=name)))):
                    path: tuple[Step, ...] = ("spec", "observability", "tracing", "otlp")
                    yield from _unknown(document, path, name, self.collectors, what="collector", setting="collectors")
                case Egress(spec=EgressSpec(tls=OutboundTls(roots=name))):
                    path = ("spec", "tls", "roots")
                    yield from _unknown(document, path, name, self.roots, what="roots", setting="roots")
                case Gateway(spec=GatewaySpec(listeners=listeners)):
                    known, words = self.certificates, {"what": "certificate", "setting": "certificates"}
                    for number, each in enumerate(listeners):
                        if each.tls is not None:
                            path = ("spec", "listeners", number, "tls", "certificate")
                            yield from _unknown(document, path, each.tls.certificate, known, **words)
            allowed = self._of(document.name.namespace) if self.folders else ("",)
            if not document.path.startswith(allowed):
                yield self._refusal(document, allowed)

    def _of(self, namespace: str) -> tuple[str, ...]:
        folders = self.folders.get(namespace, self.folders.get(OTHERS, ()))
        return tuple(each.replace(PLACEHOLDER, namespace) for each in folders)

    def _refusal(self, document: Document, allowed: tuple[str, ...]) -> Finding:
        namespace, path = document.name.namespace, _place_of_namespace(document)
        said = f"namespace `{namespace}`"
        if not _says_namespace(document, path):
            said = f"no namespace is given, and `{namespace}`, which is meant then,"
        if not allowed:
            known = sorted(name for name in self.folders if name != OTHERS)
            hint = nearest(namespace, known) or "the controller's settings list the namespaces"
            return document.finding("PD1114", f"{said} is bound to no folder", *path, hint=hint)
        folders = " or ".join(f"`{each}`" for each in allowed)
        here = sorted(
            name
            for name in self.folders
            if name != OTHERS and document.path.startswith(tuple(each for each in self._of(name) if each))
        )
        own = f", or name a namespace of this folder: {', '.join(f'`{name}`' for name in here)}" if here else ""
        return document.finding(
            "PD1113", f"{said} is bound to {folders}", *path, hint=f"move the file to {folders}{own}"
        )


def _unknown(
    document: Document, path: tuple[Step, ...], name: str, known: frozenset[str] | None, *, what: str, setting: str
) -> Iterator[Finding]:
    """An error for a name that the settings do not know, as far as the settings are known."""
    if known is None or name in known:
        return
    names = ", ".join(f"`{each}`" for each in sorted(known)) or "none"
    yield document.finding(
        "PD1270",
        f"the controller's settings know no {what} `{name}`",
        *path,
        hint=nearest(name, sorted(known)) or f"`{setting}` in the settings has {names}",
    )


def _place_of_namespace(document: Document) -> tuple[Step, ...]:
    if isinstance(document.intent, OpensloIntent):
        return ("metadata", "annotations", NAMESPACE)
    return ("metadata", "namespace")


def _says_namespace(document: Document, path: tuple[Step, ...]) -> bool:
    value: object = document.raw
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value is not None
