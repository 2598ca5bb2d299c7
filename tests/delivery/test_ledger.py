"""What is remembered about each node."""

from __future__ import annotations

from policyd.compiler.artifact import Artifact
from policyd.delivery.ledger import Answered, Converged, Event, Ledger, Standing
from policyd.delivery.outcome import NO_ANSWER, Refusal
from policyd.delivery.resource_types import CLUSTER, ROUTE
from policyd.delivery.snapshot import NodeSnapshot
from policyd.testing.clock import FakeClock

NOW = FakeClock().now()
A1, A2, B1 = (Artifact(CLUSTER, name, body) for name, body in (("a", b"1"), ("a", b"2"), ("b", b"1")))


def answer(*names: str, error: str | None = None) -> Answered:
    return Answered("n", CLUSTER, names, NOW, 0.1, error)


def test_a_node_without_a_whole_set_goes_back_to_what_it_took_singly() -> None:
    ledger = Ledger()
    ledger.acknowledged(answer("a"), [A1], [])
    ledger.refused(answer("b", error="no"), {"b": B1.version})
    assert list(ledger.record("n").fallback(None)) == [A1]


def test_a_node_with_a_whole_set_goes_back_to_that() -> None:
    ledger = Ledger()
    whole = NodeSnapshot.of("n", [A1])
    ledger.converged(Converged("n", whole.digest, NOW, 0.0), whole)
    ledger.acknowledged(answer("a"), [A2], [])
    assert ledger.record("n").fallback(None) is whole


def test_what_was_refused_is_suspect_until_it_is_acknowledged_or_taken_out() -> None:
    ledger = Ledger()
    ledger.sent("n", CLUSTER, {"a": A2.version, "b": B1.version}, NOW)
    ledger.refused(answer("a", "b", error="b is wrong"), {"a": A2.version, "b": B1.version})
    record = ledger.record("n")
    assert record.suspects == {(CLUSTER, "a"), (CLUSTER, "b")}
    assert record.entries[CLUSTER, "b"].standing is Standing.REFUSED
    assert record.entries[CLUSTER, "b"].detail == "b is wrong"
    ledger.acknowledged(answer("a", "b"), [A1], ["b"])
    assert record.suspects == set()
    assert (CLUSTER, "b") not in record.entries
    assert record.entries[CLUSTER, "a"].version == A1.version


def test_silence_is_told_apart_from_refusal() -> None:
    ledger = Ledger()
    ledger.silent("n", CLUSTER, {"a": A1.version}, NOW)
    assert ledger.record("n").entries[CLUSTER, "a"].standing is Standing.SILENT
    assert Refusal("n", "d", CLUSTER, ("a",), NO_ANSWER).silent
    assert not Refusal("n", "d", CLUSTER, ("a",), "bad regex").silent


def test_observers_hear_every_word_in_order() -> None:
    heard: list[Event] = []
    ledger = Ledger([heard.append])
    refusal = Refusal("n", "d", ROUTE, ("r",), "bad regex")
    events: list[Event] = [answer("a"), answer("b", error="no"), refusal, Converged("n", "d", NOW, 1.0)]
    ledger.acknowledged(answer("a"), [A1], [])
    ledger.refused(answer("b", error="no"), {"b": B1.version})
    ledger.turned_back(refusal, NOW)
    ledger.converged(Converged("n", "d", NOW, 1.0), NodeSnapshot.of("n", [A1]))
    assert heard == events
    assert ledger.record("n").refused == (refusal, NOW)


def test_a_refusal_reads_as_a_sentence() -> None:
    refusal = Refusal("shop/web/v1/10.0.0.1", "d", ROUTE, ("out",), "bad regex")
    assert str(refusal) == "`shop/web/v1/10.0.0.1` refused RouteConfiguration `out`: bad regex"
    assert refusal.resource == "out"


def test_artefacts_do_not_print_their_content() -> None:
    assert "KEY" not in repr(Artifact(CLUSTER, "a", b"PRIVATE KEY"))
