"""Splits that are read back from routes are those that they were compiled from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from policyd.compiler.artifact import Artifact
from policyd.compiler.memo import Memo
from policyd.compiler.protocol import ReadsBack
from policyd.model.node import nodes
from policyd.model.service import HeaderMatch, Split
from policyd_compilers.envoy import COMPILER
from policyd_compilers.envoy.proto import CLUSTER, ROUTES
from tests.compilers.meshes import PAYMENTS, WEB, shop, with_service

SPLITS = [
    Split.all_to("v1"),
    Split((("v1", 7_500), ("v2", 2_500))),
    Split((("v1", 7_500), ("v2", 2_500)), HeaderMatch("x-canary", "yes"), "v2"),
    Split((("v1", 10_000),), HeaderMatch("x-canary", "yes"), "v2"),
]


@pytest.mark.parametrize("split", SPLITS)
def test_what_was_compiled_is_read_back(split: Split) -> None:
    mesh = with_service(shop(), replace(shop().services[PAYMENTS], split=split))
    assert isinstance(COMPILER, ReadsBack)
    found = {node.id: COMPILER.splits(COMPILER.compile(mesh, node, Memo()).artifacts) for node in nodes(mesh)}
    web = {node: said for node, said in found.items() if node.startswith(f"{WEB}/")}
    assert len(web) == 2
    assert list(web.values()) == [{PAYMENTS: split}] * 2
    assert not any(said for node, said in found.items() if node not in web)


def test_what_is_not_ours_says_nothing() -> None:
    artifacts = [
        Artifact(ROUTES, "outbound/shop/web", b"\xff\xff not a message"),
        Artifact(ROUTES, "inbound/shop/web", b""),
        Artifact(CLUSTER, "outbound/shop/web", b""),
    ]
    assert COMPILER.splits(artifacts) == {}
