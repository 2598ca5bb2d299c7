"""Every real proxy agrees with the model about hundreds of paths: which are canonical, and which a pattern holds."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from policyd.model.paths import PathPattern, is_canonical_path
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service
from tests.compilers.world import Connection, Sidecars, loopback, running

pytestmark = pytest.mark.e2e

PATTERNS = ("/", "/a", "/a/{x}", "/a/{x}/b", "/b/**", "/b/{y}/c/**", "/c/", "/x.y~z/$&'()*+,=:@!/{n}", "/%C3%A9/{n}")
PIECES = (
    "a", "b", "c", "x.y~z", "$&'()*+,=:@!", "%C3%A9", "", ".", "..", "...", ".a", "a.", "%2F", "%2f", "%5C", "%00",
    "%2E", "%2e%2e", "%41", "%C3", "%c3", "%", "%z", "%2", "%7E", "%7F", "%20", "%3B", "a;b", "a\\b", "a|b", "a\"b",
    "<", "{x}", "^", "`", "[", "\x7f", "é", "%25", "%252F", "*", "-_",
)  # fmt: skip
QUERIES = ("", "", "", "?", "?a", "?/../x", "?%2F//", "?a?b")


def targets() -> list[str]:
    """The same every time: paths around the patterns, and paths around what is canonical."""
    choose = random.Random(20)
    made = {f"/{piece}{query}" for piece in PIECES for query in ("", "?q")}
    made |= {f"/{one}/{two}" for one in PIECES for two in ("a", "")}
    while len(made) < 800:
        depth = choose.randint(1, 5)
        made.add("".join("/" + choose.choice(PIECES[: choose.choice((3, 6, 6, 99))]) for _ in range(depth)))
    return [target + choose.choice(QUERIES) for target in sorted(made)]


def expected(target: str) -> int:
    path = target.partition("?")[0]
    if not is_canonical_path(path):
        return 400
    return 200 if any(PathPattern.parse(pattern).matches(path) for pattern in PATTERNS) else 403


@pytest.fixture(scope="module")
def peer(sidecars: Sidecars) -> Iterator[Connection]:
    net = loopback(os.getpid() + 7)
    the_mesh = mesh(
        [service(PAYMENTS, v1=[net + "1"]), service(WEB, v1=[net + "2"])],
        (PAYMENTS, rule(PAYMENTS, methods=("GET",), paths=PATTERNS)),
    )
    with running(the_mesh, sidecars, only={PAYMENTS}) as world:
        found = the_mesh.services[PAYMENTS].versions[0].endpoints[0]
        with world.peer_of(found, WEB) as connection:
            yield connection


def test_the_proxy_and_the_model_agree(peer: Connection) -> None:
    wanted = {target: expected(target) for target in targets()}
    assert {list(wanted.values()).count(status) for status in (200, 400, 403)}.isdisjoint(range(30))
    got = {target: peer.send("GET", target).status for target in wanted}
    assert {target: (got[target], wanted[target]) for target in wanted if got[target] != wanted[target]} == {}


def test_what_is_served_arrives_unchanged(peer: Connection) -> None:
    for target in targets():
        if expected(target) == 200:
            assert peer.send("GET", target).body["path"] == target
