"""The format as one JSON Schema, for editors: completion, descriptions, and most mistakes while typing.

Written from the models themselves (`policyd schema`). The loader stays the judge: a schema cannot see references.
"""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import models_json_schema

from policyd.intents.kinds import KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
REF = "#/$defs/{model}"


def json_schema() -> dict[str, Any]:
    """One schema for every document: `oneOf` all kinds, told apart by `apiVersion` and `kind`."""
    models = list(KINDS.values())
    by_model, shared = models_json_schema(
        [(model, "validation") for model in models], by_alias=True, ref_template=REF
    )
    return {
        "$schema": DIALECT,
        "title": "policyd intent",
        "description": "One document of a policyd repository.",
        "oneOf": [by_model[model, "validation"] for model in models],
        "$defs": shared["$defs"],
    }
