"""Which policyd this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def version_text() -> str:
    """`policyd 0.1.0`."""
    return f"policyd {version_of('policyd') or '(not installed as a package)'}"


def version_of(distribution: str) -> str:
    """The installed version of a Python distribution; empty where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return ""
