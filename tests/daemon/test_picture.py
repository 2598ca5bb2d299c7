"""Why a service's version in Git does not serve, as the status says it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from policyd.daemon import picture
from policyd.rollout.record import Phase


def record(phase: Phase, reason: str) -> Any:
    return SimpleNamespace(unit="service", name="default/catalog", phase=phase, reason=reason, quarantine="")


@pytest.mark.parametrize(("phase", "said"), [(Phase.PROGRESSING, ""), (Phase.ABORTED, "now")])
def test_only_the_newest_release_says_why_a_version_does_not_serve(phase: Phase, said: str) -> None:
    wanted, served = (cast("Any", SimpleNamespace(serving=version)) for version in ("v2", "v1"))
    records = (record(Phase.PROMOTED, "long ago"), record(phase, "now"))
    assert picture._diverged("default/catalog", wanted, served, records) == said
