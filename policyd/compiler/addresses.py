"""Blocks of addresses as proxies compare them: each family with its own.

An IPv4 address is in blocks of IPv4 only, however large a block of IPv6 is; one of IPv4-mapped addresses (RFC 4291,
section 2.5.5.2) is a block of IPv4. Proxies do not agree on that, nor on what an IPv6 address that holds an IPv4 one
(6to4) is: so it is written out here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

_MAPPED = IPv6Network("::ffff:0:0/96")


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks that an IPv4 peer is looked for in, and those for an IPv6 peer."""

    v4: tuple[IPv4Network, ...]
    v6: tuple[IPv6Network, ...]

    @classmethod
    def of(cls, blocks: Iterable[str]) -> Blocks:
        """Blocks in CIDR form, sorted. Raises `ValueError` for what is none."""
        v4: set[IPv4Network] = set()
        v6: set[IPv6Network] = set()
        for block in map(ip_network, blocks):
            if isinstance(block, IPv4Network):
                v4.add(block)
            elif block.subnet_of(_MAPPED):
                v4.add(IPv4Network((IPv4Address(int(block.network_address) & 0xFFFF_FFFF), block.prefixlen - 96)))
            else:
                v6.add(block)
        return cls(tuple(sorted(v4)), tuple(sorted(v6)))
