"""Findings: in order of place, each once, worst first at one place."""

from __future__ import annotations

from policyd.base.diagnostics import Finding, Location, Severity, has_errors, in_order


def _finding(line: int, severity: Severity = Severity.ERROR, code: str = "PD1001", path: str = "a.yaml") -> Finding:
    return Finding(code, severity, "told", Location(path, line, 1))


def test_in_order_of_place_then_severity_then_code() -> None:
    late, early = _finding(9), _finding(2)
    warning, worse = _finding(5, Severity.WARNING, "PD1000"), _finding(5, Severity.ERROR, "PD1009")
    other = _finding(1, path="b.yaml")
    assert in_order([other, late, warning, worse, early]) == (early, worse, warning, late, other)


def test_the_same_finding_is_told_once() -> None:
    assert in_order([_finding(1), _finding(1)]) == (_finding(1),)


def test_only_errors_refuse() -> None:
    assert not has_errors([_finding(1, Severity.WARNING), _finding(1, Severity.INFO)])
    assert has_errors([_finding(1, Severity.WARNING), _finding(1)])
    assert not has_errors([])


def test_locations_read_as_compilers_write_them() -> None:
    assert str(Location("a.yaml", 3, 7)) == "a.yaml:3:7"
    assert str(Location("a.yaml")) == "a.yaml"
    assert str(Severity.WARNING) == "warning"
