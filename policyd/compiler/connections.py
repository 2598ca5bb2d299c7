"""Where an application finds the `tcp` services that it calls: one port of its sidecar's loopback for each of them.

A connection says nothing of whom it is for, so the port has to. It is the service's own, unless the caller says
otherwise (`localPorts`). A port that is taken goes to nobody else: what would listen there has no way at all, and
lowering says so before.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from policyd.compiler.naming import outbound_address
from policyd.model.names import Name
from policyd.model.service import Endpoint, Protocol, Service


def wanted(caller: Service, destinations: Iterable[Service]) -> dict[Name, int]:
    """The port of every `tcp` service among `destinations`, taken or not, in order of name."""
    said = dict(caller.local_ports)
    found = (each for each in destinations if each.protocol is Protocol.TCP and each.external is None)
    return {each.name: said.get(each.name, each.port) for each in sorted(found, key=lambda each: each.name)}


def local_ports(caller: Service, destinations: Iterable[Service], taken: Collection[int]) -> dict[Name, int]:
    """The same without those that would listen where something else does: the first by name keeps the port."""
    used = set(taken)
    found: dict[Name, int] = {}
    for name, port in wanted(caller, destinations).items():
        if port not in used:
            used.add(port)
            found[name] = port
    return found


def of_application(endpoint: Endpoint) -> frozenset[int]:
    """The port of an instance's loopback where its application listens, if it is there that it does."""
    there = endpoint.app_address == outbound_address(endpoint.address)
    return frozenset({endpoint.app_port}) if there else frozenset()


def of_sidecar(endpoint: Endpoint, outbound_port: int, inbound_ports: Iterable[int]) -> frozenset[int]:
    """The ports of an instance's loopback where its sidecar listens for requests and for peers."""
    shared = endpoint.address == outbound_address(endpoint.address)
    return frozenset({outbound_port, *(inbound_ports if shared else ())})
