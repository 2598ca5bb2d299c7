"""The OpenAPI document says what a decision server does: schemathesis draws requests and judges the answers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.decider.meshes import READS, shop
from tests.decider.server import publish, serving


@pytest.mark.slow
def test_whatever_is_drawn_from_the_document_is_answered_as_it_says(tmp_path: Path) -> None:
    publish(tmp_path, shop(READS))
    with serving(tmp_path, "--log", "decisions.log") as server:
        program = Path(sys.executable).with_name("schemathesis")
        url = f"http://127.0.0.1:{server.port}/openapi.json"
        argv = (str(program), "run", url, "--checks", "all", "--max-examples", "4", "--seed", "7", "--no-color")
        done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr
        assert server.ready()
