"""The real HAProxy accepts what the compiler writes, without a warning, and would refuse what is broken."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from hypothesis import HealthCheck as Check
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.compiler.memo import Memo
from policyd.compiler.protocol import Secrets, Validation
from policyd.delivery.validate import validate
from policyd.model.access import Rule, Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import nodes
from policyd.model.service import HeaderMatch, Service, Split
from policyd_compilers.haproxy import COMPILER
from tests.compilers.generated import RULES, SERVICES
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service


def strict(validation: Validation) -> Validation:
    """A warning refuses, too."""
    return replace(validation, arguments=("-dW", *validation.arguments))


@settings(max_examples=40, suppress_health_check=[Check.function_scoped_fixture, Check.too_slow])
@given(rules=st.lists(RULES, max_size=4, unique_by=lambda each: each.name), payments=SERVICES)
async def test_haproxy_accepts_every_mesh(
    haproxy_binary: Path, secrets: Secrets, rules: list[Rule], payments: Service
) -> None:
    the_mesh: Mesh = mesh([payments, service(WEB, v1=["10.0.0.1"])], *((PAYMENTS, each) for each in rules))
    for node in nodes(the_mesh):
        compiled = COMPILER.compile(the_mesh, node, Memo())
        verdict = await validate(strict(COMPILER.validation(compiled, node, secrets)), haproxy_binary, 20.0)
        assert verdict.accepted, verdict.reason


@settings(max_examples=30, suppress_health_check=[Check.function_scoped_fixture])
@given(
    name=st.text("abz09!#$%&'*+.^_`|~-", min_size=1, max_size=12),
    value=st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=12).map(str.strip),
)
async def test_haproxy_accepts_every_header(haproxy_binary: Path, secrets: Secrets, name: str, value: str) -> None:
    split = Split((("v1", 10_000),), HeaderMatch(name, value or "x"), "v1")
    payments = replace(service(PAYMENTS, v1=["10.0.1.1"]), split=split)
    the_mesh = mesh([payments, service(WEB, v1=["10.0.0.1"])], (PAYMENTS, rule(PAYMENTS)))
    node = list(nodes(the_mesh))[-1]
    compiled = COMPILER.compile(the_mesh, node, Memo())
    verdict = await validate(strict(COMPILER.validation(compiled, node, secrets)), haproxy_binary, 20.0)
    assert verdict.accepted, verdict.reason


async def test_haproxy_accepts_a_destination_with_many_callers(haproxy_binary: Path, secrets: Secrets) -> None:
    rules = [
        rule(PAYMENTS, (Source(services=(Name("shop", f"s{i}"),)),), ("GET",), (f"/v{i}/{{id}}",), name=f"r{i}")
        for i in range(300)
    ]
    the_mesh = mesh([service(PAYMENTS, v1=["10.0.1.1"])], *((PAYMENTS, each) for each in rules))
    node = next(nodes(the_mesh))
    compiled = COMPILER.compile(the_mesh, node, Memo())
    verdict = await validate(strict(COMPILER.validation(compiled, node, secrets)), haproxy_binary, 20.0)
    assert verdict.accepted, verdict.reason


async def test_haproxy_refuses_a_route_to_an_unknown_backend_in_its_own_words(
    haproxy_binary: Path, secrets: Secrets
) -> None:
    the_mesh = mesh([service(PAYMENTS, v1=["10.0.1.1"]), service(WEB, v1=["10.0.0.1"])], (PAYMENTS, rule(PAYMENTS)))
    node = list(nodes(the_mesh))[-1]
    compiled = COMPILER.compile(the_mesh, node, Memo())
    kept = tuple(artifact for artifact in compiled.artifacts if not artifact.name.startswith("50-"))
    validation = COMPILER.validation(replace(compiled, artifacts=kept), node, secrets)
    verdict = await validate(validation, haproxy_binary, 20.0)
    assert not verdict.accepted
    assert "unable to find required use_backend: 'pay.payments.v1'" in verdict.reason
    assert "policyd-validate-" not in verdict.reason  # the folder is gone when somebody reads this
