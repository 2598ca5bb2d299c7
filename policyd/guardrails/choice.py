"""Which engine judges: OPA where there is one, else the embedded engine."""

from __future__ import annotations

import importlib.metadata
import shutil
from pathlib import Path
from typing import Literal

from policyd.base.errors import UsageError
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.guardrails.engine import Engine

Wish = Literal["auto", "opa", "embedded"]


def find_opa(setting: str = "") -> Path | None:
    """The `opa` of the settings, else the one on PATH, else `None`.

    Raises `UsageError` where the settings name one that is not there.
    """
    found = shutil.which(setting or "opa")
    if setting and found is None:
        raise UsageError(f"there is no `{setting}` to run", hint="correct `guardrails: {opa_binary: ...}`")
    return Path(found) if found else None


def choose(wish: Wish, *, opa_url: str = "", opa_binary: str = "", deadline_s: float = 20.0) -> Engine:
    """The engine that the settings ask for. Nothing is started before the first question.

    Raises `UsageError` where `wish` is `opa` and there is none.
    """
    if wish == "embedded":
        return EmbeddedEngine(deadline_s=deadline_s)
    if opa_url:
        # The HTTP client of this engine takes longer to import than most commands take to run.
        from policyd.guardrails.opa import OpaEngine  # noqa: PLC0415

        return OpaEngine(opa_url, deadline_s=deadline_s)
    binary = find_opa(opa_binary)
    if binary is not None:
        from policyd.guardrails.managed import ManagedOpa  # noqa: PLC0415

        return ManagedOpa(binary, deadline_s=deadline_s)
    if wish == "opa":
        raise UsageError("there is no `opa` on PATH", hint="install OPA, or set `guardrails: {opa_url: ...}`")
    return EmbeddedEngine(deadline_s=deadline_s)


def fingerprint(opa: Path | None) -> str:
    """What tells this machine's engine from any other that might answer differently: `opa`, or the embedded one."""
    if opa is None:
        return f"embedded {importlib.metadata.version('regopy')}"
    about = opa.resolve().stat()
    return f"opa {opa.resolve()} {about.st_size} {about.st_mtime_ns}"
