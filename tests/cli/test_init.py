"""`policyd init`: what it writes passes its own checks, and nothing that was there is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from policyd.daemon.settings import read_settings
from tests.cli.conftest import Policyd
from tests.source.conftest import Author


def written(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


@pytest.mark.parametrize(
    "names", [(), ("--name", "shop", "--trust-domain", "shop.example", "--caller", "front", "--callee", "back")]
)
def test_what_it_begins_passes_every_check(names: tuple[str, ...], policyd: Policyd, tmp_path: Path) -> None:
    folder = tmp_path / "My Mesh 2"
    assert policyd("init", folder, *names).exit_code == 0
    done = policyd("check", folder, "--strict", "-o", "json")
    answer = json.loads(done.stdout)
    assert (done.exit_code, answer["findings"], answer["documents"]) == (0, [], 7)
    caller, callee = ("front", "back") if names else ("web", "api")
    allowed = policyd("explain", "--from", caller, "--to", callee, "GET /hello", folder)
    assert allowed.exit_code == 0, allowed.output
    assert policyd("explain", "--from", callee, "--to", caller, "GET /", folder).exit_code == 1
    assert not any(b"__" in body for path, body in written(folder).items() if path != ".policyd/schema.json")


def test_a_repository_is_begun_and_nothing_is_committed(policyd: Policyd, tmp_path: Path) -> None:
    done = policyd("init", tmp_path / "shop")
    assert "began  a Git repository, branch `main`" in done.stdout
    assert (tmp_path / "shop/.git/HEAD").read_text() == "ref: refs/heads/main\n"
    author = Author(tmp_path / "shop")
    assert author.git("status", "--porcelain").splitlines()[0].startswith("??")
    assert not (tmp_path / "shop/.git/refs/heads/main").exists()


def test_editors_find_the_schema_from_every_file(policyd: Policyd, tmp_path: Path) -> None:
    policyd("init", tmp_path)
    assert json.loads((tmp_path / ".policyd/schema.json").read_text()) == json.loads(policyd("schema").stdout)
    for file in (tmp_path / "mesh.yaml", *(tmp_path / "services").iterdir()):
        first = file.read_text().splitlines()[0]
        assert (file.parent / first.removeprefix("# yaml-language-server: $schema=")).resolve() == (
            tmp_path / ".policyd/schema.json"
        ), file
    schemas = json.loads((tmp_path / ".vscode/settings.json").read_text())["yaml.schemas"]
    assert list(schemas) == [".policyd/schema.json"]


def test_again_is_no_harm(policyd: Policyd, tmp_path: Path) -> None:
    policyd("init", tmp_path, "--name", "shop")
    before = written(tmp_path)
    again = policyd("init", tmp_path, "--name", "shop")
    assert (again.exit_code, written(tmp_path)) == (0, before)
    assert "wrote" not in again.stdout


@pytest.mark.parametrize("file", ["mesh.yaml", "services/api.yaml", "old/other.yaml"])
def test_intents_that_are_there_are_never_touched(file: str, policyd: Policyd, tmp_path: Path) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: x}\nspec: {}\n")
    before = written(tmp_path)
    done = policyd("init", tmp_path)
    assert (done.exit_code, written(tmp_path)) == (2, before)
    assert f"`{file}`" in done.stderr
    assert "nothing was written" in done.stderr
    assert not (tmp_path / ".git").exists()


def test_a_readme_and_a_gitignore_of_the_users_own_stay(policyd: Policyd, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine\n")
    (tmp_path / ".gitignore").write_text("mine too\n")
    done = policyd("init", tmp_path)
    assert done.exit_code == 0
    assert (tmp_path / "README.md").read_text() == "mine\n"
    assert (tmp_path / ".gitignore").read_text() == "mine too\n"
    assert "kept   README.md" in done.stdout


def test_inside_of_a_repository_no_other_is_begun(policyd: Policyd, tmp_path: Path) -> None:
    Author(tmp_path)
    done = policyd("init", tmp_path / "mesh")
    assert done.exit_code == 0
    assert not (tmp_path / "mesh/.git").exists()
    assert not (tmp_path / "mesh/.github").exists()
    assert "it belongs at the root of the repository" in done.stdout


def test_settings_lie_outside_and_lead_to_the_repository(
    policyd: Policyd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert policyd("init", "shop", "--settings", "policyd.yaml").exit_code == 0
    settings = read_settings(Path("policyd.yaml"))
    assert settings.source.repository == str(tmp_path / "shop")
    assert settings.state == tmp_path / "state"
    assert settings.admin.startswith(f"unix:{tmp_path}/run/")

    inside = policyd("init", "other", "--settings", "other/policyd.yaml")
    assert (inside.exit_code, Path("other").exists()) == (2, False)
    assert "inside of the repository" in inside.stderr
    again = policyd("init", "other", "--settings", "policyd.yaml")
    assert (again.exit_code, Path("other").exists()) == (2, False)
    assert "is there already" in again.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--name", "Shop"),
        ("--name", "true"),
        ("--name", "7"),
        ("--trust-domain", "shop example"),
        ("--trust-domain", "x\nkind: Mesh"),
        ("--caller", "a/b"),
        ("--callee", "web"),
        ("--callee", "a" * 41),
    ],
)
def test_names_that_are_none_are_refused_before_anything_is_written(
    words: tuple[str, str], policyd: Policyd, tmp_path: Path
) -> None:
    done = policyd("init", tmp_path / "shop", *words)
    assert (done.exit_code, (tmp_path / "shop").exists()) == (2, False)
    assert f"`{words[1].splitlines()[0]}" in done.stderr
