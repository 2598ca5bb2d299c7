"""Remembered verdicts: the same findings as without a memory, and no question that was asked before."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.guardrails.bundle import SHIPPED_ROOT, Bundle, Module, shipped_bundle
from policyd.guardrails.check import check
from policyd.guardrails.embedded import EmbeddedEngine
from policyd.guardrails.engine import Json
from policyd.guardrails.memory import Verdicts
from policyd.intents import MemoryTree, ParseCache, load

AT = datetime(2026, 11, 23, 12, tzinfo=UTC)
MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {{name: m, owner: a}}
spec: {{trustDomain: {domain}, strategy: {strategy}}}
"""
SERVICE = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {{name: {name}, {owner}labels: {{tier: {tier}}}}}
spec:
  port: 8080
  versions:
    v1: {{endpoints: [10.0.0.1]}}
  version: v1
"""
RULE = """\
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {{name: {name}, owner: a}}
spec:
  to: {to}
  from: [{{identity: "spiffe://m.example/ns/a/svc/b"}}]
  allow: [{{methods: ["*"], paths: [/**]}}]{expires}
"""
CANARY = """\
apiVersion: policyd.dev/v1alpha1
kind: CanarySplit
metadata: {{name: {name}, owner: a}}
spec: {{service: {name}, steps: [{step}, 100], hold: 60s}}
"""
NAMES = st.sampled_from(["a", "b", "c"])
EXPIRES = st.sampled_from(
    ["", "\n  expires: 2026-11-24", "\n  expires: 2026-11-23T12:00:00Z", "\n  expires: 2027-11-24T13:00:00Z"]
)
TEXTS: Mapping[str, st.SearchStrategy[str]] = {
    "mesh.yaml": st.builds(
        MESH.format,
        domain=st.sampled_from(["m.example", "other.example"]),
        strategy=st.sampled_from(["immediate", "careful"]),
    ),
    **{
        f"{name}.yaml": st.builds(
            SERVICE.format,
            name=st.just(name),
            owner=st.sampled_from(["owner: x, ", ""]),
            tier=st.sampled_from(["critical", "batch"]),
        )
        for name in "abc"
    },
    **{
        f"rule-{number}.yaml": st.builds(RULE.format, name=st.just(f"r{number}"), to=NAMES, expires=EXPIRES)
        for number in range(3)
    },
    "canary.yaml": st.builds(CANARY.format, name=NAMES, step=st.sampled_from([5, 50])),
}
EDITS = st.lists(
    st.sampled_from(sorted(TEXTS)).flatmap(lambda path: st.tuples(st.just(path), st.none() | TEXTS[path])),
    min_size=1,
    max_size=4,
)
COMMITS = st.lists(
    st.tuples(EDITS, st.sampled_from([timedelta(0), timedelta(seconds=1), timedelta(hours=13), timedelta(days=2)])),
    min_size=1,
    max_size=5,
)


class Counting:
    """An engine that counts the documents of each question; the sibling of the one that it hands them to."""

    name, version, fingerprint = "embedded", "", ""

    def __init__(self, engine: EmbeddedEngine) -> None:
        self._engine = engine
        self.questions: list[int] = []

    async def evaluate(self, bundle: Bundle, document: Json) -> Json:
        self.questions.append(sum(map(len, document["documents"].values())))
        return await self._engine.evaluate(bundle, document)

    async def close(self) -> None:
        await self._engine.close()


def test_remembered_verdicts_are_those_of_a_full_check() -> None:
    bundle, seen = shipped_bundle(), set[str]()
    with asyncio.Runner() as runner:
        engine = EmbeddedEngine()

        @settings(max_examples=60, deadline=None)
        @given(st.fixed_dictionaries(dict(TEXTS)), COMMITS)
        def agree(first: dict[str, str], commits: list[tuple[list[tuple[str, str | None]], timedelta]]) -> None:
            verdicts, cache, files, at = Verdicts(limit=20), ParseCache(), dict(first), AT
            for edits, later in commits:
                at += later
                for path, text in edits:
                    files.pop(path, None)
                    if text is not None:
                        files[path] = text
                loaded = load(MemoryTree(files), cache)
                remembered = runner.run(check(loaded, engine, at, [bundle], verdicts))
                full = runner.run(check(loaded, engine, at, [bundle]))
                assert remembered == full
                seen.update(finding.code for finding in full)

        try:
            agree()
        finally:
            runner.run(engine.close())
    assert not {"PD2102", "PD2103", "PD2104", "PD2105", "PD2108", "PD2201", "PD2301", "PD2307", "PD2308"} - seen


async def test_a_commit_asks_only_about_what_it_changed(embedded: EmbeddedEngine, shipped: Bundle) -> None:
    engine, verdicts = Counting(embedded), Verdicts()
    files = {f"{n}.yaml": SERVICE.format(name=n, owner="owner: x, ", tier="batch") for n in "abc"}
    for name, text, asked in (
        ("a", files["a.yaml"], [3]),
        ("a", files["a.yaml"], []),
        ("b", SERVICE.format(name="b", owner="", tier="batch"), [1]),
        ("b", files["b.yaml"], []),
        ("rule", RULE.format(name="r", to="c", expires=""), [2]),  # the rule, and the service that it is about
    ):
        engine.questions.clear()
        await check(load(MemoryTree(files | {f"{name}.yaml": text})), engine, AT, [shipped], verdicts)
        assert engine.questions == asked


async def test_the_days_that_are_left_are_part_of_the_question(embedded: EmbeddedEngine, shipped: Bundle) -> None:
    verdicts = Verdicts()
    loaded = load(MemoryTree({"r.yaml": RULE.format(name="r", to="a", expires="\n  expires: 2026-11-24")}))
    end = datetime(2026, 11, 24, tzinfo=UTC)
    before = await check(loaded, embedded, end - timedelta(microseconds=1), [shipped], verdicts)
    assert "PD2103" not in {finding.code for finding in before}
    assert "PD2103" in {finding.code for finding in await check(loaded, embedded, end, [shipped], verdicts)}
    assert verdicts.asked == 2


async def test_what_is_about_no_document_is_shown_and_not_remembered(embedded: EmbeddedEngine) -> None:
    text = f'package {SHIPPED_ROOT}.odd\n\ndeny contains "the whole commit is odd" if input.documents.Service\n'
    bundle, verdicts = Bundle((Module("policyd/guardrails/odd/rule.rego", text),)), Verdicts()
    loaded = load(MemoryTree({"a.yaml": SERVICE.format(name="a", owner="owner: x, ", tier="batch")}))
    for _ in range(2):
        (finding,) = await check(loaded, embedded, AT, [bundle], verdicts)
        assert finding.message == "the whole commit is odd"
    assert not verdicts.known


async def test_team_rules_are_asked_about_the_whole_commit(embedded: EmbeddedEngine, shipped: Bundle) -> None:
    text = 'package team\n\ndeny contains "too many" if count(input.documents.Service) > 1\n'
    bundle, verdicts = shipped.with_modules([Module("rego/team.rego", text)], ["team"]), Verdicts()
    files = {f"{n}.yaml": SERVICE.format(name=n, owner="owner: x, ", tier="batch") for n in "ab"}
    for some, says in ((["a.yaml"], False), (["a.yaml", "b.yaml"], True)):
        loaded = load(MemoryTree({path: files[path] for path in some}))
        findings = await check(loaded, embedded, AT, [bundle], verdicts)
        assert ("too many" in {finding.message for finding in findings}) is says


def test_no_shipped_rule_reads_more_than_one_document_or_the_time() -> None:
    for module in shipped_bundle().modules:
        if not module.package.startswith(SHIPPED_ROOT):
            continue
        read = re.findall(r"\binput\b[.\w]*", module.text)
        documents = [field for field in read if field.startswith("input.documents.")]
        assert len(documents) == 1, module.path
        assert not {field for field in read if not field.startswith(("input.documents.", "input.mesh."))}, module.path
