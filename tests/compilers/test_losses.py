"""What a compiler foresees as lost is what it then loses, on every target and any mesh."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.compiler import registry
from policyd.compiler.memo import Memo
from policyd.compiler.protocol import Foresees
from policyd.model.access import Rule
from policyd.model.node import nodes
from policyd.model.service import Service
from policyd.testing.build import access, mesh
from tests.compilers.generated import RULES, SERVICES
from tests.compilers.meshes import PAYMENTS, WEB, service


@pytest.mark.parametrize("target", ["envoy", "haproxy"])
def test_foreseen_is_lost(target: str) -> None:
    compiler = registry.load(target)
    assert isinstance(compiler, Foresees)
    seen: set[str] = set()

    @given(SERVICES, st.lists(RULES, max_size=2, unique_by=lambda rule: rule.name))
    def agree(payments: Service, rules: list[Rule]) -> None:
        made = mesh([payments, service(WEB, v1=["10.0.2.1"])], [access(str(PAYMENTS), *rules)])
        memo = Memo()
        lost = {loss for node in nodes(made) for loss in compiler.compile(made, node, memo).losses}
        found = compiler.losses(made, memo)
        assert compiler.losses(made, memo) == found
        assert set(found) == lost
        assert len(found) == len(lost)
        seen.update(loss.code for loss in lost)

    agree()
    assert {"PD1302", "PD1304"} <= seen
