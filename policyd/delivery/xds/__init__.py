"""Delivery by xDS, from the pure end to the network.

`subscriptions` (one type on one stream) -> `conversation` (what to say in which order) -> `proxy` (one node across
its connections) -> `stream` (one connection) -> `server`.
"""
