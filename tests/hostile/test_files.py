"""Hostile and clumsy files through the command line: each one a finding with its place, and never a traceback."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Policyd, policyd

__all__ = ["policyd"]

MESH = "apiVersion: policyd.dev/v1alpha1\nkind: Mesh\nmetadata: {name: m, owner: a}\nspec: {trustDomain: m.example}\n"
SERVICE = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {name: web, owner: a}
spec:
  port: 8080
  versions: {v1: {endpoints: [127.0.0.1]}}
  version: v1
"""
RULE = """\
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {name: r, owner: a}
spec:
  to: web
  from: [web]
  allow: [{methods: [GET], paths: [/]}]
"""
BILLION = "a: &a [x, x]\n" + "".join(f"b{n}: &b{n} [*a, *a]\n" for n in range(20))

# what is wrong: the file's bytes, the first finding's code and place
CASES: dict[str, tuple[str | bytes, str]] = {
    "a key given twice": (SERVICE.replace("  version: v1", "  port: 9\n  version: v1"), "7:3: error PD1009"),
    "an unknown field": (SERVICE.replace("  port:", "  prot: 1\n  port:"), "5:3: error PD1103"),
    "100,000 brackets": ("[" * 100_000, "1:65: error PD1004"),
    "an alias bomb": (BILLION, "1:4: error PD1006"),
    "a merge key": (SERVICE.replace("  port: 8080", "  <<: {port: 8080}"), "5:3: error PD1007"),
    "a tag": (SERVICE.replace("8080", "!!python/object:os.system 1"), "5:9: error PD1008"),
    "2 MiB": (b"#" * (2 << 20), ": error PD3003"),
    "not UTF-8": (SERVICE.encode().replace(b"owner: a", b"owner: \xe4"), "3:30: error PD1001"),
    "UTF-16": (SERVICE.encode("utf-16"), "1:1: error PD1001"),
    "text that runs backwards": (SERVICE.replace("owner: a", "owner: a\u202eb"), "3:31: error PD1002"),
    "NUL": (SERVICE.replace("owner: a", "owner: a\0"), "3:31: error PD1002"),
    "5,000 digits": (SERVICE.replace("8080", "9" * 5_000), "5:9: error PD1011"),
    "not a number": (SERVICE.replace("8080", ".nan"), "5:9: error PD1011"),
    "a break in the middle of a field": (SERVICE + "---\n" + RULE.partition("wner")[0], "11:22: error PD1015"),
    "a tab": (SERVICE.replace("  port", "\tport"), "5:1: error PD1005"),
    "CR line ends": (SERVICE.replace("  port:", "  prot:").replace("\n", "\r"), "5:3: error PD1103"),
    "CRLF line ends": (SERVICE.replace("  port:", "  prot:").replace("\n", "\r\n"), "5:3: error PD1103"),
    "a Git LFS pointer": (
        "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
        "1:1: error PD1012",
    ),
    "an age of the universe": (SERVICE + "  slo: {availability: 99, window: 999999999y}\n", "8:35: error PD1109"),
    "a call that may take no time": (SERVICE + "  resilience: {timeout: {request: 0s}}\n", "8:35: error PD1109"),
    "a check without a pause": (SERVICE + "  healthCheck: {path: /, interval: 0ms}\n", "8:36: error PD1109"),
    "an instance everywhere": (SERVICE.replace("127.0.0.1", "0.0.0.0"), "6:31: error PD1109"),
    "an instance for a crowd": (SERVICE.replace("127.0.0.1", "224.0.0.1"), "6:31: error PD1109"),
    "an instance behind one interface": (SERVICE.replace("127.0.0.1", "fe80::1%eth0"), "6:31: error PD1109"),
    "a key of two lines": (SERVICE.replace("owner: a", 'labels: {"a\\nb": c}'), "3:32: error PD1002"),
    "an owner of two lines": (SERVICE.replace("owner: a", 'owner: "a\\nmesh.yaml:1:1: error"'), "3:30: error PD1108"),
    "a value of two lines": (SERVICE.replace("version: v1", 'version: "v1\\nx:1:1: error"'), "7:12: error PD1107"),
    "a path without an end": (SERVICE + "---\n" + RULE.replace("[/]", f"[{'/a' * 513}]"), "15:36: error PD1110"),
    "a name without an end": (SERVICE + f"  {'k' * 1_000}: 1\n", "8:3: error PD1103"),
    "a pair of surrogates": (SERVICE.replace("owner: a", 'owner: "\\ud83d\\ude00"'), "3:33: error PD1005"),
    "a list as a key": (SERVICE + "  ? [a, b]\n  : c\n", "8:5: error PD1010"),
    "65 lists in each other": (SERVICE + f"  x: {'[' * 63}{']' * 63}\n", "8:68: error PD1004"),
    "another YAML": (f"%YAML 9.9\n---\n{SERVICE}", "1:1: error PD1005"),
    "one key, spelled twice": (SERVICE + '  "p\\x6frt": 1\n', "8:3: error PD1009"),
    "a port that is none": (SERVICE.replace("8080", "65535.0"), "5:9: error PD1105"),
    "a caller that does not exist": (SERVICE + "---\n" + RULE.replace("[web]", "[wbe]"), "14:10: error PD1203"),
    "two services with one name": (SERVICE + "---\n" + SERVICE, "11:18: error PD1112"),
    "a version that does not exist": (SERVICE.replace("version: v1", "version: v9"), "7:12: error PD1204"),
    "access to another team's service": (RULE.replace("to: web", "to: pay/ledger"), "5:7: error PD1207"),
}


@pytest.mark.parametrize("what", CASES)
def test_each_is_a_finding_with_its_place(what: str, policyd: Policyd, tmp_path: Path) -> None:
    body, said = CASES[what]
    (tmp_path / "mesh.yaml").write_text(MESH)
    (tmp_path / "bad.yaml").write_bytes(body if isinstance(body, bytes) else body.encode())
    done = policyd("check", tmp_path, "--no-cache")
    assert done.exit_code == 1, done.output
    assert f"{tmp_path}/bad.yaml:{said}".replace("::", ":") in done.stdout
    assert "Traceback" not in done.output
    assert len(done.stdout) < 50_000
    said_of = [line.partition(":")[0] for line in done.stdout.splitlines() if ": error PD" in line]
    assert set(said_of) <= {f"{tmp_path}/bad.yaml"}, "nothing in a file makes up a finding of another"


def test_an_empty_repository_has_no_mesh(policyd: Policyd, tmp_path: Path) -> None:
    done = policyd("check", tmp_path, "--no-cache")
    assert done.exit_code == 1
    assert "error PD1201" in done.stdout
