"""The index, a real OPA and the embedded engine decide alike, on whatever hypothesis draws."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import pytest

from policyd.model.mesh import Mesh
from tests.conformance.conftest import Tally
from tests.conformance.engines import DisagreementError, Engine, IndexEngine, compare
from tests.conformance.meshes import Pools, meshes
from tests.conformance.near import request
from tests.conformance.rego import Embedded, OpaEngine
from tests.conformance.runs import drawn

pytestmark = pytest.mark.slow

AT = datetime(2100, 1, 1, tzinfo=UTC)
"""The floor, and so the instant of every decision: engines that look at the clock see an earlier one."""
POOLS = Pools.around(AT)
AT_ONCE = 50
"""Requests to one mesh."""
EMBEDDED_SHARE = 10
"""One mesh of so many is judged by the embedded engine, too."""


def test_index_opa_and_embedded_agree(tally: Tally, opa: OpaEngine, embedded: Embedded) -> None:
    def check(mesh: Mesh, choose: Random) -> None:
        sent = [request(choose, mesh, POOLS) for _ in range(AT_ONCE)]
        engines: Sequence[Engine] = (IndexEngine(), opa)
        if choose.randrange(EMBEDDED_SHARE) == 0:
            engines = (*engines, embedded)
            tally.embedded += len(sent)
        answers = compare(engines, mesh, sent, AT)
        tally.decided += len(sent)
        tally.count(answers)

    found: DisagreementError | None = None
    try:
        drawn(meshes(POOLS, connections=True), tally.seed, -(-tally.requests // AT_ONCE), check)
    except DisagreementError as error:
        found = error
    if found is not None:
        tally.disagreements += 1
        pytest.fail(f"{found}\nseed: {tally.seed}", pytrace=False)
    assert tally.decided >= tally.requests
    assert tally.seldom() == {}, "requests of some kind are too rare to compare anything"
