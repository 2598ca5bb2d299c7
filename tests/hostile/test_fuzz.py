"""Bytes that nobody meant, through the loader and through lowering: findings, and never an exception.

What is drawn begins with the intent files of this repository. What it may cost is bounded by what is counted: a
place for no more than each byte, findings no more than a person reads. `--fuzz-examples 5000` draws more of them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policyd.base.diagnostics import MOST_OF_A_FILE, has_errors
from policyd.cli.compiled import compile_mesh
from policyd.cli.render_findings import finding_text
from policyd.guardrails.document import describe, subjects
from policyd.guardrails.encoding import encode
from policyd.intents import Bindings, Document, MemoryTree, load
from policyd.intents.place import Branch, Place
from policyd.lowering import lower
from tests.conftest import ROOT
from tests.hostile.test_files import BILLION, MESH

AT = datetime(2026, 11, 23, tzinfo=UTC)
REPOSITORIES = [
    {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.yaml"))}
    for folder in sorted([ROOT / "policies", *(ROOT / "tests" / "cases").glob("*/intents")])
]
FILES = [body for repository in REPOSITORIES for body in repository.values()]
SNIPPETS: tuple[bytes, ...] = (
    *(b"---\n", b"...\n", b"%TAG ! tag:x,2000:\n---\n", b"%YAML 1.1\n---\n", b"? ", b"? [a]\n: b\n", b"<<: "),
    *(b"&a ", b"*a", b"!!python/object:os.system ", b"!!binary ", b"! ", b"|\n", b">-\n", b"\t", b"\r", b"\x00"),
    *(b"\xef\xbb\xbf", b"\xff", b"\xe2\x80\xae", b"\xc2\x85", b"\xe2\x80\xa8", b"#", b": ", b"- ", b"'", b'"'),
    *(b'"\\ud800"', b'"\\x00"', b'"\\U0001F600"', b"[" * 65, b"{a: " * 65, b"{}", b"[]", b"~", b"null", b"yes"),
    *(b"0o17", b"0x1F", b"-0", b"1e999", b"9" * 50, b".nan", b"-1s", b"101%", b"65536", b"65535.0", b"1_000"),
    *(b"2026-02-30", b"999999999y", b"/**", b"/a/../b", b"{id}", b"a" * 300, BILLION.encode()),
    b"# policyd: allow PD2104 until 2027-01-31 because x\n",
)
VALUES: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["", "0", "-1s", "1h", "20%", "101%", "web", "a/b/c", "/", "/**", "*", "::1", "999y"])
    | st.lists(st.sampled_from([1, "web", {}, [], None]), max_size=3)
    | st.dictionaries(st.sampled_from(["service", "identity", "proxies", "v1", ""]), st.just("x"), max_size=2)
)


@st.composite
def mutilated(draw: st.DrawFn, body: bytes) -> bytes:
    """A file after some accidents: cut, doubled, joined with another, flipped, with odd things in it."""
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(body)))
        end = draw(st.integers(start, min(len(body), start + 400)))
        match draw(st.sampled_from(["delete", "double", "join", "flip", "insert", "replace"])):
            case "delete":
                body = body[:start] + body[end:]
            case "double":
                body = body[:end] + body[start:]
            case "join":
                body = body[:start] + draw(st.sampled_from(FILES))[start:]
            case "flip" if start < len(body):
                flipped = body[start] ^ (1 << draw(st.integers(0, 7)))
                body = body[:start] + bytes([flipped]) + body[start + 1 :]
            case "replace":
                body = body[:start] + draw(st.sampled_from(SNIPPETS)) + body[end:]
            case _:
                body = body[:start] + draw(st.sampled_from(SNIPPETS)) + body[start:]
    return body


@st.composite
def meant_otherwise(draw: st.DrawFn, body: bytes) -> bytes:
    """A file that is sound YAML still, with some values and keys that are something else."""
    documents = [each for each in yaml.safe_load_all(body) if isinstance(each, dict)]
    for _ in range(draw(st.integers(1, 3))):
        place: Any = draw(st.sampled_from(documents))
        while place:
            step = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
            inside = place[step]
            if not isinstance(inside, dict | list) or not inside or draw(st.integers(0, 3)) == 0:
                _change(draw, place, step)
                break
            place = inside
    return yaml.safe_dump_all(documents, allow_unicode=True).encode()


def _change(draw: st.DrawFn, place: Any, step: Any) -> None:
    match draw(st.sampled_from(["value", "value", "value", "delete", "key", "repeat"])):
        case "delete":
            del place[step]
        case "key" if isinstance(place, dict):
            place[draw(st.text(max_size=8) | st.sampled_from(["x", "<<", "name"]))] = place.pop(step)
        case "repeat" if isinstance(place, list):
            place.append(place[step])
        case _:
            place[step] = draw(VALUES)


@pytest.mark.parametrize("made", [mutilated, meant_otherwise])
def test_whatever_a_file_says_there_are_findings_or_a_mesh(
    made: Callable[[bytes], st.SearchStrategy[bytes]], pytestconfig: pytest.Config
) -> None:
    @settings(max_examples=pytestconfig.getoption("--fuzz-examples"), suppress_health_check=list(HealthCheck))
    @given(st.data())
    def judge_some(data: st.DataObject) -> None:
        files = dict(data.draw(st.sampled_from(REPOSITORIES)))
        path = data.draw(st.sampled_from(sorted(files)))
        judge({**files, path: data.draw(made(files[path]))})

    judge_some()


@given(st.binary(max_size=400) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_random_bytes_are_findings(body: bytes) -> None:
    judge({"mesh.yaml": MESH.encode(), "a.yaml": body})


def judge(files: dict[str, bytes]) -> None:
    """Load and lower these files, ask what the guardrails would be asked, and compile the mesh if there is one."""
    loaded = load(MemoryTree(files))
    assert loaded.parsed_files == len(files)
    for document in loaded.documents:
        assert _places(document) <= len(files[document.path]) + 1, "more places than bytes"
    assert encode(describe(loaded.documents, subjects(loaded.documents), AT))
    lowered = lower(loaded)
    assert (lowered.mesh is None) == has_errors(lowered.findings)
    if lowered.mesh is not None:
        compile_mesh(lowered.mesh, targets=("envoy", "haproxy"))
    bound = tuple(Bindings({"default": ("teams/",)}).findings(loaded.documents))
    for path in files:
        assert len([one for one in lowered.findings if one.location.path == path]) <= MOST_OF_A_FILE + 1
    for one in (*lowered.findings, *bound):
        assert one.code.startswith("PD1")
        said = finding_text(one).plain
        assert len(said) < 2_000, "nobody reads so much about one mistake"
        assert all(character.isprintable() or character in "\t\n" for character in said)
        body = files.get(one.location.path, b"")
        assert one.location.line <= body.count(b"\n") + body.count(b"\r") + 1


def _places(document: Document) -> int:
    waiting: list[Place] = [document.place]
    number = 0
    while waiting:
        number += 1
        place = waiting.pop()
        if isinstance(place, Branch):
            waiting += place.inside.values() if isinstance(place.inside, dict) else place.inside
    return number
