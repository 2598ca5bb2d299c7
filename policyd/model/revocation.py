"""Revocations: what is cut off at once, everywhere, whatever rules and releases say.

A revocation can only narrow. It belongs to the floor (`policyd.plan.floor`): it is subtracted from everything that is
served, and nothing that goes back brings back what it closed.
"""

from __future__ import annotations

from dataclasses import dataclass

from policyd.model.names import Name, spiffe_id


@dataclass(frozen=True, slots=True)
class Revocation:
    """One cut. Either `identity` (a whole SPIFFE ID), towards `to` alone where that is said, or `root`.

    `root` is the SHA-256 of a root certificate (64 lower-case hex digits) that nobody trusts any more.
    """

    name: Name
    reason: str
    identity: str = ""
    to: Name | None = None
    root: str = ""

    def __str__(self) -> str:
        if self.root:
            return f"root {self.root[:16]} is trusted no more"
        return f"`{self.identity}` is cut off" + (f" from `{self.to}`" if self.to is not None else "")

    def cuts(self, destination: Name) -> str:
        """The identity that may not call `destination` any more; empty where it cuts nobody off from there."""
        return self.identity if self.to is None or self.to == destination else ""


def caller_identity(trust_domain: str, text: str, namespace: str) -> str:
    """The SPIFFE ID that a person means by an ID, by `name` or by `namespace/name`."""
    return text if text.startswith("spiffe://") else spiffe_id(trust_domain, Name.parse(text, namespace))
