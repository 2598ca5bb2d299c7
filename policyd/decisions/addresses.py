"""Addresses of callers as numbers: blocks are made ready once, an address is read when a rule asks for it.

IPv4 is looked at as IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2), so that both spellings of an address are one. An
IPv4 address is in blocks of IPv4 only, however large a block of IPv6 is: so do the proxies see it.
"""

from __future__ import annotations

import ipaddress
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

_MAPPED = 0xFFFF << 32
_MAPPED_END = _MAPPED | 0xFFFF_FFFF
"""`::ffff:0:0/96`, where the IPv4 addresses are."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """A set of addresses: ranges from `lows[i]` to `highs[i]`, both in it, in order and apart from one another."""

    lows: tuple[int, ...]
    highs: tuple[int, ...]

    @classmethod
    def of(cls, blocks: Iterable[str]) -> Blocks:
        """The union of blocks in CIDR. Raises `ValueError` for what is none."""
        return cls._joined(part for block in blocks for part in _without_ipv4(*block_range(block)))

    @classmethod
    def _joined(cls, ranges: Iterable[tuple[int, int]]) -> Blocks:
        joined: list[tuple[int, int]] = []
        for low, high in sorted(ranges):
            if joined and low <= joined[-1][1] + 1:
                joined[-1] = (joined[-1][0], max(high, joined[-1][1]))
            else:
                joined.append((low, high))
        return cls(tuple(low for low, _ in joined), tuple(high for _, high in joined))

    def __contains__(self, number: int) -> bool:
        found = bisect_right(self.lows, number) - 1
        return found >= 0 and number <= self.highs[found]

    def __or__(self, other: Blocks) -> Blocks:
        mine, theirs = zip(self.lows, self.highs, strict=True), zip(other.lows, other.highs, strict=True)
        return Blocks._joined((*mine, *theirs))


NOWHERE = Blocks((), ())
"""No address at all."""


def block_range(block: str) -> tuple[int, int]:
    """The first and the last address of a block in CIDR. Raises `ValueError` for what is none."""
    network = ipaddress.ip_network(block)
    above = _MAPPED if network.version == 4 else 0
    return above | int(network.network_address), above | int(network.broadcast_address)


def _without_ipv4(low: int, high: int) -> tuple[tuple[int, int], ...]:
    """A range of IPv6 without the IPv4 addresses inside of it; one of IPv4 as it is."""
    if low < _MAPPED and high > _MAPPED_END:
        return (low, _MAPPED - 1), (_MAPPED_END + 1, high)
    if low < _MAPPED <= high:
        return ((low, _MAPPED - 1),)
    return ((low, high),)


def range_block(low: int, high: int) -> str:
    """The block in CIDR from the first to the last of its addresses. Raises `ValueError` where they bound none."""
    mapped = low >> 32 == high >> 32 == _MAPPED >> 32
    ends = [ipaddress.IPv4Address(end & 0xFFFFFFFF) if mapped else ipaddress.IPv6Address(end) for end in (low, high)]
    block, *more = ipaddress.summarize_address_range(*ends)
    if more:
        raise ValueError("not one block")
    return str(block)


def address_number(text: str) -> int | None:
    """The number of an address, or `None` where nobody can tell which address is meant."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if address.version == 4:
        return _MAPPED | int(address)
    return None if address.scope_id else int(address)
