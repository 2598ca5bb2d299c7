"""Pass: the one `Mesh` becomes the settings that all proxies share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from policyd.base.diagnostics import Finding, Location, Severity
from policyd.intents import Document
from policyd.intents.mesh import Mesh as MeshIntent
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.work import Work, said_by
from policyd.model.mesh import DataPlane, Settings
from policyd.model.tokens import Issuer
from policyd.model.tracing import Tracing

WHOLE_TREE = Location(".")


def settings(work: Work, memo: LoweringMemo) -> Work:
    """Fill in `settings`; exactly one mesh is needed."""
    documents = work.of_kind("Mesh")
    if not documents and work.broken:
        return work  # one of them may be the mesh; its own findings say what is wrong
    if not documents:
        missing = Finding(
            "PD1201",
            Severity.ERROR,
            "there is no `Mesh`",
            WHOLE_TREE,
            hint="one document of `kind: Mesh` names the trust domain and the data planes",
        )
        return work.with_findings([missing])
    first, *others = documents
    found = tuple(
        other.finding(
            "PD1202",
            f"a second `Mesh`; the first is in {first.locate('metadata', 'name')}",
            "metadata",
            "name",
            hint="keep one: a repository describes one mesh",
        )
        for other in others
    )
    pieces = memo.pieces("Mesh", [first], _settings)
    done = replace(work, settings=pieces[0].value).with_pieces(memo, "Mesh", pieces)
    return done.with_findings(found)


def _settings(document: Document) -> Piece[Settings]:
    spec = cast("MeshIntent", document.intent).spec
    value = Settings(
        name=document.name.name,
        trust_domain=spec.trust_domain,
        data_planes=tuple(DataPlane(plane.name, plane.compiler) for plane in spec.data_planes),
        inbound_port=spec.ports.inbound,
        outbound_port=spec.ports.outbound,
        leaf_s=spec.identity.leaf // 1_000,
        root_s=spec.identity.root // 1_000,
        issuers=tuple(
            Issuer(name, said.issuer, tuple(sorted(set(said.audiences))), said.jwks or "", said.jwks_uri or "")
            for name, said in sorted(spec.issuers.items())
        ),
        tracing=Tracing(asked.otlp, asked.sampling) if (asked := spec.observability.tracing) is not None else None,
    )
    findings = []
    if spec.ports.inbound == spec.ports.outbound:
        findings.append(document.finding("PD1217", "a sidecar cannot listen on one port twice", "spec", "ports"))
    if value.leaf_s > value.root_s or value.leaf_s < 60:
        findings.append(
            document.finding(
                "PD1218",
                "a leaf certificate lives at least a minute and no longer than the root",
                "spec",
                "identity",
                "leaf",
                hint="for example `identity: {leaf: 24h, root: 1y}`",
            )
        )
    return Piece(value, said_by(document), (*findings, *_issuers(document, value)))


def _issuers(document: Document, value: Settings) -> Iterator[Finding]:
    """Each `iss` has one name."""
    names: dict[str, str] = {}
    for issuer in value.issuers:
        first = names.setdefault(issuer.url, issuer.name)
        if first != issuer.name:
            yield document.finding(
                "PD1224",
                f"`{issuer.name}` and `{first}` are the same issuer, `{issuer.url}`",
                *("spec", "issuers", issuer.name, "issuer"),
                hint="give it one name, with all audiences; rules tell its tokens apart by their claims",
            )
