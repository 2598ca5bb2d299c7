"""The shipped rules themselves: tested by OPA, documented, each found by its test."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from policyd.guardrails.bundle import ENTRY_QUERY, shipped_bundle, shipped_folder
from policyd.guardrails.codes import CODES, explanations
from policyd.guardrails.metadata import RuleInfo, rules

HEAD = "| code | rule | severity | exception |"


def _rules() -> list[RuleInfo]:
    return list(rules(shipped_bundle()).values())


def _opa(binary: Path, *arguments: str) -> str:
    done = subprocess.run([binary, *arguments], capture_output=True, text=True, check=False, env={})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_opa_test(opa_binary: Path, repository_root: Path) -> None:
    assert "PASS" in _opa(opa_binary, "test", str(repository_root / "rego"))


def test_the_reference_of_decisions_is_tested_to_the_last_line(opa_binary: Path, repository_root: Path) -> None:
    folder = repository_root / "rego" / "policyd" / "authz"
    measured = json.loads(_opa(opa_binary, "test", "--coverage", "--format=json", str(folder)))
    assert {name: file["not_covered"] for name, file in measured["files"].items() if "not_covered" in file} == {}
    assert len(measured["files"]) == len(list(folder.glob("*.rego")))


def test_opa_check_strict(opa_binary: Path, repository_root: Path) -> None:
    _opa(opa_binary, "check", "--strict", str(repository_root / "rego"))


def test_formatted(opa_binary: Path, repository_root: Path) -> None:
    assert _opa(opa_binary, "fmt", "--list", str(repository_root / "rego")) == ""


def test_every_rule_says_what_it_is() -> None:
    assert len(_rules()) >= 12
    for info in _rules():
        assert info.title, info.package
        assert info.description, info.package
        assert info.code.startswith("PD2"), info.package


def test_codes_are_unique_and_explained() -> None:
    explained = explanations(shipped_bundle())
    assert {info.code for info in _rules()} <= set(explained)
    assert set(CODES) <= set(explained)


@pytest.mark.parametrize("info", _rules(), ids=lambda info: info.code)
def test_folder_is_package_and_each_rule_has_its_test(info: RuleInfo) -> None:
    folder = shipped_folder().joinpath(*info.package.split("."))
    assert (folder / "rule.rego").is_file()
    text = (folder / "rule_test.rego").read_text(encoding="utf-8")
    assert f"package {info.package}_test" in text
    assert "test_finds if" in text
    assert "test_leaves_alone if" in text


def test_the_table_in_the_readme_is_the_metadata() -> None:
    lines = (shipped_folder() / "README.md").read_text(encoding="utf-8").splitlines()
    start = lines.index(HEAD) + 2
    assert lines[start : lines.index("", start)] == [
        f"| {info.code} | {info.title} | {info.weight.value} | {'yes' if info.exemptible else 'no'} |"
        for info in _rules()
    ]


def test_one_query_judges_a_commit() -> None:
    assert shipped_bundle().entry.package in ENTRY_QUERY


def test_tests_are_not_shipped_to_engines() -> None:
    assert not [module.path for module in shipped_bundle().modules if "_test" in module.path]


def test_the_reference_of_decisions_judges_no_commit() -> None:
    assert {module.path.split("/")[1] for module in shipped_bundle().modules} == {"guardrails", "lib"}
