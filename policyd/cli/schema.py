"""`policyd schema`: the JSON Schema of all kinds, for editors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from policyd.base.errors import UsageError
from policyd.cli.output import say_json
from policyd.intents.schema import json_schema


def schema(
    out: Annotated[Path | None, typer.Option("--out", help="Write to this file instead of standard output.")] = None,
) -> None:
    """Write the JSON Schema of the intents, for your editor.

    In VS Code: "yaml.schemas": {"policyd.schema.json": "policies/**/*.yaml"}
    """
    made = json_schema()
    if out is None:
        say_json(made)
        return
    try:
        out.write_bytes(orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    except OSError as error:
        raise UsageError(f"`{out}` cannot be written: {error.strerror}") from error
