"""Pass: each `RolloutStrategy` becomes waves, and the mesh chooses one of them."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from policyd.base.diagnostics import Finding
from policyd.intents import Document
from policyd.intents.mesh import Mesh as MeshIntent
from policyd.intents.rollout_strategy import TOUCHED, RolloutStrategy
from policyd.intents.translate import nearest
from policyd.lowering.memo import LoweringMemo, Piece
from policyd.lowering.work import Work, said_by
from policyd.model.names import Name
from policyd.model.release import DEFAULT_STRATEGY, IMMEDIATE, OnFailure, OnInconclusive, Strategy, Wave

BUILT_IN = IMMEDIATE.name.name


def strategies(work: Work, memo: LoweringMemo) -> Work:
    """Fill in `strategies` and the mesh's own `strategy`."""
    pieces = memo.pieces("RolloutStrategy", work.of_kind("RolloutStrategy"), _strategy)
    made = {piece.value.name: piece.value for piece in pieces}
    chosen, problems = _chosen(work, made)
    done = replace(work, strategies=dict(sorted(made.items())), strategy=chosen)
    return done.with_pieces(memo, "RolloutStrategy", pieces).with_findings(problems)


def _strategy(document: Document) -> Piece[Strategy]:
    spec = cast("RolloutStrategy", document.intent).spec
    namespace = document.name.namespace
    gates = () if spec.gates == (TOUCHED,) else spec.gates
    strategy = Strategy(
        name=document.name,
        waves=tuple(Wave(count=wave.proxies[0], share=wave.proxies[1]) for wave in spec.waves),
        hold_s=spec.hold / 1_000,
        gates=tuple(dict.fromkeys(Name.parse(gate, namespace) for gate in gates)),
        on_failure=OnFailure(spec.on_failure),
        on_inconclusive=OnInconclusive(spec.on_inconclusive),
        deadline_s=spec.deadline / 1_000,
        max_refused=spec.max_refused,
    )
    problems = []
    if document.name.name == BUILT_IN:
        problems.append(
            document.finding(
                "PD1216",
                f"`{BUILT_IN}` is built in and means everywhere at once",
                "metadata",
                "name",
                hint="rename it",
            )
        )
    return Piece(strategy, said_by(document), tuple(problems))


def _chosen(work: Work, made: dict[Name, Strategy]) -> tuple[Strategy, list[Finding]]:
    """The mesh's strategy; one that does not exist is the careful default, and a finding."""
    for document in work.of_kind("Mesh")[:1]:
        wanted = cast("MeshIntent", document.intent).spec.strategy
        if wanted == BUILT_IN:
            return IMMEDIATE, []
        if wanted is None:
            break
        name = Name.parse(wanted, document.name.namespace)
        if name in made:
            return made[name], []
        if work.may_exist(name):
            return DEFAULT_STRATEGY, []
        known = [BUILT_IN, *(strategy.name.name for strategy in made.values())]
        missing = document.finding(
            "PD1206", f"there is no strategy `{wanted}`", "spec", "strategy", hint=nearest(wanted, known)
        )
        return DEFAULT_STRATEGY, [missing]
    return DEFAULT_STRATEGY, []
