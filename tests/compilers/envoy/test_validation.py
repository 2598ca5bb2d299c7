"""The real Envoy accepts what the compiler writes, and would refuse what is broken."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck as Check
from hypothesis import given, settings
from hypothesis import strategies as st

from policyd.compiler.memo import Memo
from policyd.compiler.protocol import ListenAddress, Secrets, Validation
from policyd.model.access import Rule, Source
from policyd.model.mesh import Mesh
from policyd.model.names import Name
from policyd.model.node import nodes
from policyd.model.service import Service
from policyd_compilers.envoy import COMPILER
from tests.compilers.generated import RULES, SERVICES
from tests.compilers.meshes import PAYMENTS, WEB, mesh, rule, service


def judge(binary: Path, folder: Path, validation: Validation) -> subprocess.CompletedProcess[str]:
    for name, body in validation.files.items():
        (folder / name).write_bytes(body)
    arguments = [argument.replace("{dir}", str(folder)) for argument in validation.arguments]
    return subprocess.run([binary, *arguments], capture_output=True, text=True, timeout=60, check=False)


@settings(max_examples=15, deadline=None, suppress_health_check=[Check.function_scoped_fixture, Check.too_slow])
@given(st.lists(RULES, max_size=4, unique_by=lambda each: each.name), SERVICES)
def test_envoy_accepts_every_mesh(
    envoy_binary: Path, secrets: Secrets, tmp_path: Path, rules: list[Rule], payments: Service
) -> None:
    the_mesh: Mesh = mesh([payments, service(WEB, v1=["10.0.0.1"])], *((PAYMENTS, each) for each in rules))
    for node in nodes(the_mesh):
        compiled = COMPILER.compile(the_mesh, node, Memo())
        result = judge(envoy_binary, tmp_path, COMPILER.validation(compiled, node, secrets))
        assert result.returncode == 0, result.stderr


def test_envoy_accepts_a_destination_with_many_callers(envoy_binary: Path, secrets: Secrets, tmp_path: Path) -> None:
    rules = [
        rule(PAYMENTS, (Source(services=(Name("shop", f"s{i}"),)),), ("GET",), (f"/v{i}/{{id}}",), name=f"r{i}")
        for i in range(300)
    ]
    the_mesh = mesh([service(PAYMENTS, v1=["10.0.1.1"])], *((PAYMENTS, each) for each in rules))
    node = next(nodes(the_mesh))
    compiled = COMPILER.compile(the_mesh, node, Memo())
    result = judge(envoy_binary, tmp_path, COMPILER.validation(compiled, node, secrets))
    assert result.returncode == 0, result.stderr


def test_envoy_refuses_a_route_to_an_unknown_cluster(envoy_binary: Path, secrets: Secrets, tmp_path: Path) -> None:
    the_mesh = mesh([service(PAYMENTS, v1=["10.0.1.1"]), service(WEB, v1=["10.0.0.1"])], (PAYMENTS, rule(PAYMENTS)))
    node = list(nodes(the_mesh))[-1]
    compiled = COMPILER.compile(the_mesh, node, Memo())
    kept = tuple(artifact for artifact in compiled.artifacts if artifact.name != "pay/payments/v1")
    result = judge(envoy_binary, tmp_path, COMPILER.validation(replace(compiled, artifacts=kept), node, secrets))
    assert result.returncode != 0
    assert "pay/payments/v1" in result.stderr


@pytest.mark.parametrize("admin", [ListenAddress("127.0.0.1", 0), ListenAddress(path="/tmp/policyd-admin.sock")])
def test_envoy_accepts_the_bootstrap(envoy_binary: Path, tmp_path: Path, admin: ListenAddress) -> None:
    node = next(nodes(mesh([service(WEB, v1=["10.0.0.1"])])))
    body = COMPILER.bootstrap(node, ListenAddress("127.0.0.1", 18_000), admin)
    arguments = ("--mode", "validate", "--disable-hot-restart", "-c", "{dir}/bootstrap.yaml")
    result = judge(envoy_binary, tmp_path, Validation("envoy", arguments, {"bootstrap.yaml": body}))
    assert result.returncode == 0, result.stderr
