"""Load balancing as intents say it: what it becomes, and what contradicts itself or would never do anything."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policyd.base.diagnostics import Finding, Severity
from policyd.intents import MemoryTree, load
from policyd.lowering import Lowered
from policyd.model.balancing import Key, LoadBalancing, Policy, SlowStart, ZonePreference
from policyd.model.names import Name

LowerFiles = Callable[..., Lowered]
CHECKOUT = Name("default", "checkout")
RETRIES = "retries: {attempts: 2, on: [503, reset], budget: 20%}"
WITHOUT_CHECK = ("healthCheck: {path: /healthz, interval: 2s}\n  slo", "slo")
BY_USER = "hash: {header: x-user}"


def said(balancing: str) -> tuple[str, str]:
    """The `loadBalancing` of `checkout`."""
    return RETRIES, f"{RETRIES}\n    loadBalancing: {{{balancing}}}"


def only(findings: tuple[Finding, ...], code: str) -> Finding:
    matching = [finding for finding in findings if finding.code == code]
    assert len(matching) == 1, findings
    return matching[0]


def test_all_of_it(lower_with: LowerFiles) -> None:
    zones = "preferZone: {minInstances: 1, minHealthy: 62.5%}"
    old, new = said(f"policy: roundRobin, {zones}, slowStart: {{window: 30s, aggression: 1.5}}")
    lowered = lower_with((old, f"{new}\n    panicThreshold: 40%"))
    assert lowered.mesh is not None
    resilience = lowered.mesh.services[CHECKOUT].resilience
    assert resilience.load_balancing == LoadBalancing(
        Policy.ROUND_ROBIN, zone=ZonePreference(1, 6_250), slow_start=SlowStart(30_000, 1_500)
    )
    assert resilience.panic == 4_000


def test_a_key(lower_with: LowerFiles) -> None:
    ring = lower_with(said("policy: ringHash, hash: {header: X-User}, ringSize: {min: 512, max: 2048}"))
    assert ring.mesh is not None
    assert ring.mesh.services[CHECKOUT].resilience.load_balancing == LoadBalancing(
        Policy.RING_HASH, Key(header="x-user"), ring=(512, 2_048)
    )
    maglev = lower_with(said("policy: maglev, hash: {cookie: session}, tableSize: 251"))
    assert maglev.mesh is not None
    assert maglev.mesh.services[CHECKOUT].resilience.load_balancing == LoadBalancing(
        Policy.MAGLEV, Key(cookie="session"), table=251
    )


def test_what_says_nothing_new_is_nothing_new(lower_with: LowerFiles) -> None:
    plain, explicit = lower_with(), lower_with(said("policy: leastRequest"))
    assert plain.mesh is not None
    assert explicit.mesh is not None
    assert plain.mesh.services[CHECKOUT].digest == explicit.mesh.services[CHECKOUT].digest


# what is said, code, what is underlined, message, part of the hint
ERRORS = [
    ("policy: maglev", "PD1230", "maglev", "`maglev` needs something of a request to go by", "x-user"),
    (BY_USER, "PD1230", "{header: x-user}", "`leastRequest` does not look at requests", "ringHash"),
    ("ringSize: {max: 9}", "PD1230", "{max: 9}", "`leastRequest` has no `ringSize`", "policy: ringHash"),
    (f"policy: ringHash, {BY_USER}, tableSize: 11", "PD1230", "11", "`ringHash` has no `tableSize`", "maglev"),
    ("policy: random, slowStart: {window: 9s}", "PD1230", "{window: 9s}", "whole share at once", "roundRobin"),
    (f"policy: ringHash, {BY_USER}, ringSize: {{min: 9, max: 8}}", "PD1231", "9", "no ring has 9", "at most `max`"),
    (f"policy: ringHash, {BY_USER}, ringSize: {{max: 800}}", "PD1231", "800", "no ring has 1024 places", "1024"),
    (f"policy: maglev, {BY_USER}, tableSize: 65536", "PD1231", "65536", "not a prime number", "65537"),
    ("policy: maglev, hash: {header: x_user}", "PD1259", "x_user", "known by the header `x_user`", "write `-`"),
    ("policy: maglev, hash: {header: x-envoy-a}", "PD1259", "x-envoy-a", "the header `x-envoy-a`", "take it away"),
]


@pytest.mark.parametrize(("balancing", "code", "meant", "message", "hint"), ERRORS)
def test_contradictions(
    lower_with: LowerFiles, balancing: str, code: str, meant: str, message: str, hint: str
) -> None:
    lowered = lower_with(said(balancing))
    finding = only(tuple(each for each in lowered.findings if message in each.message), code)
    begin = finding.location.column - 1
    assert finding.excerpt[begin : begin + finding.width] == meant
    assert hint in finding.hint
    assert lowered.mesh is None


def test_each_instance_needs_a_place(lower_with: LowerFiles) -> None:
    crowd = ", ".join(f"10.0.7.{number}" for number in range(4))
    lowered = lower_with(said(f"policy: maglev, {BY_USER}, tableSize: 3"), ("[10.0.1.21]", f"[{crowd}]"))
    assert "4 instances do not find a place each among 3" in only(lowered.findings, "PD1231").message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([], "`v1` has instances in one zone only"),
        ([("{address: 10.0.1.12, zone: b}", "10.0.1.12")], "no instance says its zone"),
        ([("10.0.1.11]", "{address: 10.0.1.11, zone: a}]")], "no zone has 2 instances of `v1`"),
        (
            [
                ("10.0.1.11]", "{address: 10.0.1.11, zone: a}]"),
                ("preferZone: {}", "preferZone: {minInstances: 1}"),
                WITHOUT_CHECK,
            ],
            "nobody finds out that a zone is weak",
        ),
    ],
)
def test_a_preference_that_has_no_effect(
    lower_with: LowerFiles, changes: list[tuple[str, str]], message: str
) -> None:
    lowered = lower_with(said("preferZone: {}"), *changes)
    finding = only(lowered.findings, "PD1233")
    assert message in finding.message
    assert finding.severity is Severity.WARNING
    assert finding.hint


def test_a_key_that_meets_several_instances(lower_with: LowerFiles) -> None:
    """Once for the steps of the canary, which `checkout` has, and once for zones."""
    lowered = lower_with(said(f"policy: ringHash, {BY_USER}, preferZone: {{}}"))
    at_steps, at_zones = (each for each in lowered.findings if each.code == "PD1232")
    assert (at_steps.severity, at_zones.severity) == (Severity.WARNING, Severity.WARNING)
    assert "`checkout` go by the header `x-user`: a step takes a share of its values" in at_steps.message
    assert "different zones send one key to different instances" in at_zones.message


def test_nothing_to_panic_about(lower_with: LowerFiles) -> None:
    panic = (RETRIES, f"{RETRIES}\n    panicThreshold: 50%")
    assert only(lower_with(panic, WITHOUT_CHECK).findings, "PD1234").severity is Severity.WARNING
    assert not [each for each in lower_with(panic).findings if each.code == "PD1234"]


@pytest.mark.parametrize(
    ("balancing", "code", "hint"),
    [
        ("policy: ringHash, hash: {sourceAddress: true}", "PD1103", "every call come from loopback"),
        ("policy: ringHash, hash: {header: a, cookie: b}", "PD1111", "hash: {header: x-user}"),
        ("policy: ringHash, hash: {}", "PD1104", "hash: {header: x-user}"),
        ("policy: roundrobin", "PD1106", "did you mean `roundRobin`?"),
        ("preferZone: {minHealthy: 0%}", "PD1109", ""),
        ("slowStart: {window: 0s}", "PD1109", "1ms"),
        ("tableSize: 5000012", "PD1109", ""),
        ("ringSize: {min: -1}", "PD1109", ""),
    ],
)
def test_what_cannot_be_read(files: dict[str, str], balancing: str, code: str, hint: str) -> None:
    old, new = said(balancing)
    files["services.yaml"] = files["services.yaml"].replace(old, new)
    assert hint in only(load(MemoryTree(files)).findings, code).hint
