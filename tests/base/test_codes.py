"""The tables of finding codes refuse what would confuse people."""

from __future__ import annotations

import pytest

from policyd.base.codes import Explanation, table


def test_a_table_is_in_order_of_code_and_cannot_be_changed() -> None:
    made = table(Explanation("PD1002", "b", "B."), Explanation("PD1001", "a", "A."))
    assert list(made) == ["PD1001", "PD1002"]
    with pytest.raises(TypeError):
        made["PD1003"] = Explanation("PD1003", "c", "C.")  # type: ignore[index]


@pytest.mark.parametrize("code", ["PD0001", "PD12", "pd1001", "PD10011", "X1001"])
def test_malformed_codes_are_refused(code: str) -> None:
    with pytest.raises(ValueError, match="is not a finding code"):
        table(Explanation(code, "t", "T."))


def test_a_code_is_explained_once() -> None:
    with pytest.raises(ValueError, match="explained twice"):
        table(Explanation("PD1001", "a", "A."), Explanation("PD1001", "b", "B."))
