"""The demonstration: a real mesh on loopback that follows a Git repository, told as a story in acts.

Everything here is the world around policyd (applications, sidecars, callers, a repository, a screen); the controller
itself is started as `policyd run`, a process of its own, and is watched over its HTTP API like any other.
"""
