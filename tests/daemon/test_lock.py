"""Only one controller uses a state folder, and one that was killed stands in nobody's way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from policyd.base.errors import Stalled
from policyd.daemon.lock import only_controller

_HOLDER = """
import sys
from pathlib import Path
from policyd.daemon.lock import only_controller
with only_controller(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_killed_controller_leaves_no_lock(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(Stalled, match=rf"another controller \(process {holder.pid}\)"), only_controller(tmp_path):
            pass
        holder.kill()
        holder.wait()
        with only_controller(tmp_path):
            assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_the_lock_is_free_after_an_end_in_good_order(tmp_path: Path) -> None:
    for _ in range(2):
        with only_controller(tmp_path):
            pass


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(Stalled, match="cannot be made"), only_controller(tmp_path):
        pass
