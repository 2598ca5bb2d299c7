"""The Envoy compiler, by xDS: sidecars with mutual TLS, access rules in routes, weighted versions.

`README.md` beside this file is the mapping table: model field, Envoy field, the default that was chosen and why.
"""

from policyd_compilers.envoy.compiler import EnvoyCompiler

COMPILER = EnvoyCompiler()
"""The entry point `envoy` of the group `policyd.compilers`."""

__all__ = ["COMPILER", "EnvoyCompiler"]
