"""The HAProxy compiler, by files: sidecars with mutual TLS, access rules in frontends, weighted versions.

`README.md` beside this file is the mapping table: model field, HAProxy directive, the default chosen and why.
"""

from policyd_compilers.haproxy.compiler import HAProxyCompiler

COMPILER = HAProxyCompiler()
"""The entry point `haproxy` of the group `policyd.compilers`."""

__all__ = ["COMPILER", "HAProxyCompiler"]
