"""The README's way from the demo to one's own services, typed as it stands there, on a machine that knows nobody.

Every `sh` block of the section is run literally: those behind `<!-- another terminal -->` in a shell of their own
that stays open, all others one after another in the first one. A `text` block is what the block before it shows: its
lines come in that order, and `...` stands for anything.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TITLE = "## From the demo to your services"
BLOCK = re.compile(r"(?m)^(?P<mark><!-- another terminal -->\n)?```(?P<kind>sh|text)\n(?P<text>(?:.*\n)*?)```$")
PATIENCE_S = 150.0


@dataclass(frozen=True)
class Step:
    """What is typed, and the lines that should be seen."""

    commands: str
    shows: tuple[str, ...] = ()
    apart: bool = False


def steps(readme: str) -> list[Step]:
    section = readme.partition(f"{TITLE}\n")[2].partition("\n## ")[0]
    found: list[Step] = []
    for block in BLOCK.finditer(section):
        if block["kind"] == "text":
            found[-1] = Step(found[-1].commands, tuple(block["text"].splitlines()))
        else:
            found.append(Step(block["text"], apart=bool(block["mark"])))
    return found


class Terminal:
    """A shell with nothing but a PATH and a home of its own."""

    def __init__(self, folder: Path, log: Path) -> None:
        programs = Path(sys.executable).parent
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(folder / "home")}
        self._log = log
        with log.open("wb") as out:
            self._shell = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                cwd=folder / "work",
                env=environment,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )

    def type(self, text: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(text.encode())
        self._shell.stdin.flush()

    def seen(self) -> str:
        return self._log.read_text(errors="replace")

    def run(self, commands: str) -> str:
        """Type a block and return what it showed."""
        before, waiting = len(self.seen()), Path(self._log.parent, "done")
        os.mkfifo(waiting)
        self.type(f"{commands}\necho > '{waiting}'\n")
        with subprocess.Popen(["timeout", str(PATIENCE_S), "cat", waiting], stdout=subprocess.DEVNULL) as reader:
            status = reader.wait()
        waiting.unlink()
        shown = self.seen()[before:]
        assert status == 0, f"these did not end:\n{commands}\nand showed\n{shown}"
        return shown

    def close(self) -> None:
        """End the shell and everything that was started in it: they are one process group."""
        assert self._shell.stdin is not None
        self._shell.stdin.close()
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._shell.pid, number)
            self._shell.wait(10)


@contextmanager
def machine() -> Iterator[Path]:
    """An empty folder and an empty home; the path is short, as Unix sockets ask for."""
    with tempfile.TemporaryDirectory(prefix="pd-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        for part in ("home", "work"):
            (folder / part).mkdir()
        yield folder


def test_a_newcomer_gets_from_nothing_to_a_revert(repository_root: Path, envoy_binary: Path) -> None:
    del envoy_binary  # asked for so that a machine without Envoy says so
    todo = steps((repository_root / "README.md").read_text())
    assert [step.apart for step in todo] == [False, True, False, False, False]

    with machine() as folder, ExitStack() as stack:
        first = Terminal(folder, folder / "first.log")
        stack.callback(first.close)
        for number, step in enumerate(todo):
            if step.apart:
                other = Terminal(folder, folder / f"{number}.log")
                stack.callback(other.close)
                other.type(step.commands)
                continue
            shown = first.run(step.commands)
            missing = unseen(step.shows, shown)
            assert not missing, f"`{missing}` is not in\n{shown}"


def unseen(lines: tuple[str, ...], shown: str) -> str:
    """The first of the lines that is not shown after those before it; empty if all are."""
    at = 0
    for line in lines:
        pattern = r"[^\n]*?".join(re.sub(r"(?:\\ )+", r" +", re.escape(part)) for part in line.split("..."))
        found = re.compile(pattern).search(shown, at)
        if found is None:
            return line
        at = found.end()
    return ""


def test_the_reader_of_the_section_is_not_blind() -> None:
    shown = "one  a\nhello from v1\n"
    assert unseen(("one ...", "hello from v1"), shown) == ""
    assert unseen(("hello from v1", "one ..."), shown) == "one ..."
    assert unseen(("hello from v2",), shown) == "hello from v2"
