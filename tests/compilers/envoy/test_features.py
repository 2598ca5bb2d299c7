"""The table of features is true: every field of a service has its row, and every Envoy field in it is compiled."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from policyd.intents.schema import json_schema

_CODE = re.compile(r"`([^`]+)`")
_FIELD = re.compile(r"[a-zA-Z]+(?:\.[a-zA-Z]+)*")
_ENVOY = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)+")
_VALUE = re.compile(r"`([a-z0-9_]+)` ([0-9][0-9,]*|true)( ms| s)?\b")
NOT_COMPILED = "Not compiled, "
ABSENT_IF_FALSE = re.compile(r"`([a-z0-9_]+)` false")
"""A plain boolean that is false is not written out."""


@pytest.fixture(scope="module")
def readme(repository_root: Path) -> str:
    return (repository_root / "compilers" / "policyd_compilers" / "envoy" / "README.md").read_text()


@pytest.fixture(scope="module")
def compiled(repository_root: Path) -> str:
    """What the compiler writes for every scenario; `tests/cases` holds it to that, and real Envoys take it."""
    found = sorted((repository_root / "tests" / "cases").glob("*/out/envoy/*/*.yaml"))
    return "\n".join(path.read_text() for path in found)


def rows(readme: str) -> list[list[str]]:
    """The cells of every row that says what becomes of a value."""
    tables = readme.partition("## Access")[2].partition("## The access log")[0]
    return [
        [cell.strip() for cell in line.strip("|").split(" | ")] for line in tables.splitlines() if line[:1] == "|"
    ]


def spelled_out(text: str) -> Iterator[str]:
    """The fields that a text names, where `.max` after `ringSize.min` is `ringSize.max`."""
    parent = ""
    for word in _CODE.findall(text):
        full = f"{parent}{word}" if word.startswith(".") else word
        if _FIELD.fullmatch(full):
            parent = full.rpartition(".")[0]
            yield full


def fields(schema: dict[str, Any], part: dict[str, Any], path: str = "") -> Iterator[str]:
    """The fields that hold values, however deep; names that people choose are no step of the path."""
    part = schema["$defs"][part["$ref"].removeprefix("#/$defs/")] if "$ref" in part else part
    chosen = [*part.get("patternProperties", {}).values(), part.get("additionalProperties")]
    inner = [part.get("items"), *chosen, *part.get("anyOf", ())]
    deeper = [each for each in inner if isinstance(each, dict) and not _plain(each)]
    if "properties" not in part and not deeper:
        yield path
    for name, content in part.get("properties", {}).items():
        yield from fields(schema, content, f"{path}.{name}" if path else name)
    for each in deeper:
        yield from fields(schema, each, path)
    if part.get("properties") == {}:
        yield path


def _plain(part: dict[str, Any]) -> bool:
    return (
        "$ref" not in part
        and not {"items", "properties", "additionalProperties", "patternProperties", "anyOf"} & part.keys()
    )


def of_a_service() -> list[str]:
    schema = json_schema()
    found = fields(schema, schema["$defs"]["ServiceSpec"])
    return sorted({path.removeprefix("resilience.") for path in found})


def of_services(readme: str) -> list[str]:
    """What becomes of the fields of services; other rows are about meshes and rules."""
    known = set(of_a_service())
    return [row[1] for row in rows(readme) if known.intersection(spelled_out(row[0]))]


def test_every_field_of_a_service_has_its_row_or_is_not_compiled(readme: str) -> None:
    told = {field for row in rows(readme) for field in spelled_out(row[0])}
    (left_out,) = (part for part in readme.split("\n\n") if part.startswith(NOT_COMPILED))
    told |= set(spelled_out(left_out))
    assert [field for field in of_a_service() if field not in told] == [], "each of them needs a row in the table"


def test_every_row_is_about_a_field_that_there_is(readme: str) -> None:
    known = of_a_service()
    prefixes = {field.partition(".")[0] for field in known if "." in field}
    named = {field for row in rows(readme) for field in spelled_out(row[0]) if field.partition(".")[0] in prefixes}
    gone = [field for field in named if not any(f"{each}.".startswith(f"{field}.") for each in known)]
    assert sorted(gone) == []


def test_every_envoy_field_in_the_table_is_compiled(readme: str, compiled: str) -> None:
    written = set(re.findall(r"\b[a-z0-9]+(?:_[a-z0-9]+)+\b", compiled))
    for cell in of_services(readme):
        named = {word for word in _CODE.findall(cell) if _ENVOY.fullmatch(word)}
        assert named - set(ABSENT_IF_FALSE.findall(cell)) <= written, cell


def test_every_number_in_the_table_is_the_one_that_is_compiled(readme: str, compiled: str) -> None:
    found = [match for cell in of_services(readme) for match in _VALUE.findall(cell)]
    assert len(found) >= 8
    for field, written, unit in found:
        number = written.replace(",", "")
        value = {" ms": f"{int(number) / 1_000:.3f}s", " s": f"{number}s"}.get(unit, number)
        assert re.search(rf"{field}:( |\n +value: )'?{value}'?(\.0)?$", compiled, re.MULTILINE), (field, value)
