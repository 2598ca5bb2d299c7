"""A small mesh in intents, and the way to lower changed forms of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from policyd.intents import MemoryTree, load
from policyd.lowering import Lowered, lower

MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: shop, owner: platform}
spec:
  trustDomain: shop.example
"""
SERVICES = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: checkout, owner: team-buy}
spec:
  port: 8080
  versions:
    v2: {endpoints: [10.0.1.21]}
    v1: {endpoints: [{address: 10.0.1.12, zone: b}, 10.0.1.11]}
  version: v1
  healthCheck: {path: /healthz, interval: 2s}
  slo: {availability: 99.9, latency: {99: 300ms, 99.9: 1s}}
  resilience:
    timeout: {request: 2s, perTry: 600ms}
    retries: {attempts: 2, on: [503, reset], budget: 20%}
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: web, owner: team-web}
spec:
  port: 80
  versions: {v1: {endpoints: [127.0.0.5, {address: 127.0.0.6, app: "127.0.0.1:9000"}]}}
  version: v1
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: ledger, namespace: pay}
spec:
  port: 5432
  protocol: tcp
  versions: {v1: {endpoints: [10.0.2.1]}}
  version: v1
---
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: registry}
spec:
  port: 5000
  opaquePaths: true
  versions: {v1: {endpoints: []}}
  version: v1
"""
RULES = """\
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: web-checks-out, owner: team-buy}
spec:
  to: checkout
  from: [web, {namespace: [pay, default]}, {identity: "spiffe://partner.example/ns/x/svc/y"}]
  allow:
    - {methods: [POST, GET, GET], paths: [/v1/status, "/v1/orders/{id}"]}
    - {methods: [GET, "*"], paths: [/v2/**]}
  expires: 2027-03-31
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: everyone-looks, owner: team-buy}
spec:
  to: checkout
  from: ["*"]
  allow: [{methods: [GET], paths: [/v1/status]}]
  mode: observe
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: shop-pays, namespace: pay}
spec:
  to: ledger
  from: [default/checkout]
  allow: [{connections: true}]
"""
RELEASES = """\
apiVersion: policyd.dev/v1alpha1
kind: CanarySplit
metadata: {name: checkout}
spec:
  service: checkout
  first: {header: {X-Canary: "yes"}}
  steps: [5, 25.5, 100]
  hold: 60s
  gates: [checkout-availability, checkout-latency-99]
  onInconclusive: hold
---
apiVersion: policyd.dev/v1alpha1
kind: RolloutStrategy
metadata: {name: careful}
spec:
  waves: [{proxies: 1}, {proxies: 20%}, {proxies: 100%}]
  hold: 30s
  gates: touched
"""
FILES = {"mesh.yaml": MESH, "services.yaml": SERVICES, "rules.yaml": RULES, "releases.yaml": RELEASES}

LowerFiles = Callable[..., Lowered]


@pytest.fixture
def files() -> dict[str, str]:
    """The files of the small mesh."""
    return dict(FILES)


@pytest.fixture
def lower_with() -> LowerFiles:
    """Lower the small mesh with more files, or with pieces of text replaced."""

    def run(*replacements: tuple[str, str], more: str = "") -> Lowered:
        changed = dict(FILES)
        for old, new in replacements:
            assert any(old in text for text in changed.values()), old
            changed = {path: text.replace(old, new) for path, text in changed.items()}
        if more:
            changed["z.yaml"] = more
        return lower(load(MemoryTree(changed)))

    return run
