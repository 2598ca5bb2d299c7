"""Builders of small trees, and the way findings are read in these tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policyd.intents import Loaded, MemoryTree, load

Load = Callable[..., Loaded]


@pytest.fixture
def load_text() -> Load:
    """Load one file `a.yaml` with this text (or these bytes)."""

    def run(text: str | bytes) -> Loaded:
        return load(MemoryTree({"a.yaml": text}))

    return run
