"""What a field means is read from below it, when somebody asks."""

from __future__ import annotations

import subprocess
import sys

from policyd.intents.kind import Intent, Metadata, Part
from policyd.intents.taught import taught


class Whole(Part):
    said: str
    """What is said,
    in two lines."""
    unsaid: int
    also: str = "x"
    """And why."""


class Narrow(Whole):
    said: str = "y"
    more: str = ""
    """Its own."""


def test_a_field_has_the_words_below_it() -> None:
    assert taught(Whole) == {"said": "What is said,\nin two lines.", "also": "And why."}


def test_a_field_that_is_narrowed_has_the_words_of_its_own_class() -> None:
    assert taught(Narrow) == {"also": "And why.", "more": "Its own."}


def test_words_come_from_the_module_that_declares_the_field() -> None:
    assert taught(Intent)["metadata"] == "What the intent is called and who answers for it."
    assert set(taught(Metadata)) == set(Metadata.model_fields)


def test_the_format_is_loaded_without_parsing_its_own_source() -> None:
    script = (
        "import ast, sys\n"
        "parsed = []\n"
        "ast.parse, kept = lambda *given, **named: parsed.append(given) or kept(*given, **named), ast.parse\n"
        "import policyd.intents\n"
        "sys.exit(len(parsed))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
