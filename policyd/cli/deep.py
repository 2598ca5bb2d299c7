"""`check --deep`: the real proxy judges every node's compiled configuration without starting."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from policyd.base.clock import SystemClock
from policyd.base.diagnostics import Finding, Location, Severity, in_order
from policyd.base.errors import UsageError
from policyd.cli.compiled import CompiledNode
from policyd.delivery.binaries import find_program
from policyd.delivery.validate import validate
from policyd.identity import throwaway_secrets
from policyd.model.provenance import Key, Provenance

REFUSED_BY_PROXY = "PD1390"
_DEADLINE_S = 30.0


def deep(compiled: Sequence[CompiledNode], provenance: Mapping[Key, Provenance]) -> tuple[Finding, ...]:
    """A finding for every node whose proxy would refuse its configuration.

    Raises `UsageError` where the proxy is not installed, `Retry` where it does not decide in time.
    """
    return asyncio.run(_deep(compiled, provenance))


async def _deep(compiled: Sequence[CompiledNode], provenance: Mapping[Key, Provenance]) -> tuple[Finding, ...]:
    slots = asyncio.Semaphore(os.cpu_count() or 1)
    secrets = throwaway_secrets("validation.invalid", SystemClock().now())

    async def ask(one: CompiledNode) -> Finding | None:
        validation = one.compiler.validation(one.compiled, one.node, secrets)
        async with slots:
            verdict = await validate(validation, _program(validation.program), _DEADLINE_S)
        if verdict.accepted:
            return None
        known = provenance.get(Key("Service", one.node.service))
        return Finding(
            REFUSED_BY_PROXY,
            Severity.ERROR,
            f"{validation.program} refuses what `{one.node.id}` would get: {verdict.reason}",
            known.location if known is not None else Location("."),
            f"`policyd compile --node {one.node.id}` shows it",
        )

    return in_order(finding for finding in await asyncio.gather(*map(ask, compiled)) if finding is not None)


def _program(name: str) -> Path:
    found = find_program(name)
    if found is None:
        raise UsageError(
            f"`{name}` is not installed, so `--deep` cannot ask it", hint="`policyd doctor` says how to get it"
        )
    return found
