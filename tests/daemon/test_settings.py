"""Settings: defaults that work on one machine, and every mistake named at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from policyd.base.errors import UsageError
from policyd.daemon.admins import AdminAddresses
from policyd.daemon.settings import read_settings


def written(folder: Path, text: str) -> Path:
    path = folder / "policyd.yaml"
    path.write_text(text)
    return path


def test_only_the_repository_is_needed(tmp_path: Path) -> None:
    settings = read_settings(written(tmp_path, "source: {repository: /srv/git/mesh}\n"))

    assert settings.source.branch == "main"
    assert settings.state == tmp_path / "state"
    assert settings.xds.startswith("127.0.0.1:")
    assert settings.http.startswith("127.0.0.1:")


def test_relative_paths_are_taken_from_the_folder_of_the_file(tmp_path: Path) -> None:
    folder = tmp_path / "{odd}"
    folder.mkdir()
    text = 'source: {repository: ./mesh}\nstate: here\nadmin: "unix:run/{service}.sock"\n'
    settings = read_settings(written(folder, text))

    assert settings.source.repository == str(folder / "mesh")
    assert settings.state == folder / "here"
    assert AdminAddresses(settings.admin)["default/web/v1/127.0.0.9"] == f"unix:{folder}/run/web.sock"


def test_every_mistake_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "source: {repository: /x, brnach: main}\nxds: somewhere\ntick_s: 0\n")

    with pytest.raises(UsageError) as caught:
        read_settings(path)

    for place in ("`source.brnach`", "`xds`", "`tick_s`"):
        assert place in str(caught.value)


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "\x00"])
def test_what_is_no_settings_file_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"policyd\.yaml"):
        read_settings(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"gone\.yaml"):
        read_settings(tmp_path / "gone.yaml")


def test_admin_addresses_are_filled_in_from_the_node() -> None:
    admins = AdminAddresses("unix:/run/{service}-{version}-{address}.sock")

    assert admins["default/web/v1/127.0.0.9"] == "unix:/run/web-v1-127.0.0.9.sock"
    assert "not a node" not in admins


def test_a_template_with_an_unknown_field_is_refused() -> None:
    with pytest.raises(UsageError, match="port"):
        AdminAddresses("http://{address}:{port}")
