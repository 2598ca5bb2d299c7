"""Every finding of loader and lowering is explained, and has a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from policyd.base.codes import Explanation
from policyd.intents.codes import CODES as INTENTS
from policyd.lowering.codes import CODES as LOWERING

ROOT = Path(__file__).parents[2]
EVERY = {**INTENTS, **LOWERING}


def _codes_in(folder: str, pattern: str, *, but: str = "") -> set[str]:
    texts = (path.read_text() for path in sorted((ROOT / folder).glob("*.py")) if path.name != but)
    return {code for text in texts for code in re.findall(pattern, text)}


def test_what_is_emitted_is_explained_and_nothing_else() -> None:
    emitted = _codes_in("policyd/intents", r'"(PD1[0-9]{3})"', but="codes.py")
    assert emitted == set(INTENTS)
    assert _codes_in("policyd/lowering", r'"(PD1[0-9]{3})"', but="codes.py") == set(LOWERING)


@pytest.mark.parametrize("code", sorted(EVERY))
def test_each_code_has_a_test(code: str) -> None:
    tested = _codes_in("tests/intents", r'"(PD1[0-9]{3})"') | _codes_in(
        "tests/lowering", r'"(PD1[0-9]{3})"', but="test_codes.py"
    )
    assert code in tested


@pytest.mark.parametrize("explanation", EVERY.values(), ids=lambda explanation: explanation.code)
def test_each_explanation_is_a_paragraph(explanation: Explanation) -> None:
    assert explanation.title[0].islower() or explanation.title.split()[0].isupper()
    assert len(explanation.title) <= 50
    assert explanation.text.endswith(".")
    assert len(explanation.text) >= 50
