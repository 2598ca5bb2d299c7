"""A server that is started again remembers which bundle was the newest, and takes none that is older."""

from __future__ import annotations

import contextlib
import errno
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from policyd.base.errors import UsageError
from policyd.decider import memory
from policyd.decider.memory import Memory, memory_of
from tests.decider.meshes import READS, question, shop
from tests.decider.server import publish, serving, wait_for


def revision(number: int) -> str:
    return f"{number:040x}"


def test_an_older_bundle_opens_nothing_after_a_restart_until_a_person_takes_it(tmp_path: Path) -> None:
    publish(tmp_path, shop(), revision(1), serial=8)
    with serving(tmp_path) as server:
        assert server.ask("policyd/authz/allow", question())["result"] is False
        assert server.stop() == 0
    publish(tmp_path, shop(READS), revision(0), serial=7)  # the one before, which somebody kept
    with serving(tmp_path, ready=False) as server:
        wait_for(lambda: "bundle 7 is older than 8, which was in force before the restart" in server.said.read_text())
        assert "--accept-older" in server.said.read_text()
        wait_for(lambda: server.said.read_text().count("decisions at") == 2)
        assert "result" not in server.ask("policyd/authz/allow", question())
        publish(tmp_path, shop(), revision(2), serial=9)
        wait_for(lambda: server.ready(revision(2)))
        assert server.stop() == 0
    publish(tmp_path, shop(READS), revision(0), serial=7)
    with serving(tmp_path, "--accept-older") as server:
        assert server.ask("policyd/authz/allow", question())["result"] is True
        assert server.stop() == 0
    with serving(tmp_path) as server:  # what a person took is what is remembered
        assert server.ask("policyd/authz/commit", question())["result"] == revision(0)


def test_a_folder_that_cannot_be_written_is_said_once_and_keeps_nobody_from_answering(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    found = Memory(tmp_path / "newest", b"key")
    with monkeypatch.context() as patched, capture_logs() as logged:
        patched.setattr(memory, "write_over", full)
        for serial in (7, 8, 9):
            found.keep(serial)
    (event,) = logged
    assert event["error"] == "No space left on device"
    assert Memory(tmp_path / "newest", b"key").highest == 0
    found.keep(9)  # there is room again
    assert Memory(tmp_path / "newest", b"key").highest == 9


def test_the_number_of_another_key_says_nothing(tmp_path: Path) -> None:
    Memory(tmp_path / "newest", b"one").keep(7)
    assert Memory(tmp_path / "newest", b"other").highest == 0
    assert Memory(tmp_path / "newest", b"one").highest == 7


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"key": 1}', b'{"serial": "x", "key": "%k"}'])
def test_a_damaged_file_is_for_a_person(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "newest"
    Memory(path, b"key").keep(1)
    path.write_bytes(content.replace(b"%k", path.read_bytes().split(b'"')[3]))
    with pytest.raises(UsageError, match="cannot be read: it is damaged") as refused:
        Memory(path, b"key")
    assert "--accept-older" in refused.value.hint
    anew = Memory(path, b"key", accept_older=True)
    anew.keep(3)
    assert Memory(path, b"key").highest == 3


@pytest.mark.parametrize(
    ("source", "remember", "where"),
    [
        ("b/mesh.tar.gz", "", "b/mesh.tar.gz.newest"),
        ("https://x/mesh.tar.gz", "", None),
        ("https://x/mesh.tar.gz", "/var/lib/newest", "/var/lib/newest"),
    ],
)
def test_it_is_remembered_beside_a_file_or_where_it_was_said(source: str, remember: str, where: str | None) -> None:
    assert memory_of(source, remember) == (None if where is None else Path(where))


def test_nothing_is_written_where_there_is_nowhere(tmp_path: Path) -> None:
    with contextlib.chdir(tmp_path):
        Memory(None, b"key").keep(7)
    assert not list(tmp_path.iterdir())
