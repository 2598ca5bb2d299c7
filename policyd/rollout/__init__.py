"""Rollout: takes each change from the promoted mesh to the head of Git, stage by stage, and back when it must.

`analysis` and `machine` are pure and decide; `store` remembers; `assembly` makes what each node gets; `driver` does
the rest of the I/O. `record` and `event` are what others see of it.
"""
