"""The file of verdicts: believed only where it is whole and ours, and never a reason for another answer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.cli import remembered
from policyd.guardrails.memory import Verdict
from policyd.guardrails.verdict import Report
from tests.cli.conftest import Policyd

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
REPORTS = st.builds(
    Report,
    TEXTS,
    st.booleans(),
    TEXTS,
    st.just(0),
    st.lists(TEXTS | st.integers(0, 99), max_size=3).map(tuple),
    TEXTS,
)
VERDICTS = st.dictionaries(TEXTS, st.lists(REPORTS, max_size=3).map(tuple), max_size=5)
SOME: dict[str, Verdict] = {"a": (), "b": (Report("policyd.guardrails.x", warns=True, message="no", document=0),)}
SERVICE = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: NAME, owner: team, labels: {tier: batch}}
spec: {port: 8080, versions: {v1: {endpoints: [ADDRESS]}}, version: v1}
"""
MESH = "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: m, owner: a}\nspec: {trustDomain: m.example}\n"


@given(VERDICTS)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, verdicts: dict[str, Verdict]) -> None:
    path = tmp_path_factory.mktemp("cache") / "deep" / "verdicts.json"
    remembered.write(path, verdicts)
    assert remembered.read(path) == verdicts
    assert [file.name for file in path.parent.iterdir()] == ["verdicts.json"]


@given(st.data())
def test_a_damaged_file_is_no_file(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("cache") / "verdicts.json"
    remembered.write(path, SOME)
    body = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(body) - 1))
        body[place] ^= data.draw(st.integers(1, 255))
    else:
        del body[data.draw(st.integers(0, len(body) - 1)) :]
    path.write_bytes(body)
    assert remembered.read(path) == {}


def test_a_file_that_others_can_write_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "verdicts.json"
    remembered.write(path, SOME)
    path.chmod(0o620)
    assert remembered.read(path) == {}
    path.chmod(0o600)
    assert remembered.read(path) == SOME
    other = tmp_path / "link.json"
    other.symlink_to(path)
    assert remembered.read(other) == {}
    assert remembered.read(tmp_path / "missing.json") == {}
    assert remembered.read(tmp_path) == {}


@pytest.mark.parametrize("content", ["{}x", "[1]", '{"a": 1}', '{"a": [["p", 1, "m", [], ""]]}', '{"a": [["p"]]}'])
def test_a_whole_file_of_another_shape_is_not_believed(tmp_path: Path, content: str) -> None:
    path = tmp_path / "verdicts.json"
    body = content.encode()
    path.write_bytes(hashlib.blake2b(body).digest() + body)
    assert remembered.read(path) == {}


def test_the_file_is_bounded_by_what_was_used_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "KEPT", 2)
    remembered.write(tmp_path / "v.json", {"old": (), "a": (), "b": ()})
    assert list(remembered.read(tmp_path / "v.json")) == ["a", "b"]


def test_each_engine_has_a_file_of_its_own(tmp_path: Path) -> None:
    here = {"XDG_CACHE_HOME": str(tmp_path)}
    assert remembered.file_for("opa a 1 2", here) != remembered.file_for("opa a 1 3", here)
    assert remembered.file_for("opa a 1 2", here).is_relative_to(tmp_path)
    assert not remembered.file_for("x", {"XDG_CACHE_HOME": "relative"}).is_relative_to(Path.cwd() / "relative")


def write(folder: Path, name: str, number: int, more: str = "") -> None:
    text = SERVICE.replace("NAME", name).replace("ADDRESS", f"10.0.0.{number}")
    (folder / f"{name}.yaml").write_text(text + more)


def test_a_second_check_asks_only_about_what_changed(
    policyd: Policyd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    intents = tmp_path / "intents"
    intents.mkdir()
    (intents / "mesh.yaml").write_text(MESH)
    for number, name in enumerate(("a", "b", "c"), start=1):
        write(intents, name, number)

    def checked(*options: str) -> tuple[int, list[dict[str, object]]]:
        said = json.loads(policyd("check", intents, "-o", "json", "-v", *options).stdout)
        return said["asked"], said["findings"]

    def fully() -> list[dict[str, object]]:
        return checked("--no-cache")[1]

    assert checked("--no-cache")[0] == 4
    assert not (tmp_path / "cache").exists()
    assert checked() == (4, fully())
    assert checked() == (0, fully())
    write(intents, "b", 2, "  # the same, said again\n")
    assert checked() == (0, fully())
    write(intents, "b", 9)
    assert checked() == (1, fully())
    (intents / "a.yaml").write_text((intents / "a.yaml").read_text().replace("owner: team, ", ""))
    asked, findings = checked()
    assert asked == 1
    assert "PD2201" in {finding["code"] for finding in findings}
    assert findings == fully()
    for file in (tmp_path / "cache").rglob("*.json"):
        file.write_bytes(b"{}")
    assert checked() == (4, findings)


def test_a_cache_under_a_file_costs_only_time(
    policyd: Policyd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "mesh.yaml").write_text(MESH)
    assert policyd("check", tmp_path).exit_code == 0
