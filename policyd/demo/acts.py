"""The acts of the story.

Each makes one commit or call as a person would, waits for what should follow, and says in one sentence what happened.
An act that ends otherwise raises, and the story says so.
"""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import httpx

from policyd.base.clock import Clock
from policyd.base.errors import Stalled
from policyd.demo.client import Json, release_of, weight_of
from policyd.demo.world import World
from policyd.model.names import DEFAULT_NAMESPACE, Name, spiffe_id
from policyd.model.node import nodes

GOOD, BAD = ("catalog", "v2"), ("checkout", "v2")
"""The canary that is well, and the one whose application fails one answer in five."""
FAILING = 0.2
OPENED = "payments"
LEFT_ALONE = ("recommendations", "v2")
"""The canary that goes on by itself while nobody is at the wheel."""
TAKEN = ("payments", 15_007)
"""The service on whose last host a port is taken, and the port that the mesh would move to."""
KILLED, STANDBY = "recommendations", "bestsellers"
"""The service of which every instance is killed, and the one that it names in `failover`."""
_ROUNDS = 10
"""How many times all sidecars are read before one that does not answer spoils the map."""
_IN_A_ROW = 3
"""How many answers of the same service show where calls go now."""
_REROUTED_S = 40.0
"""The longest that it may take until calls go where they should."""
_NOBODY_S = 2.0
"""How long there is no controller: long enough to see that requests do not need one."""


@dataclass(slots=True)
class Story:
    """What one act leaves for the next: the commits that were made."""

    world: World
    look: Callable[[Json], None]
    clock: Clock
    first_answers: Callable[[], Awaitable[None]]
    """Return when web's calls are answered, and let the callers come."""
    good_commit: str = ""
    bad_commit: str = ""
    port_commit: str = ""
    opened_commit: str = ""

    async def pause(self, seconds: float) -> None:
        """Let time pass under load."""
        await self.clock.sleep(seconds)

    async def until(self, what: str, so: Callable[[Json], object], within_s: float) -> Json:
        """Wait for a status, with the screen kept up to date."""
        return await self.world.client.until(what, so, within_s=within_s, look=self.look)


@dataclass(frozen=True, slots=True)
class Act:
    """A part of the story: `name` for the report, `title` for the screen."""

    name: str
    title: str
    play: Callable[[Story], Awaitable[str]]


async def goes_live(story: Story) -> str:
    """The first commit: every proxy connects, is configured, and traffic flows."""
    commit = story.world.repository.commit("the shop")
    await story.world.start_sidecars()
    status = await story.until("every proxy in sync", lambda s: s["head"] == commit and all_in_sync(s), 60)
    await story.first_answers()
    await story.until("traffic on every edge", lambda s: rate(s, "catalog") > 1 and rate(s, "payments") > 1, 30)
    services, proxies = len(status["services"]), len(status["nodes"])
    return f"{services} services live on {proxies} Envoys at {commit[:10]}, every call over mutual TLS"


async def good_canary(story: Story) -> str:
    """One line says v2; the split climbs, the SLOs hold, it is promoted."""
    service, version = GOOD
    story.good_commit = story.world.repository.serve(service, version)
    seen: list[float] = []

    def promoted(status: Json) -> bool:
        weight = weight_of(status, service, version)
        if weight and (not seen or seen[-1] != weight):
            seen.append(weight)
        release = release_of(status, service, story.good_commit)
        if release is not None and release["phase"] == "aborted":
            raise Stalled(f"the good canary was aborted: {release['reason']}")
        return release is not None and release["phase"] == "promoted"

    await story.until(f"{service} {version} promoted", promoted, 180)
    climbed = " -> ".join(f"{weight:g}" for weight in seen)
    if len(seen) < 4:
        raise Stalled(f"the canary was promoted after {climbed} % only")
    return f"{service} {version} climbed {climbed} % and was promoted; its SLOs held at every step"


async def bad_canary(story: Story) -> str:
    """The same one line for a version that fails one answer in five: back at the first stage."""
    service, version = BAD
    story.bad_commit = story.world.repository.serve(service, version)

    def back(status: Json) -> Json | None:
        release = release_of(status, service, story.bad_commit)
        if release is not None and release["phase"] == "promoted":
            raise Stalled("the bad canary was promoted")
        gone = release is not None and release["phase"] == "aborted" and not weight_of(status, service, version)
        return release if gone else None

    status = await story.until(f"{service} {version} taken back", back, 180)
    release = back(status)
    assert release is not None
    if release["stage"] != 1:
        raise Stalled(f"the bad canary came as far as stage {release['stage']}")
    found = release["evidence"]
    return (
        f"{service} {version} went back at its first stage: {found['canary_errors']} of {found['canary_requests']}"
        f" requests failed against {found['stable_errors']} of {found['stable_requests']} on v1"
        f" (e-value {found['e_value']:.0f}, limit {found['e_limit']:.0f}); quarantined"
    )


async def killed_controller(story: Story) -> str:
    """`kill -9` in the middle of a canary: requests flow on, and the next controller takes the same stage up."""
    service, version = LEFT_ALONE
    commit = story.world.repository.serve(service, version)

    def at_first_stage(status: Json) -> bool:
        release = release_of(status, service, commit)
        return release is not None and release["stage"] == 1 and weight_of(status, service, version) > 0

    before = release_of(await story.until("the first stage", at_first_stage, 60), service, commit)
    assert before is not None
    await story.world.kill_controller()
    await story.pause(_NOBODY_S)
    await story.world.start_controller()
    status = await story.until("the controller back", lambda s: release_of(s, service, commit), 60)
    after = release_of(status, service, commit)
    assert after is not None
    if (after["id"], after["stage"], after["weights"]) != (before["id"], before["stage"], before["weights"]):
        raise Stalled(f"{before['id']} was at stage {before['stage']}, {after['id']} is at stage {after['stage']}")

    def promoted(status: Json) -> bool:
        release = release_of(status, service, commit)
        if release is not None and release["phase"] == "aborted":
            raise Stalled(f"the canary was aborted: {release['reason']}")
        return release is not None and release["phase"] == "promoted"

    await story.until(f"{service} {version} promoted", promoted, 120)
    return (
        f"kill -9 at {before['stage_text']}: requests flowed on without a controller; the next one took"
        f" {before['id']} up at {after['stage_text']} and promoted it"
    )


async def refused_by_a_proxy(story: Story) -> str:
    """A change that one Envoy really refuses, since a port is taken on its host: everyone goes back."""
    service, port = TAKEN
    before = snapshots(await story.world.client.status())
    with taken(story.world.addresses(service)[-1], port):
        commit = story.port_commit = story.world.repository.listen(port)
        status = await story.until(
            "the change taken back", lambda s: phase_of_settings(s, commit) == "aborted" and all_in_sync(s), 60
        )
    if snapshots(status) != before:
        raise Stalled("not every proxy runs again what it ran before")
    release = next(r for r in status["releases"] if r["commit"] == commit)
    return f"moving the inbound port: {release['reason']}. All {len(before)} proxies run what they ran before"


async def dangerous_commit(story: Story) -> str:
    """A rule that lets everyone in is refused, and nothing that runs is touched."""
    before = await story.world.client.status()
    story.world.repository.replace(
        f"services/{OPENED}.yaml",
        *opened(story.world.repository.path.joinpath(f"services/{OPENED}.yaml").read_text()),
    )
    commit = story.opened_commit = story.world.repository.commit(f"{OPENED}: let everyone in, we are in a hurry")
    status = await story.until(
        "the commit judged", lambda s: s["commit"] is not None and s["commit"]["commit"] == commit, 30
    )
    if status["commit"]["taken"]:
        raise Stalled("the dangerous commit was taken")
    if snapshots(status) != snapshots(before):
        raise Stalled("the refused commit changed what proxies run")
    errors = [f for f in status["commit"]["findings"] if f["severity"] == "error"]
    first = errors[0]
    where = f"{first['file']}:{first['line']}:{first['column']}"
    return f"refused with {len(errors)} error(s); {where} {first['code']}: {first['message']}. No proxy noticed"


async def denied_call(story: Story) -> str:
    """A call that no rule allows is denied by the real proxy, and the reason can be asked for."""
    path = "/v1/charges"
    async with httpx.AsyncClient(proxy=story.world.proxy("web"), trust_env=False) as web:
        reply = await web.post(f"http://{OPENED}{path}")
    if reply.status_code != 403:
        raise Stalled(f"web's call to {OPENED} was answered {reply.status_code}, not 403")
    web_id = spiffe_id(story.world.mesh().settings.trust_domain, Name(DEFAULT_NAMESPACE, "web"))
    answer = await story.world.client.explain(web_id, OPENED, "POST", path)
    if answer["allow"]:
        raise Stalled("the proxy denied what the decision allows")
    return f"web -> POST {OPENED}{path}: 403 by Envoy; explained: {'; '.join(answer['reasons'][:2])}"


async def failover(story: Story) -> str:
    """`kill -9` of every instance: calls go on at the service that is named in `failover`, and come back."""
    world, clock = story.world, story.clock
    killed = [node.id for node in nodes(world.mesh()) if node.service.name == KILLED]
    for node_id in killed:
        await world.sidecars.kill(node_id)
    began = clock.monotonic()
    await answered_by(story, STANDBY)
    led_on = clock.monotonic() - began
    await story.pause(_NOBODY_S)
    for node_id in killed:
        await world.start_sidecar(node_id)
    await story.until("the killed ones in sync", all_in_sync, 60)
    began = clock.monotonic()
    await answered_by(story, KILLED)
    back = clock.monotonic() - began
    return (
        f"kill -9 of all {len(killed)} sidecars of {KILLED}: after {led_on:.1f} s web's calls were answered by"
        f" {STANDBY}, by a rule of its own; {back:.1f} s after the sidecars were in sync again, by {KILLED}"
    )


async def answered_by(story: Story, service: str) -> None:
    """Return when three of web's calls to `KILLED` in a row are answered by `service`; none may fail meanwhile."""
    end = story.clock.monotonic() + _REROUTED_S
    async with httpx.AsyncClient(proxy=story.world.proxy("web"), trust_env=False) as web:
        in_a_row = 0
        while in_a_row < _IN_A_ROW:
            reply = await web.get(f"http://{KILLED}/v1/recommendations")
            if reply.status_code != 200:
                raise Stalled(f"web's call to {KILLED} was answered {reply.status_code}: {reply.text[:200]}")
            in_a_row = in_a_row + 1 if reply.json()["service"] == service else 0
            if story.clock.monotonic() > end:
                raise Stalled(f"after {_REROUTED_S:.0f} s {service} does not answer web's calls to {KILLED}")
            await story.pause(0.05)


async def revert(story: Story) -> str:
    """`git revert`: both refused commits, the bad canary and the promoted one are taken back, without analysis."""
    repository, (good, version), (bad, _) = story.world.repository, GOOD, BAD
    repository.revert(story.opened_commit)
    repository.revert(story.port_commit)
    repository.revert(story.bad_commit)
    commit = repository.revert(story.good_commit)

    def restored(status: Json) -> bool:
        settled = all(release["phase"] in {"promoted", "aborted", "superseded"} for release in status["releases"])
        whole = all(item["versions"] and not item["diverged"] for item in status["services"])
        return bool(status["head"] == commit and settled and whole and not weight_of(status, good, version))

    status = await story.until("the mesh as it was", restored, 60)
    if weight_of(status, bad, "v1") != 100:
        raise Stalled(f"{bad} is not back at v1")
    release = release_of(status, good, commit)
    known = release is not None and release["known_good"]
    how = "known good, so without analysis" if known else "after analysis"
    return f"four reverts: {good} back at v1 ({how}), {bad}'s quarantine gone, {OPENED} as it was"


async def map_of_the_shop(story: Story) -> str:
    """Every edge that carried requests, as its callers saw it, and those that rules allow and nobody ever used."""
    found = await story.world.client.service_map()
    for _ in range(_ROUNDS):
        if not found["not_read"]:
            break
        # Whoever was not read in the last round cannot be said to be quiet; the next round is a tick away.
        await story.pause(1.0)
        found = await story.world.client.service_map()
    used = [edge for edge in found["edges"] if edge["traffic"]["requests"]]
    never = [edge for edge in found["edges"] if edge["unused"] and not edge["ever_used"]]
    if not used or not never:
        raise Stalled(f"{len(used)} edges are used and {len(never)} are not", hint=f"not read: {found['not_read']}")
    lines = [f"{_ends(edge)}  {_traffic(edge['traffic'])}, mTLS, by {_rules(edge)}" for edge in used]
    lines += [f"{_ends(edge)}  allowed by {_rules(edge)}, and never used" for edge in never]
    return "\n      ".join((f"{len(used)} edges carry requests, {len(never)} allowed ones never did:", *lines))


def _ends(edge: Json) -> str:
    return " -> ".join(edge[end].removeprefix(f"{DEFAULT_NAMESPACE}/") for end in ("caller", "callee"))


def _rules(edge: Json) -> str:
    return ", ".join(rule.removeprefix(f"{DEFAULT_NAMESPACE}/") for rule in edge["rules"]) or "no rule"


def _traffic(seen: Json) -> str:
    timed = "" if seen["p50_ms"] is None else f", p50 {seen['p50_ms']:.1f} ms, p99 {seen['p99_ms']:.1f} ms"
    return f"{seen['requests_per_s']:.1f}/s, {100 * seen['error_share']:.1f} % errors{timed}"


ACTS: tuple[Act, ...] = (
    Act("first commit", "The first commit goes live", goes_live),
    Act("good canary", "A good canary: catalog v1 -> v2, one line", good_canary),
    Act("bad canary", "A bad canary: checkout v2 fails one answer in five", bad_canary),
    Act("killed controller", "kill -9 of the controller in the middle of a canary", killed_controller),
    Act("refused by a proxy", "A change that one Envoy refuses: a port is taken on its host", refused_by_a_proxy),
    Act("dangerous commit", "A commit opens payments to everyone", dangerous_commit),
    Act("denied call", "web calls payments, which no rule allows", denied_call),
    Act("failover", "Every instance of recommendations is killed", failover),
    Act("revert", "git revert, four times", revert),
    Act("map", "The map: who may call whom, who does, and which rules nobody needs", map_of_the_shop),
)


@contextlib.contextmanager
def taken(address: str, port: int) -> Iterator[None]:
    """While this lasts, another program listens there."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        # Connections of the one that listened here before may still be closing.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen(1)
        yield


def phase_of_settings(status: Json, commit: str) -> str:
    """The phase of the change of mesh settings that a commit brought; empty before there is one."""
    found = [r["phase"] for r in status["releases"] if r["unit"] == "settings" and r["commit"] == commit]
    return str(found[-1]) if found else ""


def opened(text: str) -> tuple[str, str]:
    """The first access rule's `from` in a file, and the same letting everyone in."""
    found = re.search(r"(?m)^  from: .*$", text)
    if found is None:
        raise Stalled("the file has no access rule to open")
    return found[0], '  from: ["*"]'


def all_in_sync(status: Json) -> bool:
    """Whether every proxy is connected and has acknowledged what it should run."""
    found = status["nodes"]
    return bool(found) and all(node["connected"] and node["in_sync"] for node in found)


def rate(status: Json, service: str) -> float:
    """Requests per second that a service gets."""
    return sum(
        float(version["requests_per_s"])
        for item in status["services"]
        if item["service"].endswith(f"/{service}")
        for version in item["versions"]
    )


def snapshots(status: Json) -> dict[str, str]:
    """What each proxy runs, by content."""
    return {node["node"]: node["snapshot"] for node in status["nodes"]}
