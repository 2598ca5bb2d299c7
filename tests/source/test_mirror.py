from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from policyd.base.errors import Retry, UsageError
from policyd.source import Limits, tree_at
from tests.source.conftest import Author, OpenMirror


def test_a_commit_becomes_a_snapshot(author: Author, tmp_path: Path, open_mirror: OpenMirror) -> None:
    first = author.commit("one", services__a="x: 1\n")
    second = author.commit("two words", services__b="y: 2\n")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))

    assert mirror.fetch() == second
    snapshot = mirror.snapshot(second)

    assert (snapshot.commit, snapshot.parent) == (second, first)
    assert snapshot.author == "Ada <ada@shop.example>"
    assert snapshot.subject == "two words"
    assert list(snapshot.files) == ["services/a.yaml", "services/b.yaml"]
    assert snapshot.read(snapshot.files["services/b.yaml"]) == b"y: 2\n"
    assert mirror.snapshot(first).parent is None


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_paths_and_file_urls_are_fetched(form: str, author: Author, tmp_path: Path, open_mirror: OpenMirror) -> None:
    commit = author.commit(a="x: 1\n")
    assert open_mirror(tmp_path / "mirror", form.format(author.folder)).fetch() == commit


def test_unicode_names_arrive_as_they_are_written(author: Author, tmp_path: Path, open_mirror: OpenMirror) -> None:
    author.write("dienste/größe 日本.yaml", "x: 1\n")
    commit = author.commit()
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    mirror.fetch()
    assert list(mirror.snapshot(commit).files) == ["dienste/größe 日本.yaml"]


def test_a_name_that_is_not_utf8_is_a_finding(author: Author, tmp_path: Path, open_mirror: OpenMirror) -> None:
    Path(os.fsdecode(bytes(author.folder) + b"/caf\xe9.yaml")).write_text("x: 1\n")
    commit = author.commit()
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    mirror.fetch()
    snapshot = mirror.snapshot(commit)
    assert not snapshot.files
    assert [finding.code for finding in snapshot.findings] == ["PD3005"]


@pytest.mark.parametrize("name", ["a\n/b.yaml:1:1: error", "a\x1b[31m", "a\u202eb", "a\u200bb"])
def test_a_name_that_cannot_be_seen_is_a_finding_and_shown_escaped(
    name: str, author: Author, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    author.write(f"{name}.yaml", "x: 1\n")
    commit = author.commit("sub\x1b]0;ject")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    mirror.fetch()
    snapshot = mirror.snapshot(commit)
    assert not snapshot.files
    (finding,) = snapshot.findings
    assert finding.code == "PD3006"
    assert f"{finding.location}{finding.message}{snapshot.subject}".isprintable()


def test_only_the_watched_folder_is_seen(author: Author, tmp_path: Path, open_mirror: OpenMirror) -> None:
    commit = author.commit(policies__services__a="x: 1\n", other__b="y: 1\n")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder), subdirectory="/policies/")
    mirror.fetch()
    assert list(mirror.snapshot(commit).files) == ["services/a.yaml"]


def test_a_commit_without_the_watched_folder_is_empty(
    author: Author, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    commit = author.commit(a="x: 1\n")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder), subdirectory="policies")
    mirror.fetch()
    assert mirror.snapshot(commit).files == {}


def test_other_files_and_hidden_folders_are_somebody_elses(
    author: Author, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    author.write("README.md", "hello")
    author.write("rego/team/rule.rego", "package team\n")
    author.write(".github/workflows/ci.yaml", "on: push\n")
    commit = author.commit(a="x: 1\n")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    mirror.fetch()
    assert list(mirror.snapshot(commit).files) == ["a.yaml", "rego/team/rule.rego"]


def test_symbolic_links_are_refused_and_not_followed(author: Author, tmp_path: Path, open_mirror: OpenMirror) -> None:
    (author.folder / "services").mkdir()
    (author.folder / "services" / "evil.yaml").symlink_to("/etc/passwd")
    commit = author.commit(a="x: 1\n")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    mirror.fetch()
    snapshot = mirror.snapshot(commit)
    assert list(snapshot.files) == ["a.yaml"]
    assert [(finding.code, finding.location.path) for finding in snapshot.findings] == [
        ("PD3001", "services/evil.yaml")
    ]


def test_submodules_are_refused_and_not_fetched(
    author: Author, another: Callable[[str], Author], tmp_path: Path, open_mirror: OpenMirror
) -> None:
    inner = another("inner")
    inner.commit(secret="x: 1\n")
    author.commit(a="x: 1\n")
    author.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(inner.folder), "shared")
    commit = author.commit("with a submodule")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    mirror.fetch()
    snapshot = mirror.snapshot(commit)
    assert list(snapshot.files) == ["a.yaml"]
    assert [(finding.code, finding.location.path) for finding in snapshot.findings] == [("PD3002", "shared")]


def test_hooks_of_neither_side_run(author: Author, tmp_path: Path, open_mirror: OpenMirror) -> None:
    marker = tmp_path / "ran"
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    for folder in (tmp_path / "mirror" / "hooks", author.folder / ".git" / "hooks"):
        folder.mkdir(exist_ok=True)
        for name in ("reference-transaction", "post-update", "pre-receive", "post-merge"):
            (folder / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
            (folder / name).chmod(0o755)
    author.git("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--allow-empty", "--message", "one")
    mirror.fetch()
    assert not marker.exists()


def test_the_environment_cannot_redirect_git(
    author: Author, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_mirror: OpenMirror
) -> None:
    commit = author.commit(a="x: 1\n")
    marker = tmp_path / "ran"
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    monkeypatch.setenv("GIT_ALTERNATE_OBJECT_DIRECTORIES", "/nowhere")
    monkeypatch.setenv("GIT_SSH_COMMAND", f"touch {marker}")
    monkeypatch.setenv("GIT_CONFIG_PARAMETERS", "'uploadpack.packObjectsHook'='touch /nowhere'")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    assert mirror.fetch() == commit
    assert list(mirror.snapshot(commit).files) == ["a.yaml"]
    assert not marker.exists()


@pytest.mark.parametrize("name", ["GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR", "GIT_WORK_TREE"])
def test_an_environment_that_misleads_gitpython_is_refused(
    name: str, author: Author, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, open_mirror: OpenMirror
) -> None:
    author.commit(a="x: 1\n")
    monkeypatch.setenv(name, "/nowhere")
    with pytest.raises(UsageError, match=name):
        open_mirror(tmp_path / "mirror", str(author.folder))
    with pytest.raises(UsageError, match=name), tree_at(author.folder, "main"):
        pass


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/x",
        "--upload-pack=touch /tmp/x",
        "http://example.org/mesh.git",
        "git://example.org/mesh.git",
        "relative/path",
        "fd::7",
        "https://example.org/a b",
        "",
    ],
)
def test_addresses_that_could_run_programs_are_refused(url: str, tmp_path: Path, open_mirror: OpenMirror) -> None:
    with pytest.raises(UsageError, match="not an address"):
        open_mirror(tmp_path / "mirror", url)


@pytest.mark.parametrize(
    "url", ["https://git.example/mesh.git", "ssh://git@git.example/mesh", "git@git.example:mesh.git"]
)
def test_the_usual_addresses_are_taken(url: str, tmp_path: Path, open_mirror: OpenMirror) -> None:
    assert open_mirror(tmp_path / "mirror", url).local is None


@pytest.mark.parametrize(
    "branch", ["", "-x", "a..b", "a b", "a~1", "a:b", "@", "a.lock", "/a", "a/", "a//b", "refs/*"]
)
def test_branches_that_git_would_read_otherwise_are_refused(
    branch: str, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    with pytest.raises(UsageError, match="not the name of a branch"):
        open_mirror(tmp_path / "mirror", "/srv/git/mesh", branch)


@pytest.mark.parametrize("folder", ["../up", "a/../b", ".git", "a//b", "a/./b"])
def test_watched_folders_outside_the_repository_are_refused(
    folder: str, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    with pytest.raises(UsageError, match="not a folder inside"):
        open_mirror(tmp_path / "mirror", "/srv/git/mesh", subdirectory=folder)


def test_an_unborn_branch_is_waited_for(author: Author, tmp_path: Path, open_mirror: OpenMirror) -> None:
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    with pytest.raises(Retry, match="has no branch `main`"):
        mirror.fetch()


def test_a_missing_repository_is_waited_for(tmp_path: Path, open_mirror: OpenMirror) -> None:
    mirror = open_mirror(tmp_path / "mirror", str(tmp_path / "nowhere"))
    with pytest.raises(Retry, match="is not a Git repository"):
        mirror.fetch()


def test_a_repository_that_never_answers_is_given_up_and_tried_again(tmp_path: Path, open_mirror: OpenMirror) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/mesh.git"
        mirror = open_mirror(tmp_path / "mirror", url, limits=Limits(command_s=0.5))
        with pytest.raises(Retry, match="did not answer in time"):
            mirror.fetch()


@pytest.mark.parametrize("lock", ["refs/policyd/head.lock", "config.lock"])
def test_a_lock_that_a_killed_git_left_is_taken_away_at_the_start(
    lock: str, author: Author, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    author.commit(a="x: 1\n")
    open_mirror(tmp_path / "mirror", str(author.folder)).fetch()
    (tmp_path / "mirror" / lock).touch()
    commit = author.commit(a="x: 2\n")
    assert open_mirror(tmp_path / "mirror", str(author.folder)).fetch() == commit


def test_a_lock_that_a_killed_git_left_is_taken_away_meanwhile(
    author: Author, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    author.commit(a="x: 1\n")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    mirror.fetch()
    (tmp_path / "mirror" / "refs/policyd/head.lock").touch()
    commit = author.commit(a="x: 2\n")
    with pytest.raises(Retry, match=r"a Git that was killed had left `refs/policyd/head\.lock` in the mirror"):
        mirror.fetch()
    assert mirror.fetch() == commit


def test_files_over_the_limits_are_findings(author: Author, tmp_path: Path, open_mirror: OpenMirror) -> None:
    author.write("big.yaml", "x" * 2_000)
    commit = author.commit(a="x: 1\n", b="y: 2\n")
    mirror = open_mirror(tmp_path / "m1", str(author.folder), limits=Limits(file_bytes=1_000))
    mirror.fetch()
    snapshot = mirror.snapshot(commit)
    assert list(snapshot.files) == ["a.yaml", "b.yaml"]
    assert [finding.code for finding in snapshot.findings] == ["PD3003"]

    for limits in (Limits(files=2), Limits(total_bytes=1_000)):
        mirror = open_mirror(tmp_path / "m2", str(author.folder), limits=limits)
        mirror.fetch()
        snapshot = mirror.snapshot(commit)
        assert snapshot.files == {}
        assert [finding.code for finding in snapshot.findings] == ["PD3004"]


def test_trees_that_name_each_other_into_billions_of_files_are_a_finding(
    author: Author, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    author.commit(deepest="kind: Service\n")
    tree = author.git("rev-parse", "HEAD^{tree}")
    for _ in range(10):
        listing = "".join(f"040000 tree {tree}\tfolder-{name}\n" for name in range(10))
        tree = author.git("mktree", given=listing)
    author.git("reset", "--quiet", "--soft", author.git("commit-tree", "-m", "ten thousand million files", tree))
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    tip = mirror.fetch()
    assert tip is not None
    snapshot = mirror.snapshot(tip)
    assert not snapshot.files
    assert [(finding.code, finding.message) for finding in snapshot.findings] == [
        ("PD3004", "the watched folder has more files below it, or deeper ones, than can be listed")
    ]


def test_reading_takes_only_blob_ids(author: Author, tmp_path: Path, open_mirror: OpenMirror) -> None:
    commit = author.commit(a="x: 1\n")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    mirror.fetch()
    snapshot = mirror.snapshot(commit)
    for bad in ("HEAD", "--help", commit, commit[:12]):
        with pytest.raises(ValueError, match="not a"):
            snapshot.read(bad)
    with pytest.raises(Retry, match="cannot be read"):
        snapshot.read("0" * 40)
    assert snapshot.read(snapshot.files["a.yaml"]) == b"x: 1\n"


def test_tidying_packs_what_is_much_and_keeps_what_is_watched(
    author: Author, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))

    def kept() -> tuple[int, int]:
        objects = tmp_path / "mirror" / "objects"
        return len(list(objects.glob("pack/*.pack"))), len(list(objects.glob("[0-9a-f][0-9a-f]/*")))

    commit = author.commit(a="x: 1\n")
    mirror.fetch()
    before = kept()
    mirror.tidy()
    assert kept() == before, "too little to be worth it"
    for number in range(60):
        commit = author.commit(**{f"a{file}": f"x: {number}-{file}\n" for file in range(90)})
        mirror.fetch()
    assert sum(kept()) > 50
    mirror.tidy()
    assert kept() == (1, 0)
    assert mirror.snapshot(commit).read(mirror.snapshot(commit).files["a7.yaml"]) == b"x: 59-7\n"


def test_a_commit_in_an_odd_encoding_is_read_or_waited_for(
    author: Author, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    first = author.commit(a="x: 1\n")
    tree = author.git("rev-parse", f"{first}^{{tree}}")
    odd = tmp_path / "odd"
    lines = [f"tree {tree}", f"parent {first}", "author \xff <a@x> 1 +0000", "committer A <a@x> 1 +0000"]
    odd.write_bytes("\n".join([*lines, "encoding nobody-knows", "", "odd\n"]).encode("latin-1"))
    commit = author.git("hash-object", "-t", "commit", "-w", str(odd))
    author.git("update-ref", "refs/heads/main", commit)
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    assert mirror.fetch() == commit
    with contextlib.suppress(Retry):
        assert list(mirror.snapshot(commit).files) == ["a.yaml"]
    assert list(mirror.snapshot(first).files) == ["a.yaml"]


def test_a_mirror_with_a_damaged_object_is_waited_for(
    author: Author, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    commit = author.commit(a="x: 1\n")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    mirror.fetch()
    objects = tmp_path / "mirror" / "objects"
    for file in [*objects.glob("??/*"), *objects.glob("pack/*.pack")]:
        file.chmod(0o600)
        file.write_bytes(b"damaged")
    with pytest.raises(Retry, match="cannot be read"):
        mirror.snapshot(commit)


def test_a_person_names_a_commit_by_head_or_by_its_id(
    author: Author, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    first, second = author.commit(a="one"), author.commit(a="two")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    mirror.fetch()
    assert mirror.resolve("HEAD") == second
    assert mirror.resolve(first[:10]) == first
    for odd in ("main", "HEAD~1", "--all", "", "f" * 40):
        with pytest.raises(UsageError):
            mirror.resolve(odd)


def test_the_history_is_that_of_the_branch_newest_first(
    author: Author, tmp_path: Path, open_mirror: OpenMirror
) -> None:
    first = author.commit(a="one")
    author.git("checkout", "--quiet", "-b", "side")
    author.commit(b="aside")
    author.git("checkout", "--quiet", "main")
    second = author.commit(a="two")
    author.git("merge", "--quiet", "--no-ff", "--no-edit", "side")
    merge = author.git("rev-parse", "HEAD")
    mirror = open_mirror(tmp_path / "mirror", str(author.folder))
    with pytest.raises(Retry):
        mirror.history(3)
    mirror.fetch()
    assert mirror.history(20) == (merge, second, first)
    assert mirror.history(2) == (merge, second)
