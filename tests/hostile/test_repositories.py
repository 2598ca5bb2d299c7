"""Hostile and clumsy repositories, by the way of every commit in production: a real Git, the mirror, admission."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from policyd.base.errors import Retry
from policyd.daemon.admission import Admission, Admitted, Rejected
from policyd.daemon.judging import Guardrails
from policyd.guardrails.bundle import shipped_bundle
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.source import Mirror
from policyd.testing.clock import FakeClock
from tests.hostile.test_files import MESH, RULE, SERVICE
from tests.source.conftest import Author, OpenMirror, author, open_mirror

__all__ = ["author", "open_mirror"]

GOOD = {"mesh.yaml": MESH, "web.yaml": f"{SERVICE}---\n{RULE}"}
UNREAD = RULE.replace("to: web", "too: web")
"""A rule with a mistake: it is refused only where it is read."""


class House:
    """One repository, its mirror, and an admission that has taken the first commit."""

    def __init__(self, author: Author, mirror: Mirror, admission: Admission) -> None:
        self.author = author
        self._mirror = mirror
        self._admission = admission

    async def judged(self) -> Admitted | Rejected:
        """What comes of the branch as it is now."""
        return await self._admission.consider(self._mirror.snapshot(self._mirror.fetch()))

    @property
    def parsed_files(self) -> int:
        """How many files were really read so far."""
        return self._admission.parsed_files

    def put(self, tree: str) -> None:
        """Make this tree the branch's newest commit."""
        commit = self.author.git("commit-tree", "-p", "HEAD", "-m", "by hand", tree)
        self.author.git("update-ref", "refs/heads/main", commit)


@pytest.fixture
async def house(author: Author, tmp_path: Path, open_mirror: OpenMirror) -> AsyncIterator[House]:
    """A small mesh that was taken."""
    for path, text in GOOD.items():
        author.write(path, text)
    author.commit("good")
    engine = EmbeddedEngine()
    guardrails = Guardrails(engine, shipped_bundle(), opa=None, vouched=())
    house = House(author, open_mirror(tmp_path / "mirror", str(author.folder)), Admission(guardrails, FakeClock()))
    assert isinstance(await house.judged(), Admitted)
    yield house
    await engine.close()


def a_folder_that_leads_out(house: House) -> None:
    (house.author.folder / "services").symlink_to("/etc")
    house.author.commit()


def a_folder_that_is_its_own(house: House) -> None:
    (house.author.folder / "again").symlink_to(".")
    house.author.commit()


def the_mesh_as_a_link(house: House) -> None:
    (house.author.folder / "mesh.yaml").unlink()
    (house.author.folder / "mesh.yaml").symlink_to("web.yaml")
    house.author.commit()


def rules_as_a_link(house: House) -> None:
    (house.author.folder / "rego").symlink_to("/")
    house.author.commit()


def a_submodule_that_nobody_has(house: House) -> None:
    house.author.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},shared")
    house.author.write(".gitmodules", '[submodule "shared"]\n\tpath = shared\n\turl = ext::sh -c touch% /tmp/x\n')
    house.author.git("add", ".gitmodules")
    house.author.git("commit", "--quiet", "--message", "a submodule")


def a_commit_without_files(house: House) -> None:
    for path in GOOD:
        (house.author.folder / path).unlink()
    house.author.commit()


def a_history_that_begins_anew_with_nothing(house: House) -> None:
    house.author.git("checkout", "--quiet", "--orphan", "empty")
    house.author.git("rm", "--quiet", "-r", "--cached", ".")
    house.author.git("commit", "--quiet", "--allow-empty", "--message", "nothing")
    house.author.git("branch", "--force", "main", "empty")


def a_file_that_unpacks_to_64_mib(house: House) -> None:
    with (house.author.folder / "bomb.yaml").open("wb") as file:
        file.truncate(64 << 20)
    house.author.commit()


def a_file_in_1500_folders(house: House) -> None:
    blob = house.author.git("hash-object", "-w", "--stdin", given=UNREAD)
    stream = ["commit refs/heads/main", "committer A <a@x> 1 +0000", "data 0", "from refs/heads/main^0"]
    stream += [f"M 100644 {blob} {'f/' * 1_500}rule.yaml", ""]
    house.author.git("fast-import", "--quiet", given="\n".join(stream))


def a_link_to_rules(house: House) -> None:
    house.author.write("rego/team/real.txt", "package policyd.mine\n")
    (house.author.folder / "rego/team/rule.rego").symlink_to("real.txt")
    house.author.commit()


def one_file_too_many(house: House) -> None:
    many(house, 20_001)


def many(house: House, number: int, text: str = "# nothing yet\n") -> None:
    """So many files, all alike, beside what is there; written by Git alone."""
    blob = house.author.git("hash-object", "-w", "--stdin", given=text)
    stream = ["commit refs/heads/main", "committer A <a@x> 1 +0000", "data 0", "from refs/heads/main^0"]
    stream += [f"M 100644 {blob} many/{each}.yaml" for each in range(number - len(GOOD))]
    house.author.git("fast-import", "--quiet", given="\n".join([*stream, ""]))


CASES: dict[Callable[[House], None], str] = {
    a_folder_that_leads_out: "services: PD3001",
    a_folder_that_is_its_own: "again: PD3001",
    the_mesh_as_a_link: "mesh.yaml: PD3001",
    rules_as_a_link: "rego: PD3001",
    a_link_to_rules: "rego/team/rule.rego: PD3001",
    a_submodule_that_nobody_has: "shared: PD3002",
    a_commit_without_files: ".: PD1201",
    a_history_that_begins_anew_with_nothing: ".: PD1201",
    a_file_that_unpacks_to_64_mib: "bomb.yaml: PD3003",
    one_file_too_many: ".: PD3004",
    a_file_in_1500_folders: f"{'f/' * 20}...{('f/' * 1_500 + 'rule.yaml')[-40:]}: PD3007",
}


@pytest.mark.parametrize("happens", CASES, ids=lambda happens: happens.__name__)
async def test_each_is_refused_at_its_place_and_the_next_good_commit_is_taken(
    happens: Callable[[House], None], house: House
) -> None:
    before = await house.judged()
    head = house.author.git("rev-parse", "HEAD")
    happens(house)
    outcome = await house.judged()
    assert isinstance(outcome, Rejected)
    errors = [f"{one.location}: {one.code}" for one in outcome.findings if one.is_error]
    assert CASES[happens] in errors
    assert len(errors) <= 2

    house.put(f"{head}^{{tree}}")
    after = await house.judged()
    assert isinstance(after, Admitted)
    assert isinstance(before, Admitted)
    assert (after.mesh, after.findings) == (before.mesh, before.findings)


@pytest.mark.parametrize(
    "name", ["--help.yaml", "a b.yaml", ":(exclude)x.yaml", "%s{0}.yaml", "[red]x[/red].yaml", "a:1:1: error.yaml"]
)
async def test_a_name_that_means_something_elsewhere_is_a_name(name: str, house: House) -> None:
    house.author.write(name, UNREAD)
    house.author.commit()
    outcome = await house.judged()
    assert [one.location.path for one in outcome.findings if one.is_error] == [name, name]


async def test_what_a_repository_asks_of_git_is_not_done(house: House, tmp_path: Path) -> None:
    """Attributes that convert or filter, hooks: files like any other, and none of ours."""
    ran = tmp_path / "ran"
    before = await house.judged()
    hook = f"#!/bin/sh\ntouch {ran}\n"
    for path in ("hooks/post-checkout", "hooks/reference-transaction", ".githooks/pre-commit"):
        house.author.write(path, hook)
        (house.author.folder / path).chmod(0o755)
    house.author.write(".lfsconfig", "[lfs]\n\turl = http://127.0.0.1:1\n")
    house.author.commit()
    house.author.write(
        ".gitattributes", "*.yaml filter=x working-tree-encoding=UTF-16 eol=crlf ident export-ignore\n"
    )
    house.author.git("add", ".gitattributes")
    house.author.git("commit", "--quiet", "--message", "attributes")
    after = await house.judged()
    assert isinstance(after, Admitted)
    assert isinstance(before, Admitted)
    assert after.mesh == before.mesh
    assert not ran.exists()


async def test_as_many_files_as_there_may_be_are_read_once(house: House) -> None:
    before = house.parsed_files
    many(house, 20_000)
    assert isinstance(await house.judged(), Admitted)
    assert house.parsed_files - before == 20_000 - len(GOOD)
    many(house, 20_000)
    assert isinstance(await house.judged(), Admitted)
    assert house.parsed_files - before == 20_000 - len(GOOD)


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        (["a.yaml", "a.yaml"], "contains duplicate file entries"),
        (["teams/pay/rule.yaml"], "contains full pathnames"),
        ([".."], "contains '..'"),
    ],
)
async def test_a_tree_that_names_what_no_folder_can_hold_is_not_fetched(
    entries: list[str], what: str, house: House
) -> None:
    """A file called `teams/pay/rule.yaml`, slashes and all, would be in a folder that its author cannot write to."""
    blob = house.author.git("rev-parse", "HEAD:web.yaml")
    tree = b"".join(b"100644 %s\0%s" % (name.encode(), bytes.fromhex(blob)) for name in entries)
    file = house.author.folder / ".git" / "tree"
    file.write_bytes(tree)
    head = house.author.git("rev-parse", "HEAD")
    house.put(house.author.git("hash-object", "-t", "tree", "-w", "--literally", str(file)))
    with pytest.raises(Retry, match=f"has a malformed object, which is not fetched: .*{what}"):
        await house.judged()
    house.put(f"{head}^{{tree}}")
    house.author.git("update-ref", "refs/heads/main", head)
    assert isinstance(await house.judged(), Admitted)
