"""Cost follows the change: what one-file commits among 1,000 services really take, counted from file to proxy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from policyd.guardrails.team import team_rules
from policyd.intents import MemoryTree
from policyd.testing import large
from tests.sim.chain import Chain, Cost, running

COUNT = 1_000
NUMBER = 7
"""The service whose file is edited; it alone has two versions, with an instance each."""
OURS = f"services/{large.name(NUMBER)}.yaml"
NEW = f"services/{large.name(COUNT)}.yaml"
MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: counts, owner: counts}
spec: {trustDomain: counts.example, strategy: swift}
"""
STRATEGY = """\
apiVersion: policyd.dev/v1alpha1
kind: RolloutStrategy
metadata: {name: swift, owner: counts}
spec: {waves: [{proxies: 100%}], hold: 0s}
"""
TEAM = """\
package shop.names

deny contains "nobody is a name" if {
	some service in input.documents.Service
	service.name == "nobody"
}
"""
NAME = large.name(NUMBER)
DOCUMENTS = 2 * COUNT + 2
OF_ONE_FILE = 9
"""Values of the model that the two documents of a service's file become, their places and the lists they are in."""
NOTHING: frozenset[str] = frozenset()


def address(number: int, version: int = 1) -> str:
    return large.address(f"10.{version}", number)


def service(number: int) -> str:
    versions = f"v1: {{endpoints: [{address(number)}]}}"
    if number == NUMBER:
        versions += f", v2: {{endpoints: [{address(number, 2)}]}}"
    return f"""\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {{name: {large.name(number)}, owner: counts}}
spec:
  port: 8080
  versions: {{{versions}}}
  version: v1
  healthCheck: {{path: /healthz}}
  slo: {{availability: 99.9, window: 30d}}
{large.reads(number, COUNT)}"""


def node(number: int, version: int = 1) -> str:
    return f"default/{large.name(number)}/v{version}/{address(number, version)}"


def callers(number: int) -> frozenset[str]:
    """The nodes that call a service."""
    return frozenset(node(int(name[1:])) for name in large.callers(number, COUNT))


BASE: Mapping[str, str] = {
    "mesh.yaml": MESH,
    "swift.yaml": STRATEGY,
    **{f"services/{large.name(number)}.yaml": service(number) for number in range(COUNT)},
}


def outbound(number: int) -> set[str]:
    """The routes of a service's callers, as `node name`."""
    return {f"{caller} outbound/{caller.rpartition('/v1/')[0]}" for caller in callers(number)}


class Commits:
    """Commits to one running chain. Each is followed by its revert, which comes out of the memories."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain

    async def edit(self, old: str, new: str, path: str = OURS) -> Cost:
        assert old in BASE[path]
        return await self.replaced({path: BASE[path].replace(old, new)})

    async def replaced(self, files: Mapping[str, str], without: str = "") -> Cost:
        """Commit, count, and go back."""
        kept = {path: text for path, text in BASE.items() if path != without}
        cost = await self._chain.commit({**kept, **files})
        back = await self._chain.commit(BASE)
        assert (back.parsed, back.judged, back.asked) == (0, 0, 0)
        assert (back.moved, len(back.nodes)) == (cost.moved, len(cost.nodes))
        assert back.compiled <= 1  # the barrier at which both sides' rules hold is another one on the way back
        return cost


async def test_one_file_commits_among_a_thousand_services(tmp_path: Path) -> None:
    rules, _ = team_rules(MemoryTree({"rego/names.rego": TEAM}))
    async with running(tmp_path, vouched=[rules.digest]) as chain:
        first = await chain.commit(BASE)
        assert (first.parsed, first.judged, first.asked) == (COUNT + 2, DOCUMENTS, COUNT)
        assert first.nodes == {*map(node, range(COUNT)), node(NUMBER, 2)}
        assert await chain.commit(BASE) == Cost(0, 0, 0, 0, NOTHING, NOTHING, (), ())
        commits = Commits(chain)
        for part in (_access_rule, _version, _endpoint, _what_no_proxy_sees, _rename, _service_comes_and_goes):
            await part(commits)
        # A team's rules may read all documents: they are asked about the whole commit, and nothing else happens.
        taught = await chain.commit({**BASE, "rego/names.rego": TEAM})
        assert taught == Cost(0, DOCUMENTS, 0, 0, NOTHING, NOTHING, (), ())


async def _access_rule(commits: Commits) -> None:
    """The routes of its destination, twice: with what either side allows, then as the commit says."""
    cost = await commits.edit("/v1/items/{id}", "/v1/things")
    assert (cost.parsed, cost.judged, cost.compiled, cost.asked) == (1, 1, 2, 1)
    assert cost.lowered <= OF_ONE_FILE
    assert cost.moved == {f"access {NAME}"}
    assert cost.nodes == {node(NUMBER), node(NUMBER, 2)}
    assert cost.pushed == tuple(f"{each} inbound/default/{NAME}" for each in sorted(cost.nodes) for _ in range(2))
    assert not cost.withdrawn


async def _version(commits: Commits) -> None:
    """The routes of its callers."""
    cost = await commits.edit("version: v1", "version: v2")
    assert (cost.parsed, cost.judged, cost.compiled, cost.asked) == (1, 1, large.CALLERS, 1)
    assert cost.lowered <= OF_ONE_FILE
    assert cost.moved == {f"service {NAME}"}
    assert cost.nodes == callers(NUMBER)
    assert cost.pushed == tuple(sorted(outbound(NUMBER)))
    assert not cost.withdrawn


async def _endpoint(commits: Commits) -> None:
    """Its callers get the instances of the version and nothing else; the new proxy, what the old one had."""
    cost = await commits.edit(address(NUMBER), "10.9.9.9")
    new = f"default/{NAME}/v1/10.9.9.9"
    assert (cost.parsed, cost.judged, cost.asked) == (1, 1, 1)
    assert cost.compiled <= 4  # the endpoints, two listeners and the application of the new instance
    assert cost.lowered <= OF_ONE_FILE
    assert cost.moved == {f"service {NAME}"}
    assert cost.nodes == {new, *callers(NUMBER)}
    theirs = tuple(each for each in cost.pushed if not each.startswith(new))
    assert theirs == tuple(f"{caller} default/{NAME}/v1" for caller in sorted(callers(NUMBER)))
    assert not cost.withdrawn


async def _what_no_proxy_sees(commits: Commits) -> None:
    """A comment, an SLO, a strategy: read, judged where it says something else, and no object of the mesh moves."""
    edits = {
        ("apiVersion", "# a note\napiVersion", OURS): 0,
        ("99.9", "99.5", OURS): 1,
        ("0s", "1s", "swift.yaml"): 1,
    }
    for edit, judged in edits.items():
        cost = await commits.edit(*edit)
        assert cost.lowered <= OF_ONE_FILE
        assert cost == Cost(1, judged, cost.lowered, 0, NOTHING, NOTHING, (), ())


async def _rename(commits: Commits) -> None:
    """The same content elsewhere: rules may read the path of a document."""
    cost = await commits.replaced({"services/renamed.yaml": BASE[OURS]}, without=OURS)
    assert cost.lowered <= OF_ONE_FILE
    assert cost == Cost(1, 2, cost.lowered, 0, NOTHING, NOTHING, (), ())


async def _service_comes_and_goes(commits: Commits) -> None:
    """Callers get its cluster, its instances and a route; the way back is the revert, a file that is deleted."""
    cost = await commits.replaced({NEW: service(COUNT)})
    name, own = large.name(COUNT), node(COUNT)
    assert (cost.parsed, cost.judged, cost.asked) == (1, 2, 1)
    assert cost.lowered <= OF_ONE_FILE + COUNT + 1  # whether what a rule names is there is asked of each rule again
    assert cost.moved == {f"service {name}", f"access {name}"}
    assert cost.nodes == {own, *callers(COUNT)}
    theirs = {each for each in cost.pushed if not each.startswith(own)}
    assert theirs == outbound(COUNT) | {f"{caller} default/{name}/v1" for caller in callers(COUNT)}
    assert cost.compiled <= large.CALLERS + 8  # a route for each caller; cluster, instances, and its own proxy
    assert not cost.withdrawn
