"""Engines and small commits for the guardrails' tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from policyd.guardrails.bundle import Bundle, shipped_bundle
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.guardrails.managed import ManagedOpa


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedEngine]:
    """The embedded engine."""
    engine = EmbeddedEngine()
    yield engine
    await engine.close()


@pytest.fixture
async def managed(opa_binary: Path) -> AsyncIterator[ManagedOpa]:
    """An OPA of our own."""
    engine = ManagedOpa(opa_binary)
    yield engine
    await engine.close()


@pytest.fixture(scope="session")
def shipped() -> Bundle:
    """The rules that ship with policyd."""
    return shipped_bundle()
