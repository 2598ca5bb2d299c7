"""Intent files of the small meshes: services that front calls, as a newcomer would write them."""

from __future__ import annotations

from collections.abc import Mapping

_SERVICE = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: NAME, owner: test}
spec:
  port: 8080
  versions:
VERSIONS
  version: v1
"""
_READS = """\
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: front-reads-NAME, owner: test}
spec:
  to: NAME
  from: [front]
  allow:
    - {methods: [GET], paths: [/v1/items, "/v1/items/{id}"]}
"""
_CANARY = """\
---
apiVersion: policyd.dev/v1alpha1
kind: CanarySplit
metadata: {name: NAME, owner: test}
spec:
  service: NAME
  steps: [10, 50, 100]
  hold: HOLD
  minRequests: 20
  gates: [NAME-availability]
"""


def service(name: str, addresses: Mapping[str, str]) -> str:
    """A service by the address of each version; v1 serves."""
    versions = "\n".join(f"    {version}: {{endpoints: [{address}]}}" for version, address in addresses.items())
    return _SERVICE.replace("VERSIONS", versions).replace("NAME", name)


def canary(name: str, hold: str) -> str:
    """How every change of the service's version is taken; a document with its separator."""
    return _CANARY.replace("NAME", name).replace("HOLD", hold)


def called(name: str, addresses: Mapping[str, str], hold: str) -> str:
    """A service that front may read, with an SLO and a canary that holds each step so long."""
    reads = _READS.replace("NAME", name)
    return service(name, addresses) + "  slo: {availability: 99}\n" + reads + canary(name, hold)
