"""Fetched keys are laid into whatever is served, and a change of settings on its way has them too."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from policyd.model.mesh import Mesh
from policyd.model.tokens import Issuer
from policyd.plan.change import Position, WaveStage
from policyd.plan.changes import changes
from policyd.plan.effective import effective
from policyd.plan.floor import Floor

CORP = Issuer("corp", "https://login.example", keys_url="https://login.example/keys")
INLINE = Issuer("inline", "https://other.example", keys="{}")


def test_keys_are_a_fact_and_no_release(shop: Mesh, at: datetime) -> None:
    promoted = replace(shop, settings=replace(shop.settings, issuers=(CORP, INLINE)))
    without = effective(promoted, [], promoted, Floor(at))
    assert without.common.settings is promoted.settings
    found = effective(promoted, [], promoted, Floor(at), keys={CORP.keys_url: "KEYS"})
    assert [issuer.keys for issuer in found.common.settings.issuers] == ["KEYS", "{}"]
    assert changes(promoted, promoted) == ()


def test_an_issuer_that_is_on_its_way_has_its_keys(shop: Mesh, at: datetime) -> None:
    head = replace(shop, settings=replace(shop.settings, issuers=(CORP,)))
    (change,) = changes(shop, head)
    found = effective(shop, [Position(change, WaveStage(count=1))], head, Floor(at), keys={CORP.keys_url: "KEYS"})
    assert {mesh.settings.issuers for mesh in found.others.values()} == {(replace(CORP, keys="KEYS"),)}
