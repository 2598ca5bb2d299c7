r"""How strings travel to the engines: quotes, backslashes and control characters as private-use characters.

The embedded interpreter takes strings verbatim, so a crafted one could end its literal and forge results. Both
engines get the same encoded document, so that a rule computes the same in each; results are decoded.

    U+0000-U+001F, U+007F-U+009F, `"`, `\`    ->  U+F0000 + the character
    lone surrogates                          ->  U+F0000 + the character (no UTF-8 has them)
    U+F0000-U+FDFFF (private use)            ->  U+10F000, then the character + 0x10000
    U+10F000                                 ->  U+10F000 twice
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_PLANE = 0xF0000
_SHIFT = 0x10000
_MARK = "\U0010f000"

_UNSAFE = re.compile('[\x00-\x1f"\\\\\x7f-\x9f\ud800-\udfff\U000f0000-\U000fdfff\U0010f000]')
_ENCODED = re.compile("\U0010f000[\U00100000-\U0010dfff\U0010f000]|[\U000f0000-\U000fdfff]")


def encode(value: Any) -> Any:
    """A plain JSON value with every string, keys too, encoded. Strings that need nothing stay the same objects."""
    return _mapped(value, _encode_text)


def decode(value: Any) -> Any:
    """The inverse of `encode`."""
    return _mapped(value, _decode_text)


def _mapped(value: Any, text: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, dict):
        return {text(key): _mapped(item, text) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(item, text) for item in value]
    return value


def _encode_text(text: str) -> str:
    return _UNSAFE.sub(_encode_one, text) if _UNSAFE.search(text) else text


def _encode_one(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] == _MARK:
        return _MARK + _MARK
    return _MARK + chr(code + _SHIFT) if code >= _PLANE else chr(code + _PLANE)


def _decode_text(text: str) -> str:
    return _ENCODED.sub(_decode_one, text) if _ENCODED.search(text) else text


def _decode_one(match: re.Match[str]) -> str:
    found = match[0]
    if len(found) == 1:
        return chr(ord(found) - _PLANE)
    return _MARK if found[1] == _MARK else chr(ord(found[1]) - _SHIFT)
