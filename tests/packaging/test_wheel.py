"""The wheel holds the two packages and their data, and none of the repository's own folders is importable."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from build import ProjectBuilder


@pytest.fixture(scope="module")
def wheel_names(repository_root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    wheel = ProjectBuilder(repository_root).build("wheel", tmp_path_factory.mktemp("wheel"))
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_only_the_two_packages_and_their_metadata(wheel_names: list[str]) -> None:
    tops = {name.split("/")[0] for name in wheel_names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"policyd", "policyd_compilers"}


def test_rego_and_the_shop_travel_as_data(wheel_names: list[str]) -> None:
    assert any(name.startswith("policyd/_data/rego/policyd/guardrails/") for name in wheel_names)
    assert "policyd/_data/policies/mesh.yaml" in wheel_names


def test_what_init_begins_travels_too(wheel_names: list[str], repository_root: Path) -> None:
    inside = "policyd/cli/starter"
    files = {
        f"{inside}/{file.relative_to(repository_root / inside)}" for file in (repository_root / inside).rglob("*.*")
    }
    assert len(files) >= 7
    assert {file for file in files if (repository_root / file).is_file()} <= set(wheel_names)


def test_types_and_licence_travel_too(wheel_names: list[str]) -> None:
    assert "policyd/py.typed" in wheel_names
    assert "policyd_compilers/py.typed" in wheel_names
    assert any(name.endswith("licenses/LICENSE") for name in wheel_names)


def test_no_tests_and_no_caches(wheel_names: list[str]) -> None:
    assert not [name for name in wheel_names if "__pycache__" in name or name.startswith("tests")]


def test_nothing_else_is_visible_at_the_top(repository_root: Path) -> None:
    visible = {path.name for path in repository_root.iterdir() if not path.name.startswith(".")}
    allowed = {
        "pyproject.toml", "README.md", "LICENSE", "policyd", "policies", "rego", "compilers", "tests",
    }  # fmt: skip
    assert visible <= allowed | {"build", "dist"}
