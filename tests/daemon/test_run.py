"""`policyd run` as a process that cannot start: one clear error, and no traceback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from policyd.daemon.lock import only_controller


def run(settings: Path) -> subprocess.CompletedProcess[str]:
    """`policyd run`, until it ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "policyd", "run", "--config", str(settings)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("server", ["xds", "http"])
def test_a_port_in_use_is_said_in_words(server: str, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", "--initial-branch=main", str(tmp_path / "mesh")], check=True)
    with socket.create_server(("127.0.0.1", 0)) as taken, socket.create_server(("127.0.0.1", 0)) as spare:
        free = spare.getsockname()[1]
        spare.close()
        ports = {"xds": free, "http": free, server: taken.getsockname()[1]}
        settings = tmp_path / "policyd.yaml"
        settings.write_text(
            f"source: {{repository: {tmp_path / 'mesh'}}}\nstate: state\n"
            f"xds: 127.0.0.1:{ports['xds']}\nhttp: 127.0.0.1:{ports['http']}\n"
        )
        done = run(settings)
    assert done.returncode == 2
    assert f"cannot listen on 127.0.0.1:{ports[server]}" in done.stderr
    assert "is another controller running?" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_controller_on_one_state_folder_says_who_has_it(tmp_path: Path) -> None:
    state, settings = tmp_path / "state", tmp_path / "policyd.yaml"
    state.mkdir()
    settings.write_text(f"source: {{repository: {tmp_path / 'mesh'}}}\nstate: state\n")
    with only_controller(state):
        done = run(settings)
    assert done.returncode == 2
    assert f"another controller (process {os.getpid()}) uses the state folder" in done.stderr
    assert "Traceback" not in done.stderr
