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
from policyd.intents.translate import nearest
from policyd.model.mesh import Mesh
from policyd.model.names import DEFAULT_NAMESPACE, Name, parse_spiffe_id, spiffe_id
from policyd.model.revocation import Revocation, caller_identity
from policyd.model.scope import Callers

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
        made = _of_caller(order, promoted, name, held)
    if made.name not in {one.name for one in held if _cut(one) != _cut(made)}:
        return made
    if order.name:
        raise UsageError(
            f"another revocation is called `{made.name}`",
            hint="a name that is its own, or none; `lift` ends all of a name",
        )
    return replace(made, name=_apart(made))


def _of_caller(order: Order, promoted: Mesh, name: Name | None, held: Sequence[Revocation]) -> Revocation:
    domain = promoted.settings.trust_domain
    identity = caller_identity(domain, _read(units.caller, order.identity), DEFAULT_NAMESPACE)
    caller = parse_spiffe_id(domain, identity)
    to = Name.parse(_read(units.reference, order.to)) if order.to else None
    for service, may_be_gone in ((caller, "://" in order.identity), (to, False)):
        if service is not None and service not in promoted.services and not may_be_gone:
            meant = nearest(str(service), [str(each) for each in promoted.services], most=0)
            raise UsageError(
                f"there is no service `{service}`",
                hint=meant or "one that is gone is cut off by its whole SPIFFE ID, and with `--anyway`",
            )
    if not (order.anyway or _is_known(identity, promoted) or any(one.identity == identity for one in held)):
        meant = nearest(identity, _named(promoted), most=0)
        raise UsageError(
            f"nobody is known by `{identity}`: no service has it, and no rule names it",
            hint=f"{meant} `--anyway` cuts it off all the same".strip(),
        )
    return Revocation(name or _name(caller, to), order.reason.strip(), identity, to)


def _is_known(identity: str, promoted: Mesh) -> bool:
    """Whether somebody may be meant: a service, whom a rule names, or any stranger where one looks at addresses."""
    domain = promoted.settings.trust_domain
    stranger = not identity.startswith(f"spiffe://{domain}/")
    return identity in _named(promoted) or (
        stranger and any(Callers.of(access, domain).mean(identity, domain) for access in promoted.access.values())
    )


def _named(promoted: Mesh) -> list[str]:
    """Every identity that the mesh has a word for."""
    listed = (
        identity
        for access in promoted.access.values()
        for rule in access.rules
        for source in rule.sources
        for identity in source.identities
    )
    own = (spiffe_id(promoted.settings.trust_domain, service) for service in promoted.services)
    return list(dict.fromkeys((*own, *listed)))


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
