"""The real Git for the controller's tests."""

from __future__ import annotations

from tests.source.conftest import author

__all__ = ["author"]
