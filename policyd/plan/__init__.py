"""Plan: what differs between the promoted mesh and the head of Git, and what each node should run meanwhile. Pure."""
