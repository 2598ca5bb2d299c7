"""Settings: which hosts may be asked for keys, of the controller and of decision servers alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import PlainValidator

from policyd.identity.key_sets import Fetching
from policyd.intents.kind import Many
from policyd.intents.settings_file import Section, path_value


class Fetch(Section):
    """What may be fetched from elsewhere, over `https`: the keys of token issuers."""

    hosts: Many[str] = ()
    """The hosts that may be asked: `login.example`, or with a port. Nothing is fetched from any other."""
    authorities: Annotated[Path, PlainValidator(path_value)] | None = None
    """A PEM file of certificate authorities to trust; those of the machine, if not given."""

    @property
    def allowed(self) -> Fetching:
        """The same for who fetches."""
        return Fetching(frozenset(self.hosts), self.authorities)
