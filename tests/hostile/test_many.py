"""Thousands of mistakes: nobody is shown more than a person reads, and no error hides behind warnings or numbers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.base.diagnostics import (
    MOST_OF_A_FILE,
    MOST_OF_A_TREE,
    Finding,
    Location,
    Severity,
    has_errors,
    in_order,
)
from policyd.intents import MemoryTree, ParseCache, load
from policyd.lowering import lower
from tests.cli.conftest import Policyd, policyd
from tests.hostile.test_files import MESH, RULE, SERVICE

__all__ = ["policyd"]

UNKNOWN = SERVICE + "".join(f"  x{number}: 1\n" for number in range(3_000))


def told(findings: tuple[Finding, ...]) -> Counter[str]:
    return Counter(one.code for one in findings)


def test_no_file_has_more_findings_than_a_person_reads() -> None:
    found = load(MemoryTree({"a.yaml": UNKNOWN})).findings
    assert told(found) == {"PD1103": 100, "PD1014": 1}
    assert (str(found[-1].location), found[-1].message) == ("a.yaml:108:3", "2,900 more findings in this file")


def test_whoever_finds_them() -> None:
    """Mistakes that only the whole mesh shows are counted with those of the file's own form."""
    callers = ", ".join(f"nobody{number}" for number in range(5_000))
    broken = UNKNOWN.replace("name: web", "name: broken")
    files = {"mesh.yaml": MESH, "web.yaml": SERVICE, "bad.yaml": RULE.replace("[web]", f"[{callers}]")}
    found = lower(load(MemoryTree(files))).findings
    assert told(found) == {"PD1203": 100, "PD1014": 1}
    assert found[-1].message == "4,900 more findings in this file"
    files["bad.yaml"] += f"---\n{broken}"
    found = lower(load(MemoryTree(files))).findings
    assert told(found) == {"PD1203": 100, "PD1014": 1}
    assert found[-1].message == "7,900 more findings in this file"


def test_a_tree_of_nothing_but_errors_is_not_read_to_its_end() -> None:
    cache = ParseCache()
    tree = MemoryTree({"mesh.yaml": MESH, **{f"a{number:03}.yaml": UNKNOWN for number in range(500)}})
    loaded = load(tree, cache)
    assert loaded.parsed_files < 30
    assert not loaded.whole
    assert len(loaded.findings) == MOST_OF_A_TREE + 1
    assert "and what comes after it, 481 files, were not read" in loaded.findings[0].message
    lowered = lower(loaded)
    assert (lowered.mesh, lowered.findings) == (None, loaded.findings), "nothing is said of what was not read"
    assert load(tree, cache).findings == loaded.findings


def test_warnings_refuse_nothing_and_do_not_hide_errors(policyd: Policyd, tmp_path: Path) -> None:
    (tmp_path / "mesh.yaml").write_text(MESH)
    away = ", ".join(f"{{namespace: away{number}}}" for number in range(300))
    (tmp_path / "web.yaml").write_text(f"{SERVICE}---\n{RULE.replace('[web]', f'[{away}]')}")
    done = policyd("check", tmp_path, "--no-cache")
    assert done.exit_code == 0, done.output
    assert "more findings in this file" in done.stdout
    assert policyd("check", tmp_path, "--no-cache", "--strict").exit_code == 1
    with (tmp_path / "web.yaml").open("a") as file:
        file.write(f"---\n{RULE.replace('name: r', 'name: late').replace('[web]', '[nobody]')}")
    for verb in (("check", "--no-cache"), ("compile",)):
        done = policyd(verb[0], tmp_path, *verb[1:])
        assert done.exit_code != 0
        assert "PD1203" in done.output


def finding(number: int, severity: Severity, path: str) -> Finding:
    return Finding("PD1999", severity, f"{number}", Location(path, number + 1, 1))


some = st.lists(
    st.builds(finding, st.integers(0, 900), st.sampled_from(Severity), st.sampled_from(["a.yaml", "b.yaml", "."])),
    max_size=30,
)


@given(st.lists(some, max_size=4), st.sampled_from(Severity), st.integers(0, 400))
def test_stages_may_put_them_together_in_any_order(
    stages: list[list[Finding]], severity: Severity, many: int
) -> None:
    stages = [*stages, [finding(1_000 + number, severity, "a.yaml") for number in range(many)]]
    whole = in_order(one for stage in stages for one in stage)
    by_stage: tuple[Finding, ...] = ()
    for number, stage in enumerate(stages):
        # Each stage says something of its own: what two say alike would be counted twice where it was cut before.
        named = [replace(one, message=f"{number}: {one.message}") for one in stage]
        by_stage = in_order((*by_stage, *in_order(named)))
    everything = {(n, one) for n, stage in enumerate(stages) for one in stage}
    assert sum(one.more or 1 for one in by_stage) == len(everything)
    assert has_errors(whole) == has_errors(by_stage) == any(one.is_error for _, one in everything)
    for path in ("a.yaml", "b.yaml", "."):
        here = [one for one in by_stage if one.location.path == path]
        assert len(here) <= MOST_OF_A_FILE + 1
        shown = min((one.severity for one in here if not one.more), default=Severity.INFO)
        assert all(one.severity <= shown for one in here if one.more), "what is worse is shown first"


@pytest.mark.parametrize("late", [Severity.ERROR, Severity.WARNING])
def test_of_a_whole_tree_the_worst_are_kept(late: Severity) -> None:
    warnings = [finding(line, Severity.WARNING, f"a{file}.yaml") for file in range(100) for line in range(90)]
    found = in_order([*warnings, finding(7, late, "z.yaml")])
    assert len(found) == MOST_OF_A_TREE + 1
    assert (str(found[0].location), found[0].more) == (".", 9_001 - MOST_OF_A_TREE)
    assert has_errors(found) == (late is Severity.ERROR)
    assert (found[-1].location.path == "z.yaml") == (late is Severity.ERROR)
    assert in_order(found) == found
