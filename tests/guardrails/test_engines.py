"""Both engines, the same questions: the same answers, deadlines kept, nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from collections.abc import Awaitable, Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policyd.base.errors import Retry, Stalled, UsageError
from policyd.guardrails.bundle import Bundle, Module, shipped_bundle
from policyd.guardrails.choice import choose, find_opa
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.guardrails.encoding import decode, encode
from policyd.guardrails.managed import ManagedOpa
from policyd.guardrails.opa import OpaEngine
from policyd.guardrails.verdict import reports

NASTY = st.text(max_size=12) | st.sampled_from(
    [
        '"',
        "\\",
        '"]}, "deny": [',
        "\x00\n\x1b",
        "é€😀\u2028",
        "{{ input }}",
        "${x}",
        "%s%d",
        "`",
        "*",
        "/**",
        "\\u0022",
    ]
)
PATHS = st.sampled_from(["/v1", "/**", "/v1/**", "/{id}"]) | NASTY
DAYS = st.sampled_from(
    ["2026-01-01", "2026-11-23T12:00:00Z", "2027-03-31", "2030-01-01T00:00:00+02:00", "2028-02-29"]
)
WAITS = st.sampled_from(["500ms", "2s", "29s", "30s", "5m", "1h"])


def _some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=fields)


IDENTITIES = st.sampled_from(
    ["spiffe://shop.example/ns/a/svc/b", "spiffe://other.example/x", "spiffe://shop.example.evil/x"]
)
SOURCES = (
    NASTY
    | st.just({"anyone": True})
    | st.fixed_dictionaries({"identity": IDENTITIES | st.lists(IDENTITIES, max_size=2)})
)
SPECS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "AccessRule": st.fixed_dictionaries(
        {
            "to": NASTY,
            "from": st.lists(SOURCES, max_size=3),
            "allow": st.lists(
                st.fixed_dictionaries(
                    {
                        "methods": st.lists(st.sampled_from(["GET", "*"]), max_size=2),
                        "paths": st.lists(PATHS, max_size=2),
                    }
                ),
                max_size=2,
            ),
        },
        optional={"mode": st.sampled_from(["observe", "enforce"]), "expires": DAYS},
    ),
    "Service": st.fixed_dictionaries(
        {"version": st.sampled_from(["v1", "v2"]), "versions": st.just({"v1": {"endpoints": ["10.0.0.1"]}})},
        optional={
            "protocol": st.sampled_from(["http", "tcp"]),
            "healthCheck": st.just({"path": "/h"}),
            "slo": st.just({"availability": 99.95}),
            "resilience": _some(
                timeout=_some(request=WAITS, perTry=WAITS),
                retries=st.fixed_dictionaries(
                    {"attempts": st.integers(0, 10)},
                    optional={
                        "methods": st.lists(st.sampled_from(["GET", "POST", "PATCH"]), max_size=3),
                        "budget": st.sampled_from(["20%", "50%", "50.01%", "100%"]),
                    },
                ),
            ),
        },
    ),
    "CanarySplit": st.fixed_dictionaries(
        {
            "service": NASTY,
            "steps": st.lists(st.integers(1, 100) | st.sampled_from([0.5, 2.25, 10.01]), min_size=1, max_size=4),
            "hold": WAITS,
        },
        optional={
            "gates": st.lists(NASTY, max_size=2),
            "onInconclusive": st.sampled_from(["abort", "promote"]),
        },
    ),
    "RolloutStrategy": st.fixed_dictionaries(
        {
            "waves": st.lists(
                st.fixed_dictionaries({"proxies": st.integers(1, 9) | st.sampled_from(["20%", "100%"])}), min_size=1
            )
        }
    ),
    "SLO": st.fixed_dictionaries(
        {
            "objectives": st.lists(
                st.sampled_from([{"target": 0.9}, {"target": 0.999}, {"targetPercent": 99.0}]), min_size=1, max_size=1
            ),
            "alertPolicies": st.lists(
                st.builds(
                    lambda name, factor: {
                        "spec": {
                            "conditions": [{"metadata": {"name": name}, "spec": {"condition": {"threshold": factor}}}]
                        }
                    },
                    NASTY,
                    st.sampled_from([0.5, 1, 6, 10, 14.4, 1000]),
                ),
                max_size=2,
            ),
        }
    ),
    "Mesh": st.fixed_dictionaries({"strategy": st.sampled_from(["immediate", "careful"])}),
}


@st.composite
def commits(draw: st.DrawFn) -> dict[str, Any]:
    """An input document of any shape that the loader lets through, and strings that it does not."""
    number: Iterator[int] = iter(range(1_000))
    documents = {}
    for kind, spec in SPECS.items():
        documents[kind] = [
            {
                "id": next(number),
                "name": draw(NASTY),
                "namespace": "default",
                "owner": draw(st.sampled_from(["", "team"])),
                "path": draw(NASTY),
                "labels": {draw(NASTY): draw(NASTY)},
                "target": draw(NASTY),
                "critical": draw(st.booleans()),
                "subjectOf": draw(st.lists(st.sampled_from(["AccessRule", "SLO", "CanarySplit"]), max_size=2)),
                "spec": draw(spec),
            }
            for _ in range(draw(st.integers(0, 2)))
        ]
    mesh = draw(st.none() | st.just({"name": "m", "trustDomain": "shop.example", "critical": draw(st.booleans())}))
    encoded: dict[str, Any] = encode({"now": "2026-11-23T12:00:00Z", "mesh": mesh, "documents": documents})
    return encoded


Ask = Callable[[Bundle, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]


def test_both_engines_say_the_same(opa_binary: Path) -> None:
    seen: set[str] = set()
    bundle = shipped_bundle()
    with asyncio.Runner() as runner:
        opa, embedded = ManagedOpa(opa_binary), EmbeddedEngine()

        @settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
        @given(commits())
        def agree(document: dict[str, Any]) -> None:
            one = frozenset(reports(decode(runner.run(opa.evaluate(bundle, document)))))
            other = frozenset(reports(decode(runner.run(embedded.evaluate(bundle, document)))))
            assert one == other
            seen.update(report.package for report in one)

        try:
            agree()
        finally:
            runner.run(opa.close())
            runner.run(embedded.close())
    assert len(seen) > 15, f"{len(seen)}: the generator no longer triggers most rules"


ENDLESS = """package loop

many := numbers.range(1, 3000)

deny contains x if {
	some a in many
	some b in many
	some c in many
	x := (a + b) + c
	x < 0
}
"""
LOOP = Bundle((Module("rego/loop.rego", ENDLESS),), ("loop",))
QUICK = Bundle((Module("rego/quick.rego", 'package quick\n\ndeny contains "no" if input.bad\n'),), ("quick",))


async def test_the_embedded_engine_is_killed_at_its_deadline_and_comes_back() -> None:
    engine = EmbeddedEngine(deadline_s=1.0)
    try:
        assert await engine.evaluate(QUICK, {"bad": True}) == {"quick": {"deny": ["no"]}}
        pid = engine.pid
        assert pid is not None
        with pytest.raises(Retry, match="no answer within 1 s"):
            await engine.evaluate(LOOP, {})
        assert not _alive(pid)
        assert await engine.evaluate(QUICK, {"bad": False}) == {"quick": {"deny": []}}
        assert engine.pid != pid
        assert engine.version
    finally:
        await engine.close()


async def test_a_question_that_is_given_up_does_not_answer_the_next(embedded: EmbeddedEngine) -> None:
    await embedded.evaluate(QUICK, {"bad": True})
    question = asyncio.create_task(embedded.evaluate(LOOP, {}))
    await asyncio.sleep(0)
    question.cancel()
    with pytest.raises(asyncio.CancelledError):
        await question
    assert await embedded.evaluate(QUICK, {"bad": True}) == {"quick": {"deny": ["no"]}}


async def test_a_child_that_dies_is_replaced(embedded: EmbeddedEngine) -> None:
    await embedded.evaluate(QUICK, {"bad": True})
    assert embedded.pid is not None
    os.kill(embedded.pid, 9)
    try:
        answer = await embedded.evaluate(QUICK, {"bad": True})
    except Retry:
        answer = await embedded.evaluate(QUICK, {"bad": True})
    assert answer == {"quick": {"deny": ["no"]}}


@pytest.mark.parametrize(
    "text",
    ["package broken\n\ndeny contains if {", 'package broken\n\ndeny contains x if x := to_number("x")\n'],
    ids=["syntax", "a built-in fails"],
)
async def test_broken_rules_stall_both_engines(embedded: EmbeddedEngine, managed: ManagedOpa, text: str) -> None:
    bundle = Bundle((Module("rego/broken.rego", text),), ("broken",))
    for engine in (embedded, managed):
        with pytest.raises(Stalled):
            await engine.evaluate(bundle, {})
        assert await engine.evaluate(QUICK, {"bad": True}) == {"quick": {"deny": ["no"]}}


SHARED = tuple(module for module in shipped_bundle().modules if module.path.startswith("policyd/lib/"))
JUDGING = [module for module in shipped_bundle().modules if module not in SHARED]


async def test_the_embedded_engine_reads_each_shipped_rule_by_itself(embedded: EmbeddedEngine) -> None:
    """One that it cannot read stalls every check on a machine without OPA, and OPA does not tell."""
    for module in JUDGING:
        judged = await embedded.evaluate(Bundle((*SHARED, module)), {"documents": {}})
        for part in module.package.removeprefix("policyd.guardrails.").split("."):
            judged = (judged.get("policyd.guardrails") or judged)[part]
        assert list(judged.get("deny", judged.get("warn"))) == [], module.path


ONLY_OPA_READS = """\
package team.rules

# é
deny := {x |
\tsome a in input.all
\tsome index, b in a.list
\tb.bad
\tx := {"at": [index]}
}
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (ONLY_OPA_READS, "it cannot read `rego/rules.rego:4:9`: invalid collection"),
        ("package team.rules\n\ndeny := {x |\n", "it cannot read `rego/rules.rego:3:9`: this is unclosed"),
    ],
)
async def test_a_rule_that_the_embedded_engine_cannot_read_is_said_with_its_place(
    embedded: EmbeddedEngine, text: str, words: str
) -> None:
    with pytest.raises(Stalled, match=re.escape(words)) as stalled:
        await embedded.evaluate(Bundle((Module("rego/rules.rego", text),), ("team.rules",)), {})
    assert "(error" not in str(stalled.value)
    assert "`guardrails: {engine: opa}` reads all of Rego" in stalled.value.hint


async def test_a_string_that_is_not_encoded_is_refused(embedded: EmbeddedEngine) -> None:
    with pytest.raises(Stalled, match="not encoded"):
        await embedded.evaluate(QUICK, {"name": 'x", "bad": "true'})


async def test_the_managed_opa_changes_bundles_and_leaves_nothing_behind(
    managed: ManagedOpa, shipped: Bundle
) -> None:
    assert await managed.evaluate(QUICK, {"bad": True}) == {"quick": {"deny": ["no"]}}
    await managed.evaluate(shipped, {"documents": {}})
    assert await managed.evaluate(QUICK, {"bad": False}) == {"quick": {"deny": []}}
    pid = managed.pid
    assert pid is not None
    assert managed.version
    assert _environment(pid) == b""
    await managed.close()
    assert not _alive(pid)


async def test_the_managed_opa_is_restarted_when_it_died(managed: ManagedOpa) -> None:
    await managed.evaluate(QUICK, {"bad": True})
    assert managed.pid is not None
    os.kill(managed.pid, 9)
    try:
        answer = await managed.evaluate(QUICK, {"bad": True})
    except Retry:
        answer = await managed.evaluate(QUICK, {"bad": True})
    assert answer == {"quick": {"deny": ["no"]}}


async def test_the_managed_opa_ends_at_its_deadline(opa_binary: Path) -> None:
    engine = ManagedOpa(opa_binary, deadline_s=2.0)
    try:
        with pytest.raises(Retry):
            await engine.evaluate(LOOP, {})
        assert engine.pid is None
        assert await engine.evaluate(QUICK, {"bad": True}) == {"quick": {"deny": ["no"]}}
    finally:
        await engine.close()


async def test_the_managed_opa_takes_no_more_memory_than_it_may(opa_binary: Path) -> None:
    greedy = 'package greedy\n\ndeny contains "x" if count([n | some n in numbers.range(1, 1000000000)]) == 0\n'
    engine = ManagedOpa(opa_binary, deadline_s=300.0, memory=256 << 20)
    try:
        with pytest.raises(Retry, match="gave no answer"):
            await engine.evaluate(Bundle((Module("greedy.rego", greedy),), ("greedy",)), {})
        assert await engine.evaluate(QUICK, {"bad": True}) == {"quick": {"deny": ["no"]}}
    finally:
        await engine.close()


async def test_an_opa_that_is_away_is_asked_again_later() -> None:
    engine = OpaEngine("http://127.0.0.1:1", deadline_s=2.0)
    with pytest.raises(Retry, match="gave no answer"):
        await engine.evaluate(QUICK, {})


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"[]", b'"yes"', b'{"result": []}', b'{"result": "yes", "provenance": 1}', b"<html>"],
)
@pytest.mark.parametrize("status", ["200 OK", "500 Oops", "503 Busy"])
async def test_what_does_not_answer_as_an_opa_is_no_verdict(status: str, body: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\n"
            writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        engine = OpaEngine(f"http://127.0.0.1:{port}", deadline_s=10.0)
        with pytest.raises((Retry, Stalled)):
            await engine.evaluate(QUICK, {"bad": True})


async def test_an_opa_that_hangs_is_no_verdict_and_goes_on_afterwards(managed: ManagedOpa) -> None:
    await managed.evaluate(QUICK, {"bad": True})
    assert managed.pid is not None
    engine, pid = managed._engine, managed.pid
    assert engine is not None
    impatient = OpaEngine(f"http://127.0.0.1:{engine._port}", token=engine._token, deadline_s=1.0)
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(Retry, match="gave no answer"):
            await impatient.evaluate(QUICK, {"bad": True})
    finally:
        os.kill(pid, signal.SIGCONT)
    assert await engine.evaluate(QUICK, {"bad": True}) == {"quick": {"deny": ["no"]}}


async def test_a_server_that_was_restarted_gets_its_rules_again(opa_binary: Path, managed: ManagedOpa) -> None:
    await managed.evaluate(QUICK, {"bad": True})
    assert managed._engine is not None
    server = managed._engine
    async with server._client() as client:
        await client.delete_policy("policyd/policyd/entry.rego")
    assert await server.evaluate(QUICK, {"bad": True}) == {"quick": {"deny": ["no"]}}


def test_only_an_address_is_an_address() -> None:
    with pytest.raises(UsageError):
        OpaEngine("localhost:8181")


def test_choice(opa_binary: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert choose("auto").name == "embedded"
    assert choose("embedded", opa_url="http://127.0.0.1:8181").name == "embedded"
    assert choose("auto", opa_binary=str(opa_binary)).name == "opa"
    assert choose("auto", opa_url="http://127.0.0.1:8181").name == "opa"
    with pytest.raises(UsageError):
        choose("opa")
    with pytest.raises(UsageError):
        find_opa("/nonexistent/opa")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _environment(pid: int) -> bytes:
    return Path(f"/proc/{pid}/environ").read_bytes()
