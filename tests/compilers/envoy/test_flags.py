"""What a real caller's sidecar logs of a call that fails is explained: the version, the tries, what went wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policyd.cli.access_line import destination_of, read_line
from policyd.cli.asking import Known
from policyd.cli.logged_way import way_text
from policyd.model.node import nodes
from policyd.model.resilience import Resilience, Retries
from tests.compilers.envoy.test_resilience import calling, node_of
from tests.compilers.meshes import PAYMENTS, WEB

pytestmark = pytest.mark.e2e


def test_a_call_to_a_sidecar_that_is_gone_says_so_in_words(envoy_binary: Path) -> None:
    tries = Resilience(retries=Retries(2, ("connect-failure",), budget=10_000))
    with calling(envoy_binary, 174, 1, resilience=tries) as (world, web):
        assert web.send("GET", "/before").status == 200
        gone = world.processes[node_of(world).id]
        gone.kill()
        gone.wait()
        assert web.send("GET", "/after").status == 503
        caller = next(node.id for node in nodes(world.mesh) if node.service == WEB)
        logged = read_line(json.dumps(world.logged(caller, "/after")))
        assert destination_of(logged, Known.of(world.mesh)) == PAYMENTS
        told = list(way_text(logged.way, {}))
        assert told[0].startswith("went to version `v1` of `pay/payments` at 127.")
        assert told[0].endswith(", by its weight, in 3 tries")
        assert {line.split(":")[0] for line in told[1:3]} == {"`UF`", "`URX`"}
        assert told[3].startswith("in the proxy's own words: ")
        assert "onnection" in told[3]
