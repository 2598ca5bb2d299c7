"""Telemetry: what the proxies counted, as integers, and what can be said from the differences.

`MetricSource` reads cumulative counters; `counters` turns two readings into one tick's deltas and drops every
series that was reset; `windows` groups the deltas into the arms of a comparison; `rates` is for people's eyes.
"""
