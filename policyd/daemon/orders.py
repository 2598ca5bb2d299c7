"""Orders to cut somebody off, read: who is meant, from what, and what the revocation is called.

`policyd revoke` -> Order -> revocation_of(...) -> `daemon.revoking`, which carries it out and proves it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from pydantic_core import PydanticCustomError

from policyd.api.revocations import Order
from policyd.base.content import digest
from policyd.base.errors import UsageError
from policyd.intents import units
from policyd.model.mesh import Mesh
from policyd.model.names import DEFAULT_NAMESPACE, Name, parse_spiffe_id
from policyd.model.revocation import Revocation, caller_identity

T = TypeVar("T")


def revocation_of(order: Order, promoted: Mesh, held: Sequence[Revocation]) -> Revocation:
    """The revocation that is ordered. `held` are those that hold already: it gets a name that none of them has.

    Raises `UsageError` for an order that means nobody, or has another one's name.
    """
    name = Name.parse(_read(units.reference, order.name)) if order.name else None
    if order.root:
        root = _read(units.fingerprint, order.root)
        made = Revocation(
            name or Name(DEFAULT_NAMESPACE, f"distrusted-root-{root[:12]}"), order.reason.strip(), root=root
        )
    else:
        made = _of_caller(order, promoted, name)
    if made.name not in {one.name for one in held if _cut(one) != _cut(made)}:
        return made
    if order.name:
        raise UsageError(
            f"another revocation is called `{made.name}`",
            hint="a name that is its own, or none; `lift` ends all of a name",
        )
    return replace(made, name=_apart(made))


def _of_caller(order: Order, promoted: Mesh, name: Name | None) -> Revocation:
    domain = promoted.settings.trust_domain
    identity = caller_identity(domain, _read(units.caller, order.identity), DEFAULT_NAMESPACE)
    caller = parse_spiffe_id(domain, identity)
    to = Name.parse(_read(units.reference, order.to)) if order.to else None
    for service, may_be_gone in ((caller, "://" in order.identity), (to, False)):
        if service is not None and service not in promoted.services and not may_be_gone:
            raise UsageError(
                f"there is no service `{service}`", hint="one that is gone is cut off by its whole SPIFFE ID"
            )
    return Revocation(name or _name(caller, to), order.reason.strip(), identity, to)


def _cut(revocation: Revocation) -> tuple[str, str, str]:
    return revocation.identity, str(revocation.to or ""), revocation.root


def _apart(made: Revocation) -> Name:
    """A name of its own: whoever lifts the other one must not let this one in as well."""
    return Name(made.name.namespace, f"{made.name.name[:54].rstrip('-')}-{digest(_cut(made))[:8]}")


def _name(caller: Name | None, to: Name | None) -> Name:
    """What a revocation is called where nobody says so: in the namespace of the service that it closes."""
    words = ("revoked", caller.name if caller is not None else "stranger", *(("from", to.name) if to else ()))
    home = to or caller
    return Name(home.namespace if home is not None else DEFAULT_NAMESPACE, "-".join(words)[:63].rstrip("-"))


def _read(reader: Callable[[object], T], text: str) -> T:
    try:
        return reader(text)
    except PydanticCustomError as error:
        context = error.context or {}
        raise UsageError(context["message"], hint=context["hint"]) from error
