from __future__ import annotations

from policyd.base.diagnostics import Finding, Location, Severity
from policyd.cli.render_findings import count_text, finding_text

WIDE_OPEN = Finding(
    "PD2104",
    Severity.ERROR,
    "`web-checks-out` allows every path of `checkout`, which is `tier: critical`",
    Location("services/checkout.yaml", 14, 15),
    "list the paths that `web` calls",
    "      paths: [/**]",
    3,
)


def test_a_finding_reads_as_documented() -> None:
    assert finding_text(WIDE_OPEN).plain == (
        "services/checkout.yaml:14:15: error PD2104: `web-checks-out` allows every path of `checkout`,"
        " which is `tier: critical`\n"
        "   14 |       paths: [/**]\n"
        "      |               ^^^\n"
        "  hint: list the paths that `web` calls"
    )


def test_no_message_can_pretend_to_be_a_finding() -> None:
    finding = Finding(
        "PD2900", Severity.WARNING, "x\na.yaml:1:1: error PD1001: no", Location("a.yaml"), "y\nb.yaml: z"
    )
    lines = finding_text(finding).plain.splitlines()
    assert [line for line in lines if not line.startswith("  ")] == ["a.yaml: warning PD2900: x"]


def test_a_whole_file_has_no_caret() -> None:
    finding = Finding("PD3001", Severity.WARNING, "a link", Location("a.yaml"))
    assert finding_text(finding).plain == "a.yaml: warning PD3001: a link"


def test_the_caret_stands_under_its_word_whatever_is_before_it() -> None:
    wide = Finding("PD1", Severity.ERROR, "m", Location("a", 1, 8), excerpt="名: 名字 x", width=9)
    lines = finding_text(wide).plain.splitlines()
    assert lines[1].endswith("x")
    assert lines[2] == "      | " + " " * 10 + "^"
    tab = Finding("PD1", Severity.ERROR, "m", Location("a", 1, 2), excerpt="\tx", width=1)
    assert finding_text(tab).plain.splitlines()[2] == "      | \t^"


def test_a_very_long_line_is_shown_around_its_place() -> None:
    long = Finding(
        "PD1", Severity.ERROR, "m", Location("a", 1, 5_001), excerpt="x" * 5_000 + "here" + "y" * 5_000, width=4
    )
    excerpt, caret = finding_text(long).plain.splitlines()[1:]
    at = caret.index("^")
    assert excerpt[at : at + 4] == "here"
    assert caret.count("^") == 4
    assert len(excerpt) < 200


def test_findings_are_counted_worst_first() -> None:
    info = Finding("PD1", Severity.INFO, "m", Location("a"))
    assert count_text([info, WIDE_OPEN, WIDE_OPEN]) == "2 errors, 1 info"
    assert count_text([]) == ""
