"""Files to documents: places to the end, one parse per content, names once, exceptions found in comments."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from policyd.base.diagnostics import Location
from policyd.intents import MemoryTree, ParseCache, is_intent_file, load
from policyd.intents.tree import blob_id

MESH = """\
# the shop
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: shop, owner: platform}
spec:
  trustDomain: shop.example
  dataPlanes:
    - name: sidecars
      compiler: envoy
"""
RULE = """\
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {{name: {name}}}
spec:
  to: checkout
  from: [web, {{namespace: ops}}]
  allow:
    - methods: [GET]
      paths: [/v1/status]
"""


def test_every_value_and_key_keeps_its_place() -> None:
    (document,) = load(MemoryTree({"mesh.yaml": MESH})).documents
    assert (document.kind, str(document.name), document.owner) == ("Mesh", "default/shop", "platform")
    assert document.raw["spec"]["dataPlanes"][0] == {"name": "sidecars", "compiler": "envoy"}
    assert document.locate("spec", "trustDomain") == Location("mesh.yaml", 6, 16)
    assert document.locate_key("spec", "trustDomain") == Location("mesh.yaml", 6, 3)
    assert document.locate("spec", "dataPlanes", 0, "compiler") == Location("mesh.yaml", 9, 17)
    assert document.locate_key("spec", "dataPlanes", 0, "compiler") == Location("mesh.yaml", 9, 7)
    assert document.locate("metadata", "name") == Location("mesh.yaml", 4, 18)
    assert document.locate() == Location("mesh.yaml", 2, 1)


def test_what_is_not_there_is_placed_at_the_nearest_key_around_it() -> None:
    (document,) = load(MemoryTree({"mesh.yaml": MESH})).documents
    assert document.locate("spec", "identity", "leaf") == Location("mesh.yaml", 5, 1)
    assert document.locate_key("spec", "identity") == Location("mesh.yaml", 5, 1)
    assert document.locate("spec", "dataPlanes", 7) == Location("mesh.yaml", 7, 3)
    assert document.locate("spec", "trustDomain", "deeper") == Location("mesh.yaml", 6, 3)


def test_a_finding_of_a_document_quotes_its_line() -> None:
    (document,) = load(MemoryTree({"mesh.yaml": MESH})).documents
    finding = document.finding("PD2999", "told", "spec", "dataPlanes", 0, "compiler", hint="do")
    assert finding.excerpt == "      compiler: envoy"
    assert finding.excerpt[finding.location.column - 1 :][: finding.width] == "envoy"
    at_key = document.finding("PD2999", "told", "spec", "dataPlanes", 0, "compiler", at_key=True)
    assert at_key.excerpt[at_key.location.column - 1 :][: at_key.width] == "compiler"


def test_places_count_characters_not_bytes() -> None:
    text = MESH.replace("metadata: {", 'metadata: {labels: {note: "größe 🛒"}, ').replace(
        "trustDomain", "trustDomian"
    )
    found = load(MemoryTree({"m.yaml": text})).findings
    assert [finding.code for finding in found] == ["PD1104", "PD1103"]
    (document,) = load(MemoryTree({"m.yaml": text.replace("trustDomian", "trustDomain")})).documents
    assert document.locate("metadata", "name").column == text.splitlines()[3].index("shop") + 1


def test_many_documents_in_one_file_and_empty_ones_between() -> None:
    text = (
        "---\n# nothing here\n---\n" + MESH + "---\n" + RULE.format(name="a") + "---\n---\n" + RULE.format(name="b")
    )
    loaded = load(MemoryTree({"all.yaml": text}))
    assert loaded.findings == ()
    assert [str(document.name) for document in loaded.documents] == ["default/shop", "default/a", "default/b"]


def test_each_content_is_parsed_once() -> None:
    cache = ParseCache()
    files = {f"rules/{n}.yaml": RULE.format(name=f"r{n}") for n in range(5)} | {"mesh.yaml": MESH}
    first = load(MemoryTree(files), cache)
    again = load(MemoryTree(files), cache)
    edited = load(MemoryTree(files | {"rules/3.yaml": RULE.format(name="r3") + "# note\n"}), cache)
    back = load(MemoryTree(files), cache)
    assert [loaded.parsed_files for loaded in (first, again, edited, back)] == [6, 0, 1, 0]
    assert all(one is other for one, other in zip(first.documents, back.documents, strict=True))
    changed = [one.path for one, other in zip(first.documents, edited.documents, strict=True) if one is not other]
    assert changed == ["rules/3.yaml"]


def test_the_cache_forgets_what_is_not_used_for_long() -> None:
    cache = ParseCache()
    with_rule = MemoryTree({"mesh.yaml": MESH, "r.yaml": RULE.format(name="r")})
    without = MemoryTree({"mesh.yaml": MESH})
    load(with_rule, cache)
    load(without, cache)
    assert load(with_rule, cache).parsed_files == 0
    for _ in range(3):
        load(without, cache)
    assert load(with_rule, cache).parsed_files == 1


def test_findings_of_a_remembered_file_are_told_again() -> None:
    cache = ParseCache()
    tree = MemoryTree({"a.yaml": "a: &x 1\n"})
    assert load(tree, cache).findings == load(tree, cache).findings != ()


@pytest.mark.parametrize(
    ("path", "is_read"),
    [
        ("services/web.yaml", True),
        ("web.yml", True),
        ("web.yaml.bak", False),
        ("README.md", False),
        (".github/workflows/ci.yaml", False),
        ("team/.drafts/x.yaml", False),
        ("team/.hidden.yaml", False),
        ("rego/pay/data.yaml", False),
        ("team/rego/x.yaml", True),
    ],
)
def test_which_files_are_intents(path: str, is_read: bool) -> None:
    assert is_intent_file(path) is is_read


def test_two_documents_of_one_name_name_both_places() -> None:
    loaded = load(MemoryTree({"a.yaml": RULE.format(name="x"), "b.yaml": RULE.format(name="x")}))
    (finding,) = loaded.findings
    assert finding.code == "PD1112"
    assert str(finding.location) == "b.yaml:3:18"
    assert "a.yaml:3:18" in finding.message


def test_the_same_name_in_another_namespace_or_kind_is_another_thing() -> None:
    other = RULE.format(name="x").replace("name: x", "name: x, namespace: pay")
    assert load(MemoryTree({"a.yaml": RULE.format(name="x"), "b.yaml": other})).findings == ()


def test_exceptions_belong_to_the_document_that_they_stand_in() -> None:
    first = RULE.format(name="a").replace(
        "  allow:", "  # policyd: allow PD2104 until 2027-01-31 because the audit ends then\n  allow:"
    )
    text = f"# policyd: allow PD2101 until 2027-02-01T12:00:00+02:00 because of the head\n{first}---\n"
    text += RULE.format(name="b") + "# policyd:  allow PD2102 until 2027-03-01 because it trails\n"
    loaded = load(MemoryTree({"a.yaml": text}))
    assert loaded.findings == ()
    a, b = loaded.documents
    assert [(e.code, e.reason, e.location.line) for e in a.exemptions] == [
        ("PD2101", "of the head", 1),
        ("PD2104", "the audit ends then", 8),
    ]
    assert a.exemptions[0].until == datetime(2027, 2, 1, 10, tzinfo=UTC)
    assert [exemption.code for exemption in b.exemptions] == ["PD2102"]


@pytest.mark.parametrize(
    "comment",
    [
        "# policyd: allow PD2104",
        "# policyd: allow PD2104 until tomorrow because x",
        "# policyd: allow PD2104 until 2027-01-31",
        "# policyd: allow PD2104 until 2027-01-31 because",
        "# policyd: allow 2104 until 2027-01-31 because x",
        "# policyd: ignore everything",
        "#policyd:allow PD2104 until 2027-02-31 because x",
    ],
)
def test_an_exception_that_cannot_be_read_is_an_error(comment: str) -> None:
    (finding,) = load(MemoryTree({"a.yaml": f"{comment}\n{MESH}"})).findings
    assert (finding.code, finding.is_error, finding.location.line) == ("PD1013", True, 1)
    assert "because" in finding.hint


def test_text_that_looks_like_an_exception_is_text() -> None:
    quoted = MESH.replace("owner: platform", 'owner: "a # policyd: allow all"')
    block = MESH.replace(
        "metadata: {name: shop, owner: platform}",
        "metadata:\n  name: shop\n  labels:\n    note: |\n      # policyd: allow nothing\n      more",
    )
    for text in (quoted, block):
        loaded = load(MemoryTree({"a.yaml": text}))
        assert loaded.findings == ()
        assert loaded.documents[0].exemptions == ()


def test_blob_ids_are_those_of_git() -> None:
    # `echo 'test content' | git hash-object --stdin`, from the Git book, chapter 10.2
    assert blob_id(b"test content\n") == "d670460b4b4aece5915caf5c68d12f560a9fe3e4"
