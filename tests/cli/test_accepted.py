"""A loss that an intent accepts by name: a warning until its date, and the rule stays as narrow as it was."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Policyd
from tests.source.conftest import Author

UNTIL = "2027-06-30"
COMMENT = "# policyd: allow PD1308 until {} because the old proxies go in spring, PAY-7\n"


@pytest.fixture
def behind_haproxy(repository_root: Path, tmp_path: Path) -> Path:
    """A mesh of HAProxy sidecars, with two rules that ask for tokens, which HAProxy cannot judge."""
    folder = Path(shutil.copytree(repository_root / "tests" / "cases" / "tokens" / "intents", tmp_path / "mesh"))
    mesh = folder / "mesh.yaml"
    mesh.write_text(
        mesh.read_text().replace(
            "  trustDomain", "  dataPlanes: [{name: sidecars, compiler: haproxy}]\n  trustDomain"
        )
    )
    return folder


def accept(folder: Path, until: str = UNTIL, *rules: str) -> None:
    """Let rules accept that they are left out; both that ask for tokens if none is named."""
    file = folder / "api.yaml"
    text = file.read_text()
    for rule in rules or ("admins", "partners"):
        text = text.replace(f"metadata: {{name: {rule}", f"{COMMENT.format(until)}metadata: {{name: {rule}")
    file.write_text(text)


def checked(policyd: Policyd, folder: Path, *more: str) -> tuple[int, list[dict[str, Any]]]:
    done = policyd("check", folder, "-v", "-o", "json", *more)
    about = re.compile("PD1308|PD200")
    return done.exit_code, [one for one in json.loads(done.stdout)["findings"] if about.match(one["code"])]


def told(findings: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return sorted((one["code"], one["severity"]) for one in findings)


def test_what_is_not_accepted_is_an_error_that_says_how(policyd: Policyd, behind_haproxy: Path) -> None:
    code, findings = checked(policyd, behind_haproxy)
    assert (code, told(findings)) == (1, [("PD1308", "error"), ("PD1308", "error")])
    assert "# policyd: allow PD1308 until" in findings[0]["hint"]


def test_what_is_accepted_is_a_warning_and_a_note(policyd: Policyd, behind_haproxy: Path) -> None:
    accept(behind_haproxy)
    code, findings = checked(policyd, behind_haproxy)
    both = [("PD1308", "warning")] * 2
    assert (code, told(findings)) == (0, [*both, *[("PD2001", "info")] * 2])
    assert f"accepted until {UNTIL}: the old proxies go in spring, PAY-7" in str(findings)
    assert "PD2001" not in policyd("check", behind_haproxy).stdout, "as every exception, only with -v"


def test_one_rule_accepts_for_itself_alone(policyd: Policyd, behind_haproxy: Path) -> None:
    accept(behind_haproxy, UNTIL, "admins")
    code, findings = checked(policyd, behind_haproxy)
    assert (code, told(findings)) == (1, [("PD1308", "error"), ("PD1308", "warning"), ("PD2001", "info")])


@pytest.mark.parametrize(("until", "said"), [("2020-01-31", "PD2005"), ("2099-01-31", "PD2006")])
def test_an_end_that_has_come_or_never_comes_accepts_nothing(
    policyd: Policyd, behind_haproxy: Path, until: str, said: str
) -> None:
    accept(behind_haproxy, until)
    code, findings = checked(policyd, behind_haproxy)
    assert code == 1
    assert {one["code"] for one in findings if one["severity"] == "error"} >= {"PD1308"}
    assert said in {one["code"] for one in findings}


def test_what_nothing_needs_is_a_finding(policyd: Policyd, behind_haproxy: Path) -> None:
    accept(behind_haproxy, UNTIL, "readers")
    code, findings = checked(policyd, behind_haproxy)
    assert (code, told(findings)) == (1, [("PD1308", "error"), ("PD1308", "error"), ("PD2002", "warning")])


def test_another_data_plane_that_is_only_tried_does_not_say_what_is_needed(
    policyd: Policyd, behind_haproxy: Path
) -> None:
    accept(behind_haproxy)
    assert checked(policyd, behind_haproxy, "--target", "envoy") == (0, [])


def test_accepting_makes_no_rule_wider(policyd: Policyd, behind_haproxy: Path, tmp_path: Path) -> None:
    policyd("compile", behind_haproxy, "--out", tmp_path / "before")
    accept(behind_haproxy)
    assert policyd("compile", behind_haproxy, "--out", tmp_path / "after").exit_code == 0
    before, after = (
        {
            file.relative_to(tmp_path / side): file.read_bytes()
            for file in (tmp_path / side).rglob("*")
            if file.is_file()
        }
        for side in ("before", "after")
    )
    assert before == after


@pytest.mark.parametrize("verb", ["diff", "review"])
def test_a_pull_request_is_told_the_same(policyd: Policyd, behind_haproxy: Path, verb: str) -> None:
    author = Author(behind_haproxy)
    author.commit("the mesh")
    where = ("HEAD", "--path", behind_haproxy)
    assert policyd(verb, *where).exit_code == 1
    accept(behind_haproxy)
    done = policyd(verb, *where)
    assert done.exit_code == 0, done.stdout
    assert f"accepted until {UNTIL}" in " ".join(done.stdout.split())
