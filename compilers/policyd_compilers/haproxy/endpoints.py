"""Addresses of instances as HAProxy writes them."""

from __future__ import annotations

from ipaddress import ip_address


def socket_address(address: str, port: int) -> str:
    """An IP address and a TCP port; an IPv6 address stands in brackets."""
    return f"[{address}]:{port}" if ip_address(address).version == 6 else f"{address}:{port}"
