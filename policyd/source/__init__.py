"""Source: Git as the place where the mesh is written down.

    remote ──fetch──> mirror ──objects by id──> snapshot ──> intents

A bare mirror and object ids only: no checkout, no hooks, no submodules, no symbolic links. What a repository
contains is data to be read, never something to be run.
"""

from policyd.source.mirror import Mirror
from policyd.source.snapshot import Limits, Snapshot
from policyd.source.watch import BranchRewritten, Reachable, SourceEvent, Unreachable, Untidy, Watch
from policyd.source.working_tree import DirectoryTree, begin_repository, first_parent, repository_root, tree_at

__all__ = [
    "BranchRewritten",
    "DirectoryTree",
    "Limits",
    "Mirror",
    "Reachable",
    "Snapshot",
    "SourceEvent",
    "Unreachable",
    "Untidy",
    "Watch",
    "begin_repository",
    "first_parent",
    "repository_root",
    "tree_at",
]
