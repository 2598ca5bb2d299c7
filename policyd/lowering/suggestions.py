"""What was probably meant by a name that is not there: looked for where a person will read it, and no further."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from policyd.base.diagnostics import MOST_OF_A_FILE
from policyd.intents.translate import nearest


class Suggestions:
    """Hints about the unknown names of one document.

    To look for one among thousands of names takes its time, and of a document with thousands of mistakes only
    `MOST_OF_A_FILE` findings are shown: the others get no hint.
    """

    def __init__(self, known: Callable[[], Iterable[str]]) -> None:
        self._find = known
        self._known: list[str] | None = None
        self._left = MOST_OF_A_FILE

    def of(self, word: str) -> str:
        """The hint for a word; empty where there is nothing to say, or too much was said."""
        self._left -= 1
        if self._left < 0:
            return ""
        if self._known is None:
            self._known = list(self._find())
        return nearest(word, self._known)
