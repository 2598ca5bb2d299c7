"""Intents: the file format that people write, and the loader that reads it with the place of every value.

`load(tree)` turns a commit's YAML files into documents and findings; nothing here knows what they mean together
(that is lowering's work).
"""

from policyd.intents.bindings import Bindings
from policyd.intents.document import Document, Exemption
from policyd.intents.loader import Loaded, ParseCache, is_intent_file, load
from policyd.intents.tree import FileTree, MemoryTree

__all__ = [
    "Bindings",
    "Document",
    "Exemption",
    "FileTree",
    "Loaded",
    "MemoryTree",
    "ParseCache",
    "is_intent_file",
    "load",
]
