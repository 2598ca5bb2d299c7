"""Every data plane that has sidecars, so that one table of requests and answers holds for all of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.compilers.envoy.proxies import Envoys
from tests.compilers.haproxy.proxies import HAProxies
from tests.compilers.world import Sidecars

TARGETS: dict[str, Callable[[Path], Sidecars]] = {"envoy": Envoys, "haproxy": HAProxies}


@pytest.fixture(scope="module", params=sorted(TARGETS))
def sidecars(request: pytest.FixtureRequest) -> Sidecars:
    """The sidecars of one data plane, then of the next."""
    target: str = request.param
    return TARGETS[target](request.getfixturevalue(f"{target}_binary"))
