"""Tries of gRPC calls: what `on` says is what may be sent twice, and what is never met is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policyd.lowering import Lowered
from policyd.model.names import Name
from policyd.model.resilience import Retries

LowerFiles = Callable[..., Lowered]
HEALTH = "healthCheck: {path: /healthz, interval: 2s}"
GRPC = (HEALTH, f"protocol: grpc\n  {HEALTH}")
RETRIES = "retries: {attempts: 2, on: [503, reset], budget: 20%}"
WEB = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: web, owner: team-web}
"""
ROUTE = """\
apiVersion: policyd.dev/v1alpha1
kind: Route
metadata: {name: checkout, owner: team-buy}
spec:
  to: checkout
  rules:
    - match: {headers: {x-batch: "yes"}}
      resilience: {RETRIES}
---
"""
CHECKOUT = Name("default", "checkout")


def tried(lowered: Lowered) -> Retries:
    assert lowered.mesh is not None, lowered.findings
    return lowered.mesh.services[CHECKOUT].resilience.retries


def routed(retries: str) -> tuple[str, str]:
    return WEB, ROUTE.replace("{RETRIES}", f"{{{retries}}}") + WEB


@pytest.mark.parametrize("on", ["", ", on: [unavailable, resource-exhausted]"])
def test_calls_are_posts_and_need_not_be_named(lower_with: LowerFiles, on: str) -> None:
    found = tried(lower_with(GRPC, (RETRIES, f"retries: {{attempts: 2{on}}}")))
    assert found.methods == ("POST",)
    assert found.on == (("resource-exhausted", "unavailable") if on else ("connect-failure", "refused-stream"))


def test_who_names_methods_is_taken_at_his_word(lower_with: LowerFiles) -> None:
    lowered = lower_with(GRPC, (RETRIES, "retries: {attempts: 2, methods: [GET]}"))
    assert tried(lowered).methods == ("GET",)
    (finding,) = (each for each in lowered.findings if each.code == "PD1298")
    assert "nothing is tried again" in finding.message
    assert finding.excerpt[finding.location.column - 1 :].startswith("[GET]")


def test_what_is_never_tried_again_is_the_same_value_for_every_protocol(lower_with: LowerFiles) -> None:
    assert tried(lower_with(GRPC, (f"\n    {RETRIES}", ""), (", perTry: 600ms", ""))) == Retries()


def test_a_route_of_a_grpc_service_tries_calls_too(lower_with: LowerFiles) -> None:
    lowered = lower_with(GRPC, routed("retries: {attempts: 1, on: [unavailable]}"))
    assert lowered.mesh is not None, lowered.findings
    route = lowered.mesh.services[CHECKOUT].route
    assert route is not None
    assert route.rules[0].override.retries == Retries(1, ("unavailable",), ("POST",))


# what stands in place of what, code, whether it is an error, what is underlined, message, part of the hint
CASES = [
    (((RETRIES, "retries: {attempts: 2, on: [unavailable]}"),), "PD1297", True, "unavailable", "`http`", "503"),
    ((routed("retries: {attempts: 1, on: [internal]}"),), "PD1297", True, "internal", "speaks `http`", "grpc"),
    ((GRPC, (RETRIES, "retries: {attempts: 2, on: [503, reset]}")), "PD1298", False, "503", "never 503", "unavailab"),
    ((GRPC, routed("retries: {attempts: 1, on: [504]}")), "PD1298", False, "504", "never 504", "`unavailable`"),
]


@pytest.mark.parametrize(("changes", "code", "error", "meant", "message", "hint"), CASES)
def test_what_no_call_meets(
    lower_with: LowerFiles,
    changes: tuple[tuple[str, str], ...],
    code: str,
    error: bool,
    meant: str,
    message: str,
    hint: str,
) -> None:
    lowered = lower_with(*changes)
    found = [each for each in lowered.findings if each.code == code]
    (finding,) = (each for each in found if meant in each.excerpt)
    begin = finding.location.column - 1
    assert finding.excerpt[begin : begin + finding.width] == meant
    assert message in finding.message
    assert hint in finding.hint
    assert finding.is_error == error
