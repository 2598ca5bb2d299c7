"""A small mesh that the tests of the plan share."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from policyd.model.mesh import Mesh, Releases
from policyd.model.names import Name
from policyd.model.release import CanaryPlan
from policyd.testing import build


@pytest.fixture
def at() -> datetime:
    return datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def shop() -> Mesh:
    """web (4 proxies) -> checkout (v1: 8 proxies, v2: 1) -> payments; checkout has a canary plan."""
    checkout = Name.parse("checkout")
    plan = CanaryPlan(Name.parse("checkout"), checkout, steps=(500, 5_000, 10_000), hold_s=5.0)
    return build.mesh(
        [
            build.service("web", {"v1": build.addresses(4, "10.1")}),
            build.service("checkout", {"v1": build.addresses(8, "10.2"), "v2": ["10.3.0.1"]}),
            build.service("payments", {"v1": build.addresses(2, "10.4")}),
        ],
        [
            build.access("checkout", build.rule("web-checks-out", ["web"], "POST /v1/orders")),
            build.access("payments", build.rule("checkout-pays", ["checkout"], "POST /v1/charges")),
        ],
        releases=Releases(canaries={checkout: plan}),
    )
