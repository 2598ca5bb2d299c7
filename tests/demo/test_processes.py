"""Children end with us, in order, and one that ends by itself is told with its last words."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from policyd.base.errors import Stalled
from policyd.demo.processes import Processes


async def test_a_child_that_ends_by_itself_is_told_with_its_last_words(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    child = await processes.start("short", (sys.executable, "-c", "print('cannot go on'); raise SystemExit(3)"))
    await child.process.wait()
    with pytest.raises(Stalled, match="status 3") as caught:
        processes.check()
    assert "cannot go on" in str(caught.value)
    await processes.stop_all()


async def test_stop_all_ends_even_those_who_do_not_listen(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    child = await processes.start("deaf", (sys.executable, "-c", deaf))
    await processes.stop_all()
    assert not child.alive
    with pytest.raises(ProcessLookupError):
        os.kill(child.process.pid, 0)


async def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Stalled, match="no-such-program"):
        await Processes(tmp_path).start("none", ("no-such-program",))
