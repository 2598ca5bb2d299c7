"""Hostile and ambiguous YAML is a finding, found on the event stream, at its place."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policyd.intents.reader import MAX_BYTES, read
from policyd.intents.scalars import NumberRefused, resolve

HEAD = "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: shop}\nspec: {trustDomain: shop.example}\n"

# code, text, where, and a word of the message
REFUSED = [
    ("PD1001", b"name: caf\xe9\n", "a.yaml:1:10", "`0xe9`"),
    ("PD1001", b"a: 1\rb: \xff\xfe\n", "a.yaml:2:4", "`0xff`"),
    ("PD1001", "a: 1\n".encode("utf-16"), "a.yaml:1:1", "UTF-16"),
    ("PD1002", "a: 1\nb: \x00\n", "a.yaml:2:4", "U+0000"),
    ("PD1002", "a: user\u202e # nimda\n", "a.yaml:1:8", "U+202E"),
    ("PD1002", "# a comment \u2066 too\n", "a.yaml:1:13", "U+2066"),
    ("PD1002", "a: wo\u200brd\n", "a.yaml:1:6", "U+200B"),
    ("PD1002", 'a: "x\\0y"\n', "a.yaml:1:4", "invisible"),
    ("PD1002", 'a: "x\\u202ey"\n', "a.yaml:1:4", "invisible"),
    ("PD1002", '"a\\u200b": 1\n', "a.yaml:1:1", "invisible"),
    ("PD1003", "#" * (MAX_BYTES + 1), "a.yaml", "1,048,577"),
    ("PD1004", "a: " + "[" * 64 + "]" * 64, "a.yaml:1:67", "64"),
    ("PD1005", "a: [1, 2\nb: 3\n", "a.yaml:2:2", "not valid YAML"),
    ("PD1005", "a: 1\n\tb: 2\n", "a.yaml:2:1", "not valid YAML"),
    ("PD1006", "a: &x 1\n", "a.yaml:1:4", "`&x`"),
    ("PD1006", "a: &x {b: 1}\n", "a.yaml:1:4", "`&x`"),
    ("PD1006", "a: *x\n", "a.yaml:1:4", "`*x`"),
    ("PD1006", "a: {*x : 1}\n", "a.yaml:1:5", "`*x`"),
    ("PD1005", "a: [*]\n", "a.yaml:1:6", "alias"),
    ("PD1007", "<<: {a: 1}\n", "a.yaml:1:1", "merge"),
    ("PD1008", "a: !!str 1\n", "a.yaml:1:4", "tag"),
    ("PD1008", "a: !env HOME\n", "a.yaml:1:4", "`!env`"),
    ("PD1008", "%TAG ! tag:x,1:\n---\na: 1\n", "a.yaml:1:1", "tag"),
    ("PD1009", "a: 1\nb: 2\na: 3\n", "a.yaml:3:1", "first in line 1"),
    ("PD1009", "x: {a: 1, 'a': 2}\n", "a.yaml:1:11", "`a`"),
    ("PD1010", "? [a]\n: 1\n", "a.yaml:1:3", "key"),
    ("PD1010", "? {a: 1}\n: 1\n", "a.yaml:1:3", "key"),
    ("PD1010", "?\n: 1\n", "a.yaml:1:2", "key"),
    ("PD1011", "a: .nan\n", "a.yaml:1:4", "`.nan`"),
    ("PD1011", "a: -.inf\n", "a.yaml:1:4", "`-.inf`"),
    ("PD1011", "a: 1e999\n", "a.yaml:1:4", "`1e999`"),
    ("PD1011", "a: 9223372036854775808\n", "a.yaml:1:4", "64 bits"),
    ("PD1011", "a: " + "9" * 5_000 + "\n", "a.yaml:1:4", "64 bits"),
    ("PD1011", "a: 0x" + "f" * 5_000 + "\n", "a.yaml:1:4", "64 bits"),
    ("PD1015", "a:\nb: 1\n", "a.yaml:1:3", "`a` has no value"),
    ("PD1015", "a: [1, ~]\n", "a.yaml:1:8", "a list item"),
    ("PD1015", "a: null\n", "a.yaml:1:4", "`a` has no value"),
]


@pytest.mark.parametrize(("code", "text", "where", "word"), REFUSED, ids=lambda value: str(value)[:24])
def test_each_hostile_input_is_one_located_finding(code: str, text: str | bytes, where: str, word: str) -> None:
    found = read("a.yaml", text.encode() if isinstance(text, str) else text).findings
    assert (found[0].code, str(found[0].location)) == (code, where)
    assert word in found[0].message
    assert found[0].is_error


def test_an_alias_is_refused_where_it_stands_and_nothing_expands() -> None:
    laughs = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
    )
    raw = read("a.yaml", laughs.encode())
    assert {finding.code for finding in raw.findings} == {"PD1006"}
    assert not raw.documents[0].sound


def test_a_key_that_is_a_mapping_does_not_confuse_what_follows() -> None:
    raw = read("a.yaml", b"? {a: 1}\n: 1\nb: 2\n? *x\n: 3\nc: 4\n")
    assert [finding.code for finding in raw.findings] == ["PD1010", "PD1006"]
    assert raw.documents[0].value["b"] == 2
    assert raw.documents[0].value["c"] == 4


def test_deep_nesting_neither_crashes_nor_takes_long() -> None:
    for opened in (b"[", b"{a: ", b"- "):
        body = opened * (MAX_BYTES // len(opened))
        began = time.perf_counter()
        found = read("a.yaml", body).findings
        assert found[0].code == "PD1004"
        assert time.perf_counter() - began < 2


def test_a_file_of_nothing_but_faults_is_not_read_to_its_end() -> None:
    found = read("a.yaml", ("a: &x 1\n" * 50_000).encode()).findings
    assert len(found) == 101
    assert found[-1].code == "PD1014"


def test_all_documents_before_a_syntax_error_are_kept() -> None:
    raw = read("a.yaml", (HEAD + "---\n" + HEAD + "---\na: [\n").encode())
    assert len(raw.documents) == 2
    assert [finding.code for finding in raw.findings] == ["PD1005"]


def test_braces_inside_brackets_teach_the_quotes() -> None:
    (finding,) = read("a.yaml", b"paths: [/v1/orders/{id}, /v1]\n").findings
    assert (finding.code, str(finding.location)) == ("PD1005", "a.yaml:1:20")
    assert '"/v1/orders/{id}"' in finding.hint


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("22:22", "22:22"),
        ("2027-03-31", "2027-03-31"),
        ("1_000", "1_000"),
        ("010", 10),
        ("0o17", 15),
        ("0xff", 255),
        ("+7", 7),
        ("-0", 0),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("true", True),
        ("FALSE", False),
        ("True", True),
        ("tRUE", "tRUE"),
        ("~", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("9223372036854775807", 2**63 - 1),
        ("-", "-"),
        (".", "."),
        ("+", "+"),
        ("1.2.3", "1.2.3"),
        ("0b1", "0b1"),
    ],
)
def test_plain_scalars_follow_the_core_schema(text: str, value: object) -> None:
    resolved = resolve(text)
    assert resolved == value
    assert type(resolved) is type(value)


@given(st.text(alphabet="0123456789+-.eExoabfINn_:", min_size=1, max_size=60))
def test_no_number_is_read_that_json_cannot_carry(text: str) -> None:
    try:
        value = resolve(text)
    except NumberRefused:
        return
    if isinstance(value, float):
        assert value - value == 0
    if isinstance(value, int):
        assert abs(value) < 2**63


@given(st.binary(max_size=400))
def test_no_bytes_raise(body: bytes) -> None:
    read("a.yaml", body)


@given(st.text(alphabet="ab:{}[],&*!|>-?# \n\t\"'%~1<.", max_size=120))
def test_no_text_raises_and_every_finding_points_into_the_file(text: str) -> None:
    raw = read("a.yaml", text.encode())
    lines = text.split("\n")
    for finding in raw.findings:
        assert 1 <= finding.location.line <= len(lines) + 1
        assert finding.excerpt == (lines[finding.location.line - 1] if finding.location.line <= len(lines) else "")


def test_a_byte_order_mark_and_other_line_ends_are_read() -> None:
    raw = read("a.yaml", b"\xef\xbb\xbfa: 1\r\nb: &x 2\r\n")
    (finding,) = raw.findings
    assert str(finding.location) == "a.yaml:2:4"
    assert finding.excerpt == "b: &x 2"
