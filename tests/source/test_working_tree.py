from __future__ import annotations

from pathlib import Path

import pytest

from policyd.base.errors import UsageError
from policyd.source import DirectoryTree, Limits, tree_at
from tests.source.conftest import Author


def test_a_folder_has_the_blob_ids_that_git_gives(author: Author) -> None:
    author.write("services/größe.yaml", "x: ä\n")
    commit = author.commit(a="x: 1\n")
    tree = DirectoryTree(author.folder)
    with tree_at(author.folder, commit) as committed:
        assert dict(tree.files) == dict(committed.files)
    assert tree.read(tree.files["services/größe.yaml"]) == "x: ä\n".encode()


def test_what_is_not_committed_is_in_the_folder_only(author: Author) -> None:
    author.commit(a="x: 1\n")
    author.write("b.yaml", "y: 1\n")
    assert list(DirectoryTree(author.folder).files) == ["a.yaml", "b.yaml"]
    with tree_at(author.folder, "HEAD") as committed:
        assert list(committed.files) == ["a.yaml"]


def test_a_folder_inside_a_repository_is_read_at_a_revision(author: Author) -> None:
    author.commit(policies__a="x: 1\n")
    author.commit(policies__a="x: 2\n", other__b="y: 1\n")
    with tree_at(author.folder / "policies", "main~1") as old:
        assert list(old.files) == ["a.yaml"]
        assert old.read(old.files["a.yaml"]) == b"x: 1\n"


def test_links_and_large_files_are_findings(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x: 1\n")
    (tmp_path / "big.yaml").write_text("x" * 100)
    (tmp_path / "link.yaml").symlink_to("a.yaml")
    (tmp_path / "folder").symlink_to("/etc")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "c.yaml").write_text("x: 1\n")
    tree = DirectoryTree(tmp_path, Limits(file_bytes=50))
    assert list(tree.files) == ["a.yaml"]
    assert [(finding.code, finding.location.path) for finding in tree.findings] == [
        ("PD3003", "big.yaml"),
        ("PD3001", "folder"),
        ("PD3001", "link.yaml"),
    ]


@pytest.mark.parametrize("revision", ["nope", "--help", "main:a.yaml", "0" * 40, "main..main", ""])
def test_a_revision_that_is_no_commit_is_said_so(revision: str, author: Author) -> None:
    author.commit(a="x: 1\n")
    with pytest.raises(UsageError, match="no commit"), tree_at(author.folder, revision):
        pass


def test_folders_that_are_not_there_are_said_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a folder"):
        DirectoryTree(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is not in a Git repository"), tree_at(tmp_path, "main"):
        pass
