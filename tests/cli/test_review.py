"""`policyd review`, as the action runs it: its own shell step, a real repository, and GitHub's comments.

What the shell has a part in goes through the step; all else asks the verb what it says with a runner's variables.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from policyd.base.diagnostics import Finding, Location, Severity
from policyd.cli.annotations import commands
from policyd.cli.main import build
from tests.cli.conftest import Policyd
from tests.cli.github import READS, REPOSITORY, WRITES, GitHub, listening
from tests.source.conftest import Author


@pytest.fixture
def mesh(policyd: Policyd, tmp_path: Path) -> Author:
    """A repository as `policyd init` begins it, with one commit."""
    assert policyd("init", tmp_path / "mesh", "--name", "shop", "--no-git").exit_code == 0
    author = Author(tmp_path / "mesh")
    author.commit("the first mesh")
    return author


@dataclass
class Runner:
    """A job of GitHub's for pull request 7: what the runner sets, and what the step leaves behind."""

    step: str
    folder: Path
    workspace: Path
    github: GitHub
    address: str

    def run(self, token: str = WRITES, *, event: str = "pull_request") -> Result:
        """The verb as the step starts it, in this process: most of a process's second goes into imports."""
        variables: dict[str, str | None] = dict.fromkeys(os.environ)
        with contextlib.chdir(self.workspace):
            return CliRunner(env=variables | self._environment(token, event)).invoke(
                build(), ["review", "--path", "."]
            )

    def run_step(self, **inputs: str) -> subprocess.CompletedProcess[str]:
        """The shell of the action's own step, and the command that it starts."""
        given = {"path": ".", "base": "", "settings": "", "strict": "false", **inputs}
        said = {
            "INTENTS": given["path"],
            "BASE": given["base"],
            "SETTINGS": given["settings"],
            "STRICT": given["strict"],
        }
        return subprocess.run(
            ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", self.step],
            cwd=self.workspace, env=self._environment(WRITES, "pull_request") | said,
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    def _environment(self, token: str, event: str) -> dict[str, str]:
        for name in ("summary", "outputs"):
            (self.folder / name).write_text("")
        about = {"pull_request": {"number": 7}} if event == "pull_request" else {"ref": "refs/heads/main"}
        (self.folder / "event.json").write_text(json.dumps(about))
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.address,
            "GITHUB_BASE_REF": "main" if event == "pull_request" else "",
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
            "GITHUB_OUTPUT": str(self.folder / "outputs"),
            "GITHUB_REPOSITORY": REPOSITORY,
            "GITHUB_STEP_SUMMARY": str(self.folder / "summary"),
            "GITHUB_TOKEN": token,
        }

    def summary(self) -> str:
        return (self.folder / "summary").read_text()

    def outputs(self) -> dict[str, str]:
        lines = (self.folder / "outputs").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)


@pytest.fixture
def runner(repository_root: Path, mesh: Author, tmp_path: Path) -> Iterator[Runner]:
    action = yaml.safe_load((repository_root / ".github/actions/review/action.yaml").read_text())
    step = next(step["run"] for step in action["runs"]["steps"] if step.get("id") == "review")
    # What the step before has installed.
    bin_folder = tmp_path / "runner/policyd/bin"
    bin_folder.mkdir(parents=True)
    (bin_folder / "policyd").symlink_to(Path(sys.executable).parent / "policyd")
    github = GitHub()
    with listening(github) as address:
        yield Runner(step, tmp_path / "runner", mesh.folder, github, address)


def release(mesh: Author) -> None:
    edit(mesh, "services/api.yaml", "version: v1 ", "version: v2 ")
    mesh.commit("api v2")


def edit(mesh: Author, path: str, old: str, new: str) -> None:
    file = mesh.folder / path
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_a_change_is_told_in_a_comment_and_in_the_summary(runner: Runner, mesh: Author) -> None:
    release(mesh)
    done = runner.run_step()
    assert done.returncode == 0, done.stderr
    assert runner.outputs() == {"errors": "0", "warnings": "0", "changes": "1"}
    (comment,) = runner.github.comments
    assert comment["body"].startswith("<!-- policyd review -->\n### policyd: 1 change from main to this change")
    assert "- api: v1 -> v2 — `services/api.yaml:" in comment["body"]
    assert comment["body"].endswith(runner.summary().rstrip("\n")) or runner.summary().strip() in comment["body"]


def test_one_comment_is_kept_up_to_date_among_many(runner: Runner, mesh: Author) -> None:
    release(mesh)
    for number in range(130):
        runner.github.add(f"comment {number}", "User")
    runner.run()
    mine = runner.github.comments[-1]
    runner.github.add("one more", "User")
    edit(mesh, "services/api.yaml", "steps: [10, 50, 100]", "steps: [5, 50, 100]")
    mesh.commit("slower")
    runner.run()
    assert len(runner.github.comments) == 132
    assert "canary of api: changed" in mine["body"]
    mesh.commit("nothing at all")
    runner.run()
    assert "no changes from main" in mine["body"]


def test_a_persons_comment_is_never_written_over(runner: Runner, mesh: Author) -> None:
    release(mesh)
    runner.github.add("<!-- policyd review -->\nlooks good to me", "User")
    runner.run()
    theirs, ours = runner.github.comments
    assert theirs["body"].endswith("looks good to me")
    assert "1 change" in ours["body"]


def test_nothing_to_say_is_not_said(runner: Runner, mesh: Author) -> None:
    mesh.commit("a commit without intents")
    assert runner.run().exit_code == 0
    assert runner.github.comments == []
    assert "no changes from main" in runner.summary()


def test_errors_stand_on_their_lines_and_fail_the_job(runner: Runner, mesh: Author) -> None:
    edit(mesh, "services/api.yaml", "from: [web]", "from: [wbe]")
    mesh.commit("a slip")
    done = runner.run()
    assert done.exit_code == 1
    first = done.stdout.splitlines()[0]
    assert first.startswith("::error title=PD1203,file=services/api.yaml,line=")
    assert "::there is no service `wbe`%0Ahint: did you mean `web`?" in first
    assert runner.outputs()["errors"] == "1"
    assert "this commit would be refused" in runner.github.comments[0]["body"]


def test_a_fork_gets_the_summary_alone(runner: Runner, mesh: Author) -> None:
    release(mesh)
    done = runner.run(READS)
    assert (done.exit_code, runner.github.comments) == (0, [])
    assert "::notice title=policyd::GitHub answers 403 to the comment" in done.stdout
    assert "api: v1 -> v2" in runner.summary()


@pytest.mark.parametrize("what", ["broken", "no token"])
def test_a_comment_that_cannot_be_written_is_no_verdict(what: str, runner: Runner, mesh: Author) -> None:
    release(mesh)
    runner.github.broken = what == "broken"
    done = runner.run("" if what == "no token" else WRITES)
    assert (done.exit_code, runner.github.comments) == (0, [])
    assert "::notice title=policyd::no comment" in done.stdout


def test_a_push_has_a_summary_and_no_comment(runner: Runner, mesh: Author) -> None:
    release(mesh)
    assert runner.run(event="push").exit_code == 0
    assert runner.github.calls == []
    assert "1 change from the commit before" in runner.summary()


def test_the_first_commit_of_all_is_checked(runner: Runner) -> None:
    assert runner.run(event="push").exit_code == 0
    assert "there is nothing to compare with" in runner.summary()


def test_too_shallow_a_clone_is_no_empty_difference(runner: Runner, mesh: Author, tmp_path: Path) -> None:
    release(mesh)
    mesh.git("clone", "--quiet", "--depth", "1", f"file://{mesh.folder}", str(tmp_path / "shallow"))
    runner.workspace = tmp_path / "shallow"
    done = runner.run_step()
    assert done.returncode == 2
    assert "fetch-depth: 2" in done.stderr
    assert runner.github.comments == []


def test_a_broken_base_can_be_mended(runner: Runner, mesh: Author) -> None:
    edit(mesh, "services/api.yaml", "from: [web]", "from: [wbe]")
    mesh.commit("broken")
    mesh.git("revert", "--no-edit", "HEAD")
    done = runner.run()
    assert done.exit_code == 0, done.stdout
    assert "main has errors" in runner.summary()


RULE = """\
# METADATA
# title: No second version
# custom:
#   severity: error
package team.versions

deny := {finding |
	some service in input.documents.Service
	service.spec.version == "v2"
	finding := {"msg": "v2 is not for us", "document": service.id, "path": ["spec", "version"]}
}
"""


def test_the_rules_of_the_base_judge_too(
    runner: Runner, mesh: Author, opa_binary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{opa_binary.parent}:{os.environ['PATH']}")
    mesh.write("rego/team/versions/rule.rego", RULE)
    mesh.commit("a rule")
    mesh.git("rm", "--quiet", "-r", "rego")
    release(mesh)
    done = runner.run()
    assert done.exit_code == 1, "its own rules alone would let it pass"
    assert "v2 is not for us" in done.stdout


def test_inputs_are_words_and_never_code(runner: Runner, mesh: Author, tmp_path: Path) -> None:
    release(mesh)
    for inputs in ({"base": "$(touch hacked)"}, {"path": '"; touch hacked; "'}, {"strict": "x; touch hacked"}):
        runner.run_step(**inputs)
    assert not list(tmp_path.rglob("hacked"))


def test_strangers_words_are_neither_commands_nor_markdown(runner: Runner, mesh: Author) -> None:
    mesh.write(
        "services/x`![](http:evil)`.yaml",
        'apiVersion: policyd.dev/v1alpha1\nkind: "x\\n::error::forged\\n::add-mask::a"\nspec: {}\n',
    )
    mesh.commit("hello")
    done = runner.run()
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert r"\n::error::forged\n" in lines[0]
    assert not any(line.startswith(("::error::", "::add-mask")) for line in lines)
    mesh.git("revert", "--no-edit", "HEAD")
    edit(mesh, "services/api.yaml", "version: v1 ", "version: v2 ")
    mesh.git("mv", "services/api.yaml", "services/`![](http:evil)`.yaml")
    mesh.commit("a name of a file")
    runner.run()
    assert "api: v1 -> v2 — `services/'![](http:evil)'.yaml:5:18`" in runner.github.comments[0]["body"]


def test_an_annotation_escapes_what_the_runner_obeys() -> None:
    finding = Finding("PD1", Severity.WARNING, "50%\n::error::x", Location("a,b:c.yaml", 3, 7), width=4)
    (line,) = commands([finding])
    assert line == "::warning title=PD1,file=a%2Cb%3Ac.yaml,line=3,col=7,endColumn=11::50%25%0A::error::x"


def test_errors_come_first_since_few_are_shown() -> None:
    place = Location("a.yaml", 1, 1)
    findings = [Finding("PD1", Severity.WARNING, "w", place), Finding("PD2", Severity.ERROR, "e", place)]
    assert [line.split(" ")[0] for line in commands(findings)] == ["::error", "::warning"]


def test_on_a_terminal_it_is_check_and_diff(policyd: Policyd, mesh: Author, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    release(mesh)
    done = policyd("review", "HEAD~1", "--path", mesh.folder)
    assert done.exit_code == 0
    assert "• api: v1 -> v2" in done.stdout
    assert policyd("review", "nowhere", "--path", mesh.folder).exit_code == 2


def test_check_writes_annotations_too(policyd: Policyd, mesh: Author) -> None:
    edit(mesh, "services/api.yaml", "from: [web]", "from: [wbe]")
    done = policyd("check", mesh.folder, "-o", "github")
    assert done.exit_code == 1
    assert done.stdout.startswith(f"::error title=PD1203,file={mesh.folder}/services/api.yaml,line=")
    assert done.stdout.endswith("policyd: 1 error\n")
