"""Faults that are planted in the reference are found: else agreement would say nothing about the next one."""

from __future__ import annotations

import shutil
from pathlib import Path
from random import Random

import pytest

from policyd.model.mesh import Mesh
from tests.conformance.conftest import Tally
from tests.conformance.engines import DisagreementError, IndexEngine, compare
from tests.conformance.meshes import meshes
from tests.conformance.near import request
from tests.conformance.rego import opa_server, reference
from tests.conformance.runs import drawn
from tests.conformance.test_engines import AT, AT_ONCE, POOLS

pytestmark = pytest.mark.slow

MESHES = 200
"""So many are drawn at most; most faults are found in the first few, and from some seeds one of them takes 50."""


@pytest.mark.parametrize(
    ("was", "planted"),
    [
        pytest.param(
            '[request.method, "*"]',
            '[request.method, "*", object.get({"HEAD": "GET"}, request.method, "*")]',
            id="GET implies HEAD",
        ),
        pytest.param(
            "count(pattern.segments) <= count(parts)",
            "count(pattern.segments) < count(parts)",
            id="/v2/** misses /v2",
        ),
        pytest.param(
            "data.mesh.floor_us < instant_us",
            "data.mesh.floor_us <= instant_us",
            id="a rule is in force at the instant of its end",
        ),
        pytest.param(
            "not request.source.spiffe in revoked",
            "not request.source.spiffe == revoked[0]",
            id="only the first of the revoked is",
        ),
    ],
)
def test_a_planted_fault_is_found(tally: Tally, opa_binary: Path, tmp_path: Path, was: str, planted: str) -> None:
    authz = tmp_path / "authz"
    shutil.copytree(reference(), authz)
    rules = authz / "rules.rego"
    text = rules.read_text(encoding="utf-8")
    assert text.count(was) == 1
    rules.write_text(text.replace(was, planted), encoding="utf-8")

    with opa_server(opa_binary, tmp_path, authz) as opa:

        def check(mesh: Mesh, choose: Random) -> None:
            sent = [request(choose, mesh, POOLS) for _ in range(AT_ONCE)]
            compare((IndexEngine(), opa), mesh, sent, AT)

        with pytest.raises(DisagreementError, match="engines disagree about"):
            drawn(meshes(POOLS), tally.seed, MESHES, check)
