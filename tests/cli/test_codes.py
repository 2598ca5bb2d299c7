"""A code that a person can be shown is one that `policyd explain` knows."""

from __future__ import annotations

import re
from pathlib import Path

from policyd.cli.codes import all_codes


def test_every_code_in_the_sources_is_explained(repository_root: Path) -> None:
    sources = [
        path for folder in ("policyd", "compilers") for path in sorted((repository_root / folder).rglob("*.py"))
    ]
    used = {code for path in sources for code in re.findall(r'"(PD[1-9]\d{3})"', path.read_text(encoding="utf-8"))}
    assert len(used) > 50
    assert used <= all_codes().keys()
