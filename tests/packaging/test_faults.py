"""The table of faults promises what tests show: every proof that it names is there."""

from __future__ import annotations

import re
from pathlib import Path


def test_every_row_of_the_fault_table_names_tests_that_exist(repository_root: Path) -> None:
    page = (repository_root / ".github" / "FAULTS.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| ") and not line.startswith("| fault ")]
    assert len(rows) > 20
    known = {
        name
        for path in (repository_root / "tests").rglob("test_*.py")
        for name in re.findall(r"^(?:async )?def (test_\w+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    for row in rows:
        proofs = re.findall(r"`(test_\w+)`", row.rsplit("|", 2)[1])
        assert proofs, row
        assert set(proofs) <= known, row
