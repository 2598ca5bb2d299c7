"""The workflows here, and the one that `policyd init` writes, before the tools that know GitHub's traps."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from policyd.cli.starter import WORKFLOW, Names, starter


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """A repository with the workflow that `policyd init` writes."""
    files = starter(Names("shop", "shop.example", "web", "api"))
    file = tmp_path / WORKFLOW
    file.parent.mkdir(parents=True)
    file.write_bytes(files[WORKFLOW])
    (tmp_path / ".git").mkdir()
    return tmp_path


def test_the_auditor_finds_nothing(repository_root: Path, written: Path) -> None:
    zizmor = Path(sys.executable).parent / "zizmor"
    config = repository_root / ".github/zizmor.yml"
    command: list[str | Path] = [zizmor, "--offline", "--no-progress", "--config", config]
    for folder in (repository_root / ".github", written / ".github"):
        done = subprocess.run([*command, folder], capture_output=True, text=True, check=False, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_linter_finds_nothing(repository_root: Path, written: Path, actionlint_binary: Path) -> None:
    for folder in (repository_root, written):
        files = sorted((folder / ".github/workflows").glob("*.yaml"))
        done = subprocess.run(
            [actionlint_binary, "-shellcheck=", *files],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (bool(files), done.returncode) == (True, 0), done.stdout


def test_no_step_takes_modules_from_the_checkout(repository_root: Path, written: Path) -> None:
    """`python3 -m x` looks into the working directory first, which holds the files of a stranger."""
    for file in (repository_root / ".github/actions/review/action.yaml", written / WORKFLOW):
        for step in steps(yaml.safe_load(file.read_text())):
            for command in re.findall(r"(?m)^\s*python3?\b.*$", step.get("run", "")):
                assert command.strip().startswith("python3 -I "), command


def test_the_written_workflow_installs_before_it_checks_out_and_holds_one_right(written: Path) -> None:
    workflow = yaml.safe_load((written / WORKFLOW).read_text())
    done = [step.get("uses", step.get("run", "")) for step in steps(workflow)]
    order = [next(i for i, one in enumerate(done) if word in one) for word in ("pip install", "checkout", "review")]
    assert order == sorted(order)
    job = workflow["jobs"]["review"]
    assert workflow["permissions"] == {}
    assert job["permissions"] == {"contents": "read", "pull-requests": "write"}
    assert "pull_request_target" not in workflow[True]


def steps(document: dict[str, Any]) -> list[dict[str, Any]]:
    if "runs" in document:
        return list(document["runs"]["steps"])
    return [step for job in document["jobs"].values() for step in job["steps"]]
