"""The path grammar: what parses, what matches, and that no request path has two readings."""

from __future__ import annotations

import itertools
import re
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.model.paths import PathPattern, PathSyntaxError, is_canonical_path

UNRESERVED = "ABCXYZabcxyz0189._~-!$&'()*+,=:@"
NEEDED = sorted({*range(0x01, 0x80), *range(0x80, 0x100)} - {ord(c) for c in UNRESERVED + "/\\."})

plain_byte = st.sampled_from(UNRESERVED)
escape = st.integers(min_value=0x80, max_value=0xFF).map(lambda byte: f"%{byte:02X}") | st.sampled_from(
    ["%20", "%22", "%25", "%3C", "%3E", "%3F", "%5B", "%5D", "%5E", "%60", "%7B", "%7D", "%23", "%3B", "%7F", "%0A"]
)
segment = st.lists(plain_byte | escape, min_size=1, max_size=6).map("".join).filter(lambda s: s not in {".", ".."})
literal = segment.filter(lambda s: "**" not in s)
canonical = st.lists(segment, max_size=5).map(lambda parts: "/" + "/".join(parts))
awkward = st.sampled_from(
    [
        "/",
        "/a",
        "/%E2%82%AC",
        "/%20",
        "/.",
        "/..",
        "/...",
        "//",
        "%2F",
        "%2f",
        "%5C",
        "%00",
        "%2E",
        "%2e",
        "%41",
        "%7E",
        "%",
        ";",
        "\\",
        "#",
        "?",
        "~",
        "b",
        "{x}",
        "*",
        "%25",
        "%252F",
        "\n",
        " ",
    ]
)
piece = st.just("{any}") | literal


@st.composite
def patterns(draw: st.DrawFn) -> str:
    pieces = draw(st.lists(piece, max_size=4))
    rest = draw(st.booleans())
    return "/" + "/".join([*pieces, "**"] if rest else pieces)


@given(canonical)
def test_generated_paths_are_canonical(path: str) -> None:
    assert is_canonical_path(path)


@given(patterns())
def test_patterns_print_as_they_parse(text: str) -> None:
    pattern = PathPattern.parse(text)
    assert str(pattern) == text
    assert PathPattern.parse(str(pattern)) == pattern


@given(patterns(), canonical)
def test_a_pattern_matches_what_its_words_say(text: str, path: str) -> None:
    """The reference: the grammar's own sentence, written once more as a regular expression over segments."""
    body = text.removesuffix("/**")
    expression = "".join("/" + ("[^/]+" if part == "{any}" else re.escape(part)) for part in body.split("/")[1:])
    expression += "(/.*)?" if text.endswith("/**") else ""
    assert PathPattern.parse(text).matches(path) == bool(re.fullmatch(expression, path, re.DOTALL))


@given(patterns(), st.data())
def test_a_pattern_matches_the_paths_made_from_it(text: str, data: st.DataObject) -> None:
    pattern = PathPattern.parse(text)
    head = "".join("/" + (data.draw(segment) if part is None else part) for part in pattern.segments)
    path = head or "/"
    assert pattern.matches(path) or (pattern.segments == () and path == "/")
    if pattern.rest:
        assert pattern.matches(head + "/" + data.draw(segment))
        assert pattern.matches(head + "/")
        assert (
            not head
            or not pattern.matches(head + "x" if not head.endswith("}") else "/")
            or pattern.segments[-1] is None
        )


@given(canonical)
def test_everything_is_below_the_rest_of_the_root(path: str) -> None:
    assert PathPattern.parse("/**").matches(path)


@given(st.lists(awkward, max_size=8).map("".join))
def test_a_canonical_path_has_one_reading(text: str) -> None:
    """Decoding, dot removal and slash merging, which other programs may do, find nothing to do or to confuse."""
    if not is_canonical_path(text):
        return
    assert text.startswith("/")
    assert "//" not in text
    for part in text[1:].split("/"):
        decoded = unquote_to_bytes(part)
        assert part not in {".", ".."}
        assert decoded not in {b".", b".."}
        assert b"/" not in decoded
        assert b"\\" not in decoded
        assert b"\x00" not in decoded
    for digits in re.findall(r"%(..)", text):
        assert digits == digits.upper()
        assert chr(int(digits, 16)) not in UNRESERVED


@given(st.text(max_size=20))
def test_no_text_raises_anything_else(text: str) -> None:
    try:
        pattern = PathPattern.parse(text)
    except PathSyntaxError as problem:
        assert "`" in str(problem)  # noqa: PT017
        return
    assert str(PathPattern.parse(str(pattern))) == str(pattern)


@given(patterns())
def test_every_pattern_that_parses_can_match_a_canonical_path(text: str) -> None:
    pattern = PathPattern.parse(text)
    path = "".join("/" + ("x" if part is None else part) for part in pattern.segments) or "/"
    assert is_canonical_path(path)
    assert pattern.matches(path)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "a",
        "//",
        "/a//b",
        "/./a",
        "/a/..",
        "/a/../b",
        "/..",
        "/a\\b",
        "/a;b",
        "/a#b",
        "/a?b",
        "/a b",
        "/a\x00",
        "/a\n",
        "/ü",
        "/%",
        "/%4",
        "/%zz",
        "/%2f",
        "/%2F",
        "/%5C",
        "/%5c",
        "/%00",
        "/%2E",
        "/%2e%2e",
        "/%41",
        "/%7E",
        "/%e2%82%ac",
        '/"',
        "/<",
        "/{a}",
        "/|",
        "/^",
        "/`",
    ],
)
def test_not_canonical(path: str) -> None:
    assert not is_canonical_path(path)


@pytest.mark.parametrize(
    "path", ["/", "/a", "/a/", "/.hidden", "/a..b", "/...", "/%E2%82%AC", "/a%20b", "/~x", "/a:b@c=1"]
)
def test_canonical(path: str) -> None:
    assert is_canonical_path(path)


@pytest.mark.parametrize("piece", ["a", "a/", "%20", "a%20", "/%20/a"])
def test_a_long_path_is_read_once_however_it_ends(piece: str) -> None:
    path = "/b" + piece * 100_000
    assert is_canonical_path(path)
    assert not is_canonical_path(path + "\x00")


@pytest.mark.parametrize(
    ("pattern", "inside", "outside"),
    [
        ("/v2/**", ["/v2", "/v2/", "/v2/a", "/v2/a/b"], ["/v2x", "/v", "/", "/v20/a"]),
        ("/users/{id}", ["/users/1", "/users/a.b"], ["/users", "/users/", "/users/1/x", "/users/1/"]),
        ("/a/", ["/a/"], ["/a", "/a/b"]),
        ("/", ["/"], ["/a"]),
        ("/**", ["/", "/a", "/a/"], []),
        ("/{x}/b/**", ["/a/b", "/a/b/c", "/a/b/"], ["/b", "//b", "/a/bc", "/a/x/b"]),
    ],
)
def test_examples(pattern: str, inside: list[str], outside: list[str]) -> None:
    parsed = PathPattern.parse(pattern)
    assert [path for path in inside if not parsed.matches(path)] == []
    assert [path for path in outside if parsed.matches(path)] == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v1",
        "//",
        "/a//b",
        "/./a",
        "/a/..",
        "/a{b}",
        "/{}",
        "/{A}",
        "/{a",
        "/a*/**/b",
        "/**/a",
        "/a**",
        "/{a}{b}",
        "/a?b",
        "/a b",
        "/a%2Fb",
        "/a%41",
        "/a%e2",
        "/ü",
        "/a;b",
        "/a\\b",
        "/***",
    ],
)
def test_outside_the_grammar(text: str) -> None:
    with pytest.raises(PathSyntaxError):
        PathPattern.parse(text)


few = st.lists(st.sampled_from(["a", "b", "{x}"]), max_size=3)
short_patterns = st.tuples(few, st.sampled_from(["", "/", "/**"])).map(
    lambda drawn: PathPattern.parse("".join(f"/{piece}" for piece in drawn[0]) + drawn[1] or "/")
)
PATHS = [
    "/" + "/".join(parts) + end
    for n in range(5)
    for parts in itertools.product("abc", repeat=n)
    for end in ("", "/")[: n + 1]
]


@given(wide=short_patterns, narrow=short_patterns)
def test_a_pattern_covers_another_if_and_only_if_it_matches_all_that_the_other_does(
    wide: PathPattern, narrow: PathPattern
) -> None:
    assert wide.covers(narrow) == all(wide.matches(path) for path in PATHS if narrow.matches(path))
