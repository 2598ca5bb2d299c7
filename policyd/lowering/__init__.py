"""Lowering: what intents say, resolved into the model. `PASSES` is the whole flow."""

from policyd.lowering.lower import PASSES, Lowered, lower
from policyd.lowering.memo import LoweringMemo

__all__ = ["PASSES", "Lowered", "LoweringMemo", "lower"]
