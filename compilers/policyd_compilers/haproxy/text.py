"""The one home of how values become words of a HAProxy configuration: quoting, expressions, sections, files.

Every value that comes from an intent passes `word` or `literal`, so that none of them can end a word, begin a comment
or mean something to a regular expression.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from policyd.compiler.artifact import FILE, Artifact

_PLAIN = re.compile(r"[A-Za-z0-9_.:/@+=,~-]")
_BARE = re.compile(r"[A-Za-z0-9_/-]")
_SPECIAL = re.compile(r"([\\'\"(),])")
_PRINTABLE = re.compile(r"[!-~]+")
LONGEST_MS = 2**31 - 1
"""The longest timer, nearly 25 days."""
INDENT = "    "


def word(text: str) -> str:
    """`text` as one word, whatever is in it: a byte that means something to the parser is written in hex."""
    return _escaped(text, _PLAIN, "\\x{:02x}")


def argument(text: str) -> str:
    """`text` as the argument of a fetch or a converter, which has quotes and commas of its own."""
    return word(_SPECIAL.sub(r"\\\1", text))


def literal(text: str) -> str:
    """`text` inside a regular expression in single quotes, byte by byte."""
    return _escaped(text, _BARE, "\\x{:02x}")


def regex(expression: str) -> str:
    """A whole expression as one word: nothing has a meaning between single quotes, and none may be inside."""
    assert "'" not in expression
    return f"'{expression}'"


def remark(text: str) -> str:
    """A comment behind a line, for values that can stand in one."""
    return f" # {text}" if _PRINTABLE.fullmatch(text) else ""


def milliseconds(value: int) -> str:
    """A duration. 0 means no bound, for which HAProxy has no word that it does not warn of: then its longest one."""
    if not 0 < value <= LONGEST_MS:
        return f"{LONGEST_MS}ms"
    return f"{value}ms" if value % 1_000 else f"{value // 1_000}s"


def section(head: str, lines: Iterable[str]) -> str:
    """A section: its heading, its lines below it."""
    return "\n".join([head, *(INDENT + line for line in lines)]) + "\n"


def artifact(name: str, sections: Sequence[str]) -> Artifact:
    """A file of sections, a blank line between two of them."""
    return Artifact(FILE, name, "\n".join(sections).encode())


def _escaped(text: str, plain: re.Pattern[str], form: str) -> str:
    made = (chr(byte) if plain.fullmatch(chr(byte)) else form.format(byte) for byte in text.encode())
    return "".join(made)
