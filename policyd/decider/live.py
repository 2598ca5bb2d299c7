"""What an answer says of proxies that do not decide as it does (`differing`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from policyd.model.names import Name


def live_of(said: Mapping[str, Any], asked: Any) -> Any:
    """What is said of the destination in an input; `None` where its proxies decide as promoted."""
    try:
        return said.get(str(Name.parse(asked["destination"]["service"])))
    except (TypeError, LookupError, AttributeError):
        return None
