"""How the real Envoy judges a node without starting: `envoy --mode validate` on a static bootstrap.

It finds what a parser cannot: bad expressions, unknown clusters in routes, duplicate domains. What it misses
(duplicate names, names across resources) `delivery` checks before anything is sent.
"""

from __future__ import annotations

from policyd.compiler.artifact import Compiled
from policyd.compiler.protocol import ListenAddress, Secrets, Validation
from policyd.model.node import Node
from policyd_compilers.envoy import static
from policyd_compilers.envoy.render import to_yaml

FILE = "bootstrap.yaml"
_NOWHERE = ListenAddress(host="127.0.0.1", port=0)


def validation(compiled: Compiled, node: Node, secrets: Secrets) -> Validation:
    """The file to write and the arguments that make `envoy` judge it."""
    message = static.bootstrap(compiled.artifacts, node, _NOWHERE, secrets)
    arguments = ("--mode", "validate", "--disable-hot-restart", "--log-level", "error", "-c", "{dir}/" + FILE)
    return Validation("envoy", arguments, {FILE: to_yaml(message).encode()})
