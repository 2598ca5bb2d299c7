"""Delivery: snapshots of nodes go out to their proxies, and what the proxies answer comes back."""
