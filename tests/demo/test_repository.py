"""The story's repository: one-line releases, reverts, and a copy that leaves the shop alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import git
import pytest

from policyd.base.errors import Stalled
from policyd.demo.acts import opened
from policyd.demo.perform import shop_folder
from policyd.demo.repository import ShopRepository


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[ShopRepository]:
    repository = ShopRepository(tmp_path / "shop", shop_folder())
    repository.commit("the shop")
    yield repository
    repository.close()


def test_a_release_is_one_line_and_a_revert_takes_it_back(shop: ShopRepository) -> None:
    before = (shop.path / "services" / "catalog.yaml").read_text()
    commit = shop.serve("catalog", "v2")
    with git.Repo(shop.path) as repository:
        stats = repository.commit(commit).stats.total
    assert (stats["insertions"], stats["deletions"], stats["files"]) == (1, 1, 1)

    shop.revert(commit)
    assert (shop.path / "services" / "catalog.yaml").read_text() == before


def test_the_story_finds_the_rule_that_it_opens() -> None:
    old, new = opened((shop_folder() / "services" / "payments.yaml").read_text())
    assert old == "  from: [checkout]"
    assert new == '  from: ["*"]'


def test_holds_are_shortened_everywhere(shop: ShopRepository) -> None:
    shop.hurry("2s")
    holds = [
        line.split()[1]
        for path in shop.path.rglob("*.yaml")
        for line in path.read_text().splitlines()
        if line.strip().startswith("hold:")
    ]
    assert len(holds) > 3
    assert set(holds) == {"2s"}


def test_a_change_that_is_not_unique_is_refused(shop: ShopRepository) -> None:
    with pytest.raises(Stalled, match="the story needs one"):
        shop.replace("services/payments.yaml", "kind", "king")
