"""Which commit proxies run, found out from nothing but the versions of what they hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from policyd.compiler import registry
from policyd.compiler.protocol import ReadsBack
from policyd.daemon.likeness import Candidate, Likeness, Versions, likeness
from policyd.daemon.lost import Found, words
from policyd.delivery.resource_types import ENDPOINT
from policyd.model.mesh import Mesh, Releases
from policyd.model.names import Name
from policyd.model.node import nodes
from policyd.model.release import CanaryPlan
from policyd.model.service import HeaderMatch, Split
from policyd.rollout.assembly import Assembly
from policyd.testing import build

AT = datetime(2027, 1, 1, tzinfo=UTC)
API, WEB = Name("default", "api"), Name("default", "web")
FIRST = HeaderMatch("x-canary", "yes")
PLAN = CanaryPlan(Name("default", "api"), API, (2_500, 5_000, 10_000), 1.0, (), first=FIRST)


def fresh() -> Assembly:
    return Assembly(registry.load, lambda _: ())


def mesh(serving: str, *, path: str = "/**", where: str = "10.0.1.1") -> Mesh:
    return build.mesh(
        [
            build.service("web", {"v1": ["10.0.0.1", "10.0.0.2"]}),
            build.service("api", {"v1": [where], "v2": ["10.0.2.1"]}, serving=serving),
        ],
        [build.access("api", build.rule("web-calls", ["web"], f"GET {path}"))],
        releases=Releases({API: PLAN}, {}),
    )


def split_of(of: Mesh, split: Split) -> Mesh:
    return replace(of, services={**of.services, API: replace(of.services[API], split=split)})


def running(of: Mesh) -> dict[str, Versions]:
    """What the proxies of a mesh report."""
    made = fresh().snapshots(list(nodes(of)), lambda _: of)
    return {node: {(one.kind, one.name): one.version for one in snapshot} for node, snapshot in made.items()}


def live(of: Mesh) -> Mapping[Name, Split]:
    compiler = registry.load("envoy")
    assert isinstance(compiler, ReadsBack)
    web = next(node for node in nodes(of) if node.service == WEB)
    return compiler.splits(fresh().snapshots([web], lambda _: of)[web.id])


def found(history: Mapping[str, Mesh], run: Mesh) -> Likeness | None:
    candidates = [Candidate(commit, said) for commit, said in history.items()]
    return likeness(candidates, running(run), live(run), fresh(), AT)


def test_the_newest_commit_that_says_just_this() -> None:
    history = {"c4": mesh("v2"), "c3": mesh("v1", path="/v1/**"), "c2": mesh("v1"), "c1": mesh("v1")}
    assert found(history, mesh("v1")) == Likeness("c2", 4, 4, "c2")


def test_endpoints_belong_to_no_commit() -> None:
    history = {"c2": mesh("v1", where="10.0.9.9"), "c1": mesh("v2")}
    moved = running(mesh("v1"))
    assert any(key[0] == ENDPOINT for versions in moved.values() for key in versions)
    kept = {node: versions for node, versions in moved.items() if not node.startswith("default/api/v1/")}
    candidates = [Candidate(commit, said) for commit, said in history.items()]
    assert likeness(candidates, kept, live(mesh("v1")), fresh(), AT) == Likeness("c2", 3, 3, "c2")


def test_a_canary_is_told_by_where_it_began() -> None:
    history = {"c3": mesh("v2"), "c2": mesh("v1"), "c1": mesh("v1", path="/old")}
    for weights in ((("v1", 7_500), ("v2", 2_500)), (("v1", 5_000), ("v2", 5_000)), (("v1", 10_000),)):
        run = split_of(mesh("v1"), Split(weights, FIRST, "v2"))
        assert found(history, run) == Likeness("c3", 4, 4, "c2")


def test_a_revert_that_was_not_seen_does_not_turn_the_canary_round() -> None:
    history = {"c3": mesh("v1"), "c2": mesh("v2"), "c1": mesh("v1")}
    like = found(history, split_of(mesh("v1"), Split((("v1", 7_500), ("v2", 2_500)), FIRST, "v2")))
    assert like is not None
    assert (like.whole, like.base) == (True, "c1")


def test_shares_that_no_canary_gives_have_no_base() -> None:
    like = found({"c2": mesh("v2"), "c1": mesh("v1")}, split_of(mesh("v1"), Split((("v1", 9_900), ("v2", 100)))))
    assert like is not None
    assert (like.whole, like.base) == (True, "")


def test_the_most_alike_is_named_where_none_is_the_same() -> None:
    run = running(mesh("v1"))
    run["default/web/v1/10.0.0.1"] = {**run["default/web/v1/10.0.0.1"], ("kind", "else"): "0123"}
    history = [Candidate("c2", mesh("v1", path="/new")), Candidate("c1", mesh("v1"))]
    assert likeness(history, run, live(mesh("v1")), fresh(), AT) == Likeness("c1", 3, 4, "c1")
    assert likeness([], run, {}, fresh(), AT) is None


def test_a_person_is_told_what_is_live_and_what_to_type() -> None:
    split = Split((("v1", 7_500), ("v2", 2_500)))
    said = words(Found(("a", "b"), (), {API: split, WEB: Split.all_to("v1")}, (), Likeness("c" * 40, 2, 2, "b" * 40)))
    assert "live now: default/api v1 75 % v2 25 %;" in said
    assert "proxies run what commit cccccccccc says but for those shares, on the way from commit bbbbbbbbbb" in said
    assert "`policyd recover --promoted bbbbbbbbbb`" in said
    assert "`policyd recover --promoted HEAD` serves what Git says at once" in said
    some = words(Found(("a", "b"), ("b",), {}, (API,), Likeness("c" * 40, 1, 2, "c" * 40)))
    assert "1 of 2 proxies could not be read, `b` among them" in some
    assert "callers differ about default/api" in some
    assert "1 of 2 proxies run what commit cccccccccc says" in some
    none = words(Found(("a",), (), {}, (), Likeness("c" * 40, 0, 1, "c" * 40)))
    assert "cccccccccc" not in none
    assert "`policyd recover --promoted COMMIT`" in none
