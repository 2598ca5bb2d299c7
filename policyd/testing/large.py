"""A large mesh as intent files, piece by piece: numbered services, each called by some others spread over the mesh.

For benchmarks and tests that need hundreds of services; what a service itself says is theirs to write.
"""

from __future__ import annotations

CALLERS = 5
"""How many services call each one, and so how many each one calls."""


def name(number: int) -> str:
    """The service of that number."""
    return f"s{number:04}"


def callers(number: int, count: int) -> list[str]:
    """Who calls it, of `count` services: spread out, so that a change touches sidecars everywhere."""
    return sorted({name((number + 1 + step * (count // CALLERS)) % count) for step in range(CALLERS)})


def address(network: str, number: int) -> str:
    """The service's address in a network of its first two bytes, `10.1`."""
    low, high = divmod(number, 250)
    return f"{network}.{low}.{high + 1}"


def reads(number: int, count: int) -> str:
    """The rule that lets its callers read; a YAML document with its separator."""
    return f"""\
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {{name: {name(number)}-reads, owner: bench}}
spec:
  to: {name(number)}
  from: [{", ".join(callers(number, count))}]
  allow:
    - {{methods: [GET], paths: ["/v1/items", "/v1/items/{{id}}"]}}
"""
