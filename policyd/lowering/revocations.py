"""Pass: each `Revocation` becomes a cut. It never waits for a release and never goes back with one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import Document
from policyd.intents.revocation import Revocation as RevocationIntent
from policyd.intents.translate import nearest
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.services import short
from policyd.lowering.work import Work, said_by
from policyd.model.names import Name, parse_spiffe_id
from policyd.model.revocation import Revocation, caller_identity


def revocations(work: Work, memo: LoweringMemo) -> Work:
    """Fill in `revocations`, sorted by name. Without a mesh nobody knows who is meant."""
    if work.settings is None:
        return work
    documents, domain = work.of_kind("Revocation"), work.settings.trust_domain
    pieces = memo.pieces("Revocation", documents, lambda document: _revocation(document, domain), (domain,))
    made = sorted((piece.value for piece in pieces), key=lambda revocation: revocation.name)
    done = replace(work, revocations={revocation.name: revocation for revocation in made})
    found = [
        finding
        for document, piece in zip(documents, pieces, strict=True)
        for finding in _findings(work, document, piece.value)
    ]
    return done.with_pieces(memo, "Revocation", pieces).with_findings(found)


def _revocation(document: Document, trust_domain: str) -> Piece[Revocation]:
    spec, namespace = cast("RevocationIntent", document.intent).spec, document.name.namespace
    cut = spec.cut
    caller = cut.identity or cut.from_ or ""
    value = Revocation(
        name=document.name,
        reason=spec.reason,
        identity=caller_identity(trust_domain, caller, namespace) if caller else "",
        to=Name.parse(cut.to, namespace) if cut.to else None,
        root=cut.root or "",
    )
    return Piece(value, said_by(document))


def _findings(work: Work, document: Document, made: Revocation) -> Iterator[Finding]:
    namespace = document.name.namespace
    if made.to is not None:
        yield from _destination(work, document, made.to)
        field = "from"
    elif made.identity:
        field = "identity"
        yield from _own(work, document, made)
    else:
        if namespace != _home(work):
            yield document.finding(
                "PD1207",
                "a root is no team's own",
                "spec",
                "cut",
                "root",
                hint=f"only namespace `{_home(work)}`, where the `Mesh` is, can distrust one",
            )
        yield document.finding(
            "PD1225",
            f"whether this mesh has root `{made.root[:16]}` is not known here",
            "spec",
            "cut",
            "root",
            hint="`policyd revocations` says on how many proxies it holds, `policyd status` if it is none",
            severity=Severity.WARNING,
        )
        return
    caller = parse_spiffe_id(work.settings.trust_domain, made.identity) if work.settings is not None else None
    if caller is not None and caller not in work.services and not work.may_exist(caller):
        known = [short(service, namespace) for service in work.services]
        text = short(caller, namespace)
        by_id = document.raw["spec"]["cut"][field].startswith("spiffe:")
        yield document.finding(
            "PD1203",
            f"there is no service `{text}`",
            "spec",
            "cut",
            field,
            hint=nearest(text, known) or "one that is gone is cut off by its whole SPIFFE ID",
            severity=Severity.WARNING if by_id else Severity.ERROR,
        )


def _destination(work: Work, document: Document, to: Name) -> Iterator[Finding]:
    namespace = document.name.namespace
    if to.namespace != namespace and namespace != _home(work):
        yield document.finding(
            "PD1207",
            f"`{to}` is not in namespace `{namespace}`",
            "spec",
            "cut",
            "to",
            hint="only the team that owns a service, and the namespace of the `Mesh`, cut callers off from it",
        )
    elif to not in work.services and not work.may_exist(to):
        text = short(to, namespace)
        hint = nearest(text, [short(service, namespace) for service in work.services])
        yield document.finding("PD1203", f"there is no service `{text}`", "spec", "cut", "to", hint=hint)


def _own(work: Work, document: Document, made: Revocation) -> Iterator[Finding]:
    """A caller is cut off from everybody by his own team, or by the namespace that owns the mesh."""
    assert work.settings is not None
    caller, namespace = parse_spiffe_id(work.settings.trust_domain, made.identity), document.name.namespace
    if namespace != _home(work) and (caller is None or caller.namespace != namespace):
        yield document.finding(
            "PD1207",
            f"`{made.identity}` is not in namespace `{namespace}`",
            "spec",
            "cut",
            "identity",
            hint="cut it off from your own service: `cut: {from: ..., to: ...}`",
        )


def _home(work: Work) -> str:
    """The namespace of the mesh: who owns the whole may close any part of it."""
    return work.of_kind("Mesh")[0].name.namespace
