"""The format as one JSON Schema, for editors: completion, descriptions, and most mistakes while typing.

Written from the models themselves (`policyd schema`). The loader stays the judge: a schema cannot see references.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonRef, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from policyd.intents.kinds import KINDS
from policyd.intents.taught import taught

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_PYTHON: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
}


class _EditorSchema(GenerateJsonSchema):
    """What a person types, not what the program holds: no `null`, no titles, no defaults in other units."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        """A field that may be left out; an empty value is a finding."""
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        """Keep a default only if it reads as it would be written: `30d` is held as a number."""
        inner = super().default_schema(schema)
        if "default" in inner and not isinstance(inner["default"], _PYTHON.get(str(inner.get("type")), ())):
            del inner["default"]
        return inner

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        """Say of each field what the docstring below it says."""
        inner = super().model_schema(schema)
        model: type[BaseModel] = schema["cls"]
        for name, text in taught(model).items():
            field = inner["properties"][model.model_fields[name].alias or name]
            if text != self._said_by_what_it_holds(field):
                field.setdefault("description", text)
        return inner

    def _said_by_what_it_holds(self, field: JsonSchemaValue) -> object:
        referred = self.get_schema_from_definitions(JsonRef(field["$ref"])) if "$ref" in field else None
        return (referred or {}).get("description")

    def field_title_should_be_set(self, schema: Any) -> bool:
        """A title would repeat the field's name."""
        return False


def json_schema() -> dict[str, Any]:
    """One schema for every document: `oneOf` all kinds, told apart by `apiVersion` and `kind`."""
    models = list(KINDS.values())
    by_model, shared = models_json_schema(
        [(model, "validation") for model in models], by_alias=True, schema_generator=_EditorSchema
    )
    definitions: dict[str, Any] = shared["$defs"]
    return {
        "$schema": DIALECT,
        "title": "policyd intent",
        "description": "One document of a policyd repository.",
        "oneOf": [by_model[model, "validation"] for model in models],
        "$defs": {name: _untitled(part) for name, part in definitions.items() if _is_used(name, shared, by_model)},
    }


def _is_used(name: str, *schemas: Mapping[Any, Any]) -> bool:
    """Whether anything refers to a definition (those of fields that are read from text are left behind)."""
    return any(f"'#/$defs/{name}'" in str(schema) for schema in schemas)


def _untitled(definition: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in definition.items() if key != "title"}
