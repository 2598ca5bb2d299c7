from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from policyd.guardrails.encoding import decode, encode

ANY_TEXT = st.text(st.characters()) | st.text(
    st.sampled_from('"\\\x00\n\x7f\ud800\udfff\U000f0022\U000fdfff\U0010f000\U00100000a')
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | ANY_TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(ANY_TEXT, inner),
)


@given(VALUES)
def test_what_is_encoded_comes_back(value: object) -> None:
    assert decode(encode(value)) == value


@given(ANY_TEXT)
def test_an_encoded_string_cannot_end_its_literal(text: str) -> None:
    encoded = encode(text)
    assert json.dumps(encoded, ensure_ascii=False) == f'"{encoded}"'
    encoded.encode()  # no lone surrogates


@given(ANY_TEXT, ANY_TEXT)
def test_different_strings_stay_different(one: str, other: str) -> None:
    assert (encode(one) == encode(other)) == (one == other)
