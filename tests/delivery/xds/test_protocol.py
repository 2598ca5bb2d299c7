"""One test per rule of the protocol, each through a real gRPC stream and a client that does nothing by itself."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import pytest
from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
from structlog.testing import capture_logs

from policyd.base.errors import Stalled, UsageError
from policyd.delivery.acknowledged import AcknowledgedSets
from policyd.delivery.ledger import Answered, Converged, Ledger, Standing
from policyd.delivery.outcome import NO_ANSWER, Applied, Refusal, Refused
from policyd.delivery.resource_types import CLUSTER, ENDPOINT, LISTENER, ROUTE, SECRET
from policyd.delivery.snapshot import NodeSnapshot, kept
from policyd.delivery.xds.conversation import empty_assignment
from policyd.delivery.xds.server import OPTIONS, XdsServer
from policyd.testing.clock import FakeClock

from .conftest import PATIENCE_S, RawClient, Response, World, cluster, endpoints, plain

NODE = "shop/web/v1/127.0.0.1"
A1, A2 = cluster("a", eds=False), cluster("a", connect_s=2, eds=False)
B1 = cluster("b", eds=False)
KEY = plain(SECRET, "key", b"a private key")


async def begin(world: World, client: RawClient, *types: str) -> None:
    """Subscribe to everything of `types` and acknowledge what comes."""
    for type_url in types:
        await client.send(type_url)
        await client.receive_and_ack()
    await acknowledged(world)


async def acknowledged(world: World) -> None:
    """Wait until the server has read all acknowledgements of the node's snapshot."""
    proxy = world.server.proxy(NODE)
    assert proxy.assigned is not None
    async with asyncio.timeout(PATIENCE_S):
        await proxy.settled(proxy.assigned)


def test_grpc_knows_every_option_of_the_server() -> None:
    """gRPC ignores a name that it does not know; a misspelt ping limit cut idle proxies off once a minute."""
    binary = importlib.util.find_spec("grpc._cython.cygrpc")
    assert binary is not None
    assert binary.origin is not None
    known = Path(binary.origin).read_bytes()
    assert [name for name, _ in OPTIONS if name.encode() not in known] == []


# --- what is sent, and when -------------------------------------------------------------------------------------


async def test_the_version_of_a_resource_is_its_content_hash(world: World) -> None:
    await world.give(A1, B1)
    async with world.client() as client:
        await client.send(CLUSTER)
        assert (await client.receive()).versions == {"a": A1.version, "b": B1.version}


async def test_equal_content_is_not_resent(world: World) -> None:
    await world.give(A1, B1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
        assert isinstance(await world.applying(A1, B1), Applied)
        task = world.applying(A2, B1)
        assert (await client.receive_and_ack()).versions == {"a": A2.version}
        assert isinstance(await task, Applied)
        await client.silence()


async def test_a_node_that_is_not_assigned_stays_connected_and_gets_nothing(world: World) -> None:
    async with world.client() as client:
        await client.send(CLUSTER)
        await world.server.wait_connected([NODE], PATIENCE_S)
        assert world.server.connected() == {NODE}
        assert not world.ledger.record(NODE).known
        task = world.applying(A1)
        assert (await client.receive_and_ack()).names == ["a"]
        assert await task == Applied(frozenset({NODE}))


async def test_a_disconnected_node_does_not_count_and_gets_it_on_return(world: World) -> None:
    assert await world.give(A1) == Applied(frozenset(), absent=frozenset({NODE}))
    async with world.client() as client:
        await client.send(CLUSTER)
        assert (await client.receive_and_ack()).names == ["a"]


async def test_a_node_that_goes_away_while_it_is_waited_for_does_not_hold_up_the_others(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
        task = world.applying(A2)
        await client.receive()
    assert await asyncio.wait_for(task, PATIENCE_S) == Applied(frozenset(), absent=frozenset({NODE}))


async def test_order_is_secrets_clusters_endpoints_listeners_routes(world: World) -> None:
    await world.give(A1, endpoints("a", 1), plain(LISTENER, "l"), plain(ROUTE, "r"), plain(SECRET, "s"))
    async with world.client() as client:
        # Asked for in the opposite order: what is used later waits for what it uses.
        await client.send(ROUTE, subscribe=["r"])
        await client.send(LISTENER)
        await client.send(ENDPOINT, subscribe=["a"])
        await client.send(SECRET, subscribe=["s"])
        await client.send(CLUSTER)
        seen = [(await client.receive_and_ack()).type_url for _ in range(5)]
        assert set(seen[:3]) == {SECRET, CLUSTER, ENDPOINT}
        assert set(seen[3:]) == {LISTENER, ROUTE}


async def test_routes_wait_until_their_clusters_are_acknowledged(world: World) -> None:
    await world.give(A1, plain(LISTENER, "l"), plain(ROUTE, "r", b"1"))
    async with world.client() as client:
        await begin(world, client, CLUSTER, LISTENER)
        await client.send(ROUTE, subscribe=["r"])
        await client.receive_and_ack()
        task = world.applying(A1, B1, plain(LISTENER, "l"), plain(ROUTE, "r", b"2"))
        added = await client.receive()
        assert (added.type_url, added.names) == (CLUSTER, ["b"])
        assert not world.server.proxy(NODE).converged
        await client.ack(added)
        assert (await client.receive_and_ack()).type_url == ROUTE
        assert isinstance(await task, Applied)


async def test_removals_come_last_and_users_before_what_they_use(world: World) -> None:
    await world.give(A1, B1, plain(LISTENER, "l"), plain(LISTENER, "m"))
    async with world.client() as client:
        await begin(world, client, CLUSTER, LISTENER)
        task = world.applying(A1, cluster("c", eds=False), plain(LISTENER, "l", b"2"))
        said = [await client.receive_and_ack() for _ in range(4)]
        assert [(r.type_url, r.names, r.removed) for r in said] == [
            (CLUSTER, ["c"], []),
            (LISTENER, ["l"], []),
            (LISTENER, [], ["m"]),
            (CLUSTER, [], ["b"]),
        ]
        assert isinstance(await task, Applied)


async def test_a_changed_cluster_gets_its_endpoints_again_with_the_same_version(world: World) -> None:
    load = endpoints("a", 1)
    await world.give(cluster("a"), load)
    async with world.client() as client:
        await client.send(CLUSTER)
        first = await client.receive()
        await client.send(ENDPOINT, subscribe=["a"])
        await client.receive_and_ack()
        await client.ack(first)
        await acknowledged(world)
        task = world.applying(cluster("a", connect_s=9), load)
        changed = await client.receive()
        # The proxy acknowledges the cluster only once it is warm, so the endpoints must not wait for that.
        again = await client.receive()
        assert (changed.type_url, again.type_url) == (CLUSTER, ENDPOINT)
        assert again.versions == {"a": load.version}
        await client.ack(again)
        await client.ack(changed)
        assert isinstance(await task, Applied)


async def test_absent_endpoints_are_an_empty_assignment_and_never_a_removal(world: World) -> None:
    await world.give(cluster("a"), endpoints("a", 1))
    async with world.client() as client:
        await client.send(CLUSTER)
        await client.receive_and_ack()
        await client.send(ENDPOINT, subscribe=["a"])
        await client.receive_and_ack()
        await acknowledged(world)
        task = world.applying(A1)
        assert (await client.receive_and_ack()).versions == {"a": A1.version}
        emptied = await client.receive_and_ack()
        assert (emptied.type_url, emptied.removed) == (ENDPOINT, [])
        assert emptied.versions == {"a": empty_assignment("a").version}
        assert isinstance(await task, Applied)
        await client.silence()


# --- what a proxy asks for --------------------------------------------------------------------------------------


async def test_a_first_request_without_names_means_all_clusters_and_listeners(world: World) -> None:
    await world.give(A1, plain(LISTENER, "l"))
    async with world.client() as client:
        await client.send(CLUSTER)
        assert (await client.receive_and_ack()).names == ["a"]
        await client.send(LISTENER)
        assert (await client.receive_and_ack()).names == ["l"]


async def test_a_star_means_all(world: World) -> None:
    await world.give(A1, B1)
    async with world.client() as client:
        await client.send(CLUSTER, subscribe=["*"])
        assert (await client.receive_and_ack()).names == ["a", "b"]


async def test_endpoints_are_never_asked_for_without_names(world: World) -> None:
    await world.give(cluster("a"), endpoints("a", 1))
    async with world.client() as client:
        await client.send(ENDPOINT)
        await client.silence()


async def test_an_empty_subscribe_list_after_an_explicit_name_is_not_a_wildcard(world: World) -> None:
    await world.give(A1, B1)
    async with world.client() as client:
        await client.send(CLUSTER, subscribe=["a"])
        response = await client.receive()
        assert response.names == ["a"]
        await client.ack(response)
        await client.send(CLUSTER)
        await client.silence()


async def test_a_stale_nonce_never_cancels_a_subscription_change(world: World) -> None:
    await world.give(A1, B1)
    async with world.client() as client:
        await client.send(CLUSTER, subscribe=["a"])
        await client.receive_and_ack()
        await client.send(CLUSTER, subscribe=["b"], nonce="never-sent")
        assert (await client.receive_and_ack()).names == ["b"]


async def test_only_an_unsubscription_unsubscribes(world: World) -> None:
    await world.give(A1, B1)
    async with world.client() as client:
        await client.send(CLUSTER, subscribe=["a", "b"])
        await client.receive_and_ack()
        await acknowledged(world)
        await client.send(CLUSTER, unsubscribe=["b"])
        await client.send(CLUSTER, subscribe=["a"])
        assert (await client.receive_and_ack()).names == ["a"]
        world.applying(A2, cluster("b", connect_s=7, eds=False))
        assert (await client.receive_and_ack()).names == ["a"]
        await client.silence()


async def test_a_re_subscription_is_always_answered(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await client.send(CLUSTER, subscribe=["a"])
        await client.receive_and_ack()
        await client.send(CLUSTER, subscribe=["a"])
        assert (await client.receive_and_ack()).versions == {"a": A1.version}


async def test_a_name_dropped_under_a_wildcard_is_sent_again(world: World) -> None:
    await world.give(A1, B1)
    async with world.client() as client:
        await client.send(CLUSTER, subscribe=["*", "a", "gone"])
        first = await client.receive_and_ack()
        assert (first.names, first.removed) == (["a", "b"], ["gone"])
        await client.send(CLUSTER, unsubscribe=["a", "gone"])
        again = await client.receive_and_ack()
        assert (again.names, again.removed) == (["a"], ["gone"])


async def test_unknown_names_are_answered_as_removed_at_once_and_pushed_when_they_appear(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await client.send(CLUSTER, subscribe=["b"])
        answer = await client.receive_and_ack()
        assert (answer.names, answer.removed) == ([], ["b"])
        world.applying(A1, B1)
        assert (await client.receive_and_ack()).names == ["b"]


async def test_an_endpoint_request_never_hangs(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await client.send(ENDPOINT, subscribe=["nobody"])
        assert (await client.receive()).removed == ["nobody"]


async def test_an_unknown_type_is_answered_too(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await client.send("type.googleapis.com/envoy.service.runtime.v3.Runtime", subscribe=["layer"])
        assert (await client.receive()).removed == ["layer"]


# --- reconnects -------------------------------------------------------------------------------------------------


async def test_on_reconnect_only_what_differs_is_sent_and_what_is_stale_removed(world: World) -> None:
    await world.give(A2, B1)
    async with world.client() as client:
        await client.send(CLUSTER, initial={"a": A1.version, "b": B1.version, "old": "0123"})
        changed = await client.receive_and_ack()
        assert (changed.versions, changed.removed) == ({"a": A2.version}, [])
        gone = await client.receive_and_ack()
        assert (gone.names, gone.removed) == ([], ["old"])
        await acknowledged(world)
        assert world.server.proxy(NODE).converged


async def test_on_reconnect_a_name_with_the_right_version_is_no_question(world: World) -> None:
    load = endpoints("a", 1)
    await world.give(cluster("a"), load)
    async with world.client() as client:
        await client.send(CLUSTER, initial={"a": cluster("a").version})
        await client.send(ENDPOINT, subscribe=["a"], initial={"a": load.version})
        await client.silence()
        assert world.server.proxy(NODE).converged
        assert world.server.pushed.responses == 0


async def test_after_a_refusal_and_a_reconnect_the_refused_content_stays_out(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
        task = world.applying(A2)
        await client.nack(await client.receive(), "no `a`")
        assert isinstance(await task, Refused)
        assert (await client.receive()).versions == {"a": A1.version}
    # The proxy reports the version that it acknowledged last, although it may run the refused one.
    async with world.client() as client:
        await client.send(CLUSTER, initial={"a": A1.version})
        assert (await client.receive_and_ack()).versions == {"a": A1.version}
        await client.silence()


async def test_after_a_restart_a_refusal_goes_back_to_what_another_process_was_told(
    world: World, tmp_path: Path
) -> None:
    file = tmp_path / "acknowledged.sqlite"
    await world.give(A1, KEY)
    async with world.client() as client:
        await client.send(SECRET, subscribe=["key"])
        await client.receive_and_ack()
        await begin(world, client, CLUSTER)
        task = world.applying(A1, B1, KEY)
        await client.nack(await client.receive(), "no `b`")
        assert isinstance(await task, Refused)
        sets = AcknowledgedSets(file, world.clock)
        await sets.keep(world.ledger)
        sets.close()
    async with restarted(file) as after:
        await after.give(A2, KEY)
        async with after.client() as client:
            await client.send(SECRET, subscribe=["key"], initial={"key": KEY.version})
            await client.send(CLUSTER, initial={"a": A1.version})
            change = await client.receive()
            # The suspect may be there whatever the proxy reports, so it is taken out again.
            assert (change.versions, change.removed) == ({"a": A2.version}, ["b"])
            await client.nack(change, "no `a`")
            back = await client.receive_and_ack()
            # The key never left memory: it is the one that is assigned now, and not touched.
            assert (back.type_url, back.versions) == (CLUSTER, {"a": A1.version})
            await client.silence()


@asynccontextmanager
async def restarted(file: Path) -> AsyncIterator[World]:
    """Another process that knows what the file knows."""
    clock, ledger = FakeClock(), Ledger()
    sets = AcknowledgedSets(file, clock)
    sets.recall(ledger)
    server = XdsServer("127.0.0.1:0", clock, ledger, keep=lambda: sets.keep(ledger))
    await server.start()
    yield World(server, ledger, clock, [])
    await server.stop()
    sets.close()


async def test_a_node_of_the_mesh_is_no_unknown_node(world: World) -> None:
    with capture_logs() as logs:
        world.server.expect([NODE])
        async with world.client() as client:
            await client.send(CLUSTER)
            await world.server.wait_connected([NODE], PATIENCE_S)
        async with world.client("shop/stranger/v1/127.0.0.9") as client:
            await client.send(CLUSTER)
            await world.server.wait_connected(["shop/stranger/v1/127.0.0.9"], PATIENCE_S)
    assert [entry["node"] for entry in logs] == ["shop/stranger/v1/127.0.0.9"]


async def test_of_two_streams_with_one_node_id_the_newest_wins(world: World) -> None:
    await world.give(A1)
    async with world.client() as older, world.client() as newer:
        await older.send(CLUSTER)
        await older.receive()
        await newer.send(CLUSTER)
        assert (await newer.receive_and_ack()).names == ["a"]
        code, details = await older.ended()
        assert code is grpc.StatusCode.ABORTED
        assert NODE in details
        assert world.server.connected() == {NODE}


# --- refusals and silence ---------------------------------------------------------------------------------------


async def test_a_nack_is_error_detail_and_brings_back_the_last_acknowledged_set(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
        task = world.applying(A2, B1)
        bad = await client.receive()
        assert bad.names == ["a", "b"]
        sent = world.server.pushed.responses
        await client.nack(bad, "Error adding cluster(s) b: no such thing")
        back = await client.receive_and_ack()
        # All of the refused response is uncertain, its good part too.
        assert (back.versions, back.removed) == ({"a": A1.version}, ["b"])
        outcome = await task
        assert isinstance(outcome, Refused)
        assert outcome.first.node_id == NODE
        assert outcome.first.type_url == CLUSTER
        assert outcome.first.resource == "b"
        assert "no such thing" in outcome.first.error_detail
        assert outcome.first.proxy == "envoy 1.40.0"
        assert world.ledger.record(NODE).refusal == outcome.first
        assert world.server.refusals() == {NODE: outcome.first}
        await client.silence()
        assert world.server.pushed.responses == sent + 1  # one round trip: a response, and its acknowledgement


async def test_a_refused_listener_goes_back_in_place_and_is_never_taken_away(world: World) -> None:
    """A removal on the way back would close its port, for it belongs to a later step than clusters."""
    before, after = plain(LISTENER, "l", b"1"), plain(LISTENER, "l", b"2")
    await world.give(A1, before)
    async with world.client() as client:
        await begin(world, client, CLUSTER, LISTENER)
        task = world.applying(A1, after)
        await client.nack(await client.receive(), "listener l: cannot bind")
        assert isinstance(await task, Refused)
        back = await client.receive_and_ack()
        assert (back.versions, back.removed) == ({"l": before.version}, [])
        await client.silence()


async def test_a_refused_assignment_is_not_pushed_again_until_it_changes(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
        task = world.applying(A2)
        await client.nack(await client.receive(), "no")
        first = await task
        await client.receive_and_ack()
        assert await world.applying(A2) == first
        better = world.applying(cluster("a", connect_s=3, eds=False))
        assert (await client.receive_and_ack()).names == ["a"]
        assert isinstance(await better, Applied)
        assert world.ledger.record(NODE).refusal is None


async def test_a_first_set_that_is_refused_leaves_only_what_was_acknowledged(world: World) -> None:
    await world.give(A1, plain(LISTENER, "l"))
    async with world.client() as client:
        await client.send(CLUSTER)
        await client.receive_and_ack()
        await client.send(LISTENER)
        await client.nack(await client.receive(), "cannot bind")
        assert (await client.receive_and_ack()).removed == ["l"]
        await client.silence()


async def test_a_refusal_of_what_was_good_before_is_not_repeated_for_ever(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
    async with world.client() as client:
        await client.send(CLUSTER)
        await client.nack(await client.receive(), "not this time")
        await client.silence()
        assert world.server.proxy(NODE).refusal is not None


async def test_what_gets_neither_ack_nor_nack_is_taken_out_on_the_same_stream(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
        task = world.applying(A1, B1, deadline_s=5.0)
        silent = await client.receive()
        assert silent.names == ["b"]
        world.clock.advance(5.0)
        outcome = await task
        assert isinstance(outcome, Refused)
        assert outcome.first == Refusal(NODE, world_digest(world), CLUSTER, ("b",), NO_ANSWER, "envoy 1.40.0")
        assert (await client.receive()).removed == ["b"]
        assert world.ledger.record(NODE).entries[CLUSTER, "b"].standing in {Standing.SILENT, Standing.SENT}
        # A late answer about what was taken out changes nothing.
        await client.ack(silent)
        await client.silence()
        assert world.server.proxy(NODE).refusal is not None


def world_digest(world: World) -> str:
    assigned = world.server.proxy(NODE).assigned
    assert assigned is not None
    return assigned.digest


async def test_a_returning_node_has_a_deadline_too(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await client.send(CLUSTER)
        await client.receive()
        world.clock.advance(30.0)
        assert (await client.receive()).removed == ["a"]
        assert world.server.proxy(NODE).refusal is not None


async def test_a_fresh_process_is_asked_again_where_the_one_before_kept_silent(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
        task = world.applying(A2)
        await client.receive()
        world.clock.advance(5.0)
        assert (await task).first.silent
    async with world.client() as client:
        await client.send(CLUSTER)
        assert (await client.receive_and_ack()).versions == {"a": A2.version}
        await acknowledged(world)
        assert world.ledger.record(NODE).refusal is None


async def test_a_fresh_process_is_asked_again_what_the_one_before_refused(world: World) -> None:
    """Its port may be free by now, or the program another one."""
    await world.give(A1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
        task = world.applying(A2)
        await client.nack(await client.receive(), "cannot bind")
        assert isinstance(await task, Refused)
        await client.receive_and_ack()
    async with world.client() as client:
        await client.send(CLUSTER)
        assert (await client.receive_and_ack()).versions == {"a": A2.version}
        await acknowledged(world)
        assert world.server.refusals() == {}


async def test_two_callers_who_want_the_same_get_the_same_result(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
        one, other = world.applying(A2), world.applying(A2)
        await client.receive_and_ack()
        assert await one == await other == Applied(frozenset({NODE}))


async def test_a_later_assignment_supersedes_an_earlier_one(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
        earlier = world.applying(A2)
        response = await client.receive()
        later = world.applying(A1)
        back = await client.receive()
        assert await earlier == Applied(frozenset(), superseded=frozenset({NODE}))
        await client.ack(response)
        await client.ack(back)
        assert await later == Applied(frozenset({NODE}))


# --- the door ---------------------------------------------------------------------------------------------------


async def test_everything_but_delta_ads_is_refused_with_words_that_help(world: World) -> None:
    async with grpc.aio.insecure_channel(world.server.address) as channel:
        stub = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel)
        call = stub.StreamAggregatedResources(iter([discovery_pb2.DiscoveryRequest(type_url=CLUSTER)]))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call.read()
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "DELTA_GRPC" in (caught.value.details() or "")


async def test_a_stream_without_a_node_id_is_refused(world: World) -> None:
    async with world.client(node_id="") as client:
        await client.send(CLUSTER)
        code, details = await client.ended()
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "node.id" in details


@pytest.mark.parametrize("address", ["0.0.0.0:18000", "[::]:18000", "10.0.0.1:18000", "localhost.example:1", "x"])
def test_an_address_that_others_can_reach_is_refused(address: str) -> None:
    with pytest.raises(UsageError):
        XdsServer(address, FakeClock(), Ledger())


async def test_a_taken_port_needs_a_person(world: World) -> None:
    with pytest.raises(Stalled):
        await XdsServer(world.server.address, FakeClock(), Ledger()).start()


async def test_a_large_first_request_is_taken(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        known = {f"{'cluster' * 10}-{number}": "0123456789abcdef" for number in range(60_000)}  # more than 4 MiB
        await client.send(CLUSTER, initial={"a": A1.version, **known})
        assert len((await client.receive()).removed) == 60_000


# --- what others can see ----------------------------------------------------------------------------------------


async def test_every_answer_is_observed_with_its_latency(world: World) -> None:
    await world.give(A1)
    async with world.client() as client:
        await client.send(CLUSTER)
        response: Response = await client.receive()
        world.clock.advance(0.25)
        await client.ack(response)
        await acknowledged(world)
    (answer,) = [event for event in world.events if isinstance(event, Answered)]
    assert (answer.type_url, answer.names, answer.seconds) == (CLUSTER, ("a",), 0.25)
    (done,) = [event for event in world.events if isinstance(event, Converged)]
    assert done.node_id == NODE
    assert world.ledger.record(NODE).acknowledged is world.server.proxy(NODE).assigned


async def test_pushed_resources_and_bytes_are_counted(world: World) -> None:
    await world.give(A1, B1)
    async with world.client() as client:
        await begin(world, client, CLUSTER)
    assert (world.server.pushed.responses, world.server.pushed.resources) == (1, 2)
    assert world.server.pushed.bytes > len(A1.body) + len(B1.body)


async def test_a_node_that_left_the_mesh_is_forgotten(world: World) -> None:
    await world.give(A1)
    world.server.forget(NODE)
    assert NODE not in world.ledger.records


# --- strangers, and what a proxy keeps ---------------------------------------------------------------------------


async def test_a_proxy_with_configuration_that_nobody_remembers_is_sent_nothing(world: World) -> None:
    world.server.withhold(True)
    await world.give(A1)
    async with world.client() as client:
        await client.send(CLUSTER, initial={"a": A2.version, "old": "0123"})
        await world.server.wait_present([NODE], PATIENCE_S)
        assert (world.server.connected(), world.server.holders()) == (frozenset(), frozenset({NODE}))
        # It counts as away: nobody waits for it, and no deadline turns it back.
        assert await world.applying(B1) == Applied(frozenset(), absent=frozenset({NODE}))
        await client.silence()
        assert world.server.proxy(NODE).reported() == {(CLUSTER, "a"): A2.version, (CLUSTER, "old"): "0123"}


async def test_a_stranger_that_is_admitted_is_served_from_its_next_assignment_on(world: World) -> None:
    world.server.withhold(True)
    await world.give(A1)
    async with world.client() as client:
        await client.send(CLUSTER, initial={"a": A2.version, "old": "0123"})
        await world.server.wait_present([NODE], PATIENCE_S)
        world.server.withhold(False)
        assert (world.server.connected(), world.server.holders()) == (frozenset({NODE}), frozenset())
        task = world.applying(A1)
        assert (await client.receive_and_ack()).versions == {"a": A1.version}
        assert (await client.receive_and_ack()).removed == ["old"]
        assert await task == Applied(frozenset({NODE}))


async def test_who_holds_nothing_or_is_remembered_is_no_stranger(world: World) -> None:
    world.server.withhold(True)
    await world.give(A1)
    async with world.client() as client:  # holds nothing
        await begin(world, client, CLUSTER)
    await world.server.wait_disconnected([NODE])
    async with world.client() as client:  # holds what it got here
        await client.send(CLUSTER, initial={"a": A1.version})
        await world.server.wait_connected([NODE], PATIENCE_S)
        assert world.server.holders() == frozenset()


async def test_what_another_process_remembers_is_held(world: World) -> None:
    world.ledger.recall(NODE, NodeSnapshot.of(NODE, [A1]), ())
    world.ledger.recall("shop/new/v1/127.0.0.2", NodeSnapshot.of("shop/new/v1/127.0.0.2", []), ())
    assert world.server.holders() == {NODE}
    async with world.client() as client:
        await client.send(CLUSTER, initial={"a": A1.version})
        await world.server.wait_connected([NODE], PATIENCE_S)  # nothing is withheld from it
        task = world.applying(A1)
        assert await task == Applied(frozenset({NODE}))
    assert world.server.holders() == frozenset()


async def test_what_a_proxy_keeps_is_neither_sent_nor_removed(world: World) -> None:
    await world.give(A1, kept(SECRET, "key"))
    async with world.client() as client:
        await client.send(CLUSTER, initial={"a": A2.version})
        await client.send(SECRET, subscribe=["key"], initial={"key": KEY.version})
        assert (await client.receive_and_ack()).versions == {"a": A1.version}
        await acknowledged(world)
        await client.silence()


async def test_what_was_kept_is_replaced_once_there_is_something_to_send(world: World) -> None:
    await world.give(kept(SECRET, "key"))
    async with world.client() as client:
        await client.send(CLUSTER, initial={"a": A1.version})
        assert (await client.receive_and_ack()).removed == ["a"]
        await client.send(SECRET, subscribe=["key"], initial={"key": "0123"})
        task = world.applying(KEY)
        assert (await client.receive_and_ack()).versions == {"key": KEY.version}
        assert isinstance(await task, Applied)
