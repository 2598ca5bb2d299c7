"""How many meshes are drawn, from which seed: hypothesis, told by flags."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st

from policyd.model.mesh import Mesh


def drawn(meshes: st.SearchStrategy[Mesh], seed: int, count: int, check: Callable[[Mesh, Random], None]) -> None:
    """Call `check` for `count` meshes, each with what its requests are chosen by; the same for the same seed.

    What fails is made small by `engines.smaller`, which knows what rules are made of.
    """

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @hypothesis.given(meshes, st.randoms(use_true_random=True))
    def run(mesh: Mesh, choose: Random) -> None:
        check(mesh, choose)

    run()
