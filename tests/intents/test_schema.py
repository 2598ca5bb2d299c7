"""The JSON Schema says what the loader accepts, and teaches."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from policyd.intents.kinds import KINDS
from policyd.intents.schema import json_schema


def _properties(schema: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for name, definition in schema["$defs"].items():
        for field, content in definition.get("properties", {}).items():
            yield name, field, content


def test_it_is_plain_json_and_the_same_every_time() -> None:
    assert json.dumps(json_schema(), sort_keys=True) == json.dumps(json_schema(), sort_keys=True)


def test_every_kind_is_one_branch_told_apart_by_version_and_kind() -> None:
    schema = json_schema()
    branches = [schema["$defs"][branch["$ref"].removeprefix("#/$defs/")] for branch in schema["oneOf"]]
    said = [(b["properties"]["apiVersion"]["const"], b["properties"]["kind"]["const"]) for b in branches]
    assert said == list(KINDS)
    assert all({"apiVersion", "kind", "metadata", "spec"} == set(branch["required"]) for branch in branches)


def test_every_definition_is_closed_and_used() -> None:
    schema = json_schema()
    text = json.dumps(schema)
    for name, definition in schema["$defs"].items():
        assert definition["additionalProperties"] is False, name
        assert f'"#/$defs/{name}"' in text, name


def test_every_field_teaches() -> None:
    schema = json_schema()
    for name, field, content in _properties(schema):
        if "const" in content or field in {"spec", "apiVersion"}:
            continue
        referred = schema["$defs"].get(content.get("$ref", "").removeprefix("#/$defs/"), {})
        assert content.get("description") or referred.get("description"), f"{name}.{field}"


def test_it_shows_what_people_type_not_what_the_program_holds() -> None:
    schema = json_schema()
    text = json.dumps(schema)
    assert '"null"' not in text
    for name, field, content in _properties(schema):
        if content.get("type") == "string" and "default" in content:
            assert isinstance(content["default"], str), f"{name}.{field}"
    endpoint = schema["$defs"]["Version"]["properties"]["endpoints"]["items"]
    assert {"type": "string"} in endpoint["anyOf"]
    assert "from" in schema["$defs"]["AccessRuleSpec"]["properties"]
