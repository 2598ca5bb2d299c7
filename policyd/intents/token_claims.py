"""Claims of a token, as access rules ask for them and as tests of policies give them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from policyd.intents.kind import OneOrMany

_Name = Annotated[str, Field(min_length=1, max_length=256)]
_Value = Annotated[str, Field(min_length=1, max_length=1_024)]
Claims = Mapping[_Name, Annotated[OneOrMany[_Value], Field(min_length=1)]]
"""Values by the name of the claim, both as text."""
