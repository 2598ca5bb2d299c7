"""`policyd doctor mesh`: a line for each proxy, what is wrong, and an exit code that says whether anything is."""

from __future__ import annotations

import json

from tests.api.conftest import OnePatient
from tests.cli.conftest import Policyd


def test_every_proxy_has_a_line_and_what_is_wrong_with_it(policyd: Policyd, address: str) -> None:
    done = policyd("doctor", "mesh", "--server", address)
    assert done.exit_code == 1
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    digest = "d" * 16
    assert f"✓ default/web/v1/127.0.0.1 envoy 1.40.0 yes yes {digest} {digest} 23 h left 0 s ago" in lines
    assert f"✗ default/pay/v1/127.0.0.2 - no no {digest} - - -" in lines
    assert "✗ refused Listener `inbound`: Address already in use\N{REPLACEMENT CHARACTER}[2J" in lines
    assert "not as it should be: Listener inbound" in lines
    assert "default/web/v1/127.0.0.1 2027-01-01T00:00:00+00:00 Cluster a: no such thing" in lines
    assert lines[-1] == "1 of 2 proxies are not well"


def test_json_is_the_answer_and_the_exit_code_is_its_word(
    policyd: Policyd, address: str, patient: OnePatient
) -> None:
    ill = policyd("doctor", "mesh", "--server", address, "-o", "json")
    assert (ill.exit_code, json.loads(ill.stdout)["well"]) == (1, False)
    assert json.loads(ill.stdout)["proxies"][0]["refused"]["resources"] == ["inbound"]
    patient.well = True
    assert policyd("doctor", "mesh", "--server", address, "-o", "json").exit_code == 0
    assert policyd("doctor", "mesh", "--server", address).stdout.splitlines()[-1] == "every proxy is well"


def test_a_controller_that_does_not_answer_is_not_a_mesh_that_is_well(policyd: Policyd) -> None:
    assert policyd("doctor", "mesh", "--server", "http://127.0.0.1:1").exit_code == 2
