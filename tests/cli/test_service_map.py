"""`policyd map`: the table, the graphs, and names that would break them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from policyd.cli.render_map import dot, mermaid
from tests.api.conftest import OneMap
from tests.cli.conftest import Policyd


def test_the_table_shows_edges_what_is_unused_and_what_was_denied(policyd: Policyd, address: str) -> None:
    done = policyd("map", "--server", address)
    assert done.exit_code == 0
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert "web checkout v1 10.0 0.50 % 2.2 ms 4.5 ms 9.0 ms 12 yes web-reads (600)" in lines
    assert "web → search never seen since 2027-01-01T00:00:00+00:00 web-searches" in lines
    idle = lines[lines.index("rules that let nothing in") + 1 :]
    assert idle[0] == "web-searches never seen since 2027-01-01T00:00:00+00:00 web → search"
    assert "web → checkout v1 circuit open at 1 of its sidecars, 2 times an instance is left out" in idle
    assert "web → hosts out of scope 4, by the caller's sidecar: denied-not-in-scope 4" in lines
    assert "web → checkout at most 3, by the callee's sidecar: no-rule-for-request 3" in lines
    assert "default/search/v1/127.0.0.9" in lines
    assert lines[-1] == "what is not known"


def test_json_is_the_answer_and_the_filters_are_passed_on(policyd: Policyd, address: str) -> None:
    whole = json.loads(policyd("map", "--server", address, "-o", "json").stdout)
    assert whole["edges"][0]["versions"]["v1"]["requests_per_s"] == 10.0
    unused = json.loads(policyd("map", "--server", address, "-o", "json", "--unused").stdout)
    assert ([edge["callee"] for edge in unused["edges"]], unused["denied"]) == (["default/search"], [])
    assert [rule["rule"] for rule in unused["rules"]] == ["default/web-searches"]
    denied = json.loads(policyd("map", "--server", address, "-o", "json", "--denied").stdout)
    assert (denied["edges"], len(denied["denied"])) == ([], 2)
    one = json.loads(policyd("map", "--server", address, "-o", "json", "--service", "search").stdout)
    assert ([edge["callee"] for edge in one["edges"]], one["denied"]) == (["default/search"], [])
    unknown = policyd("map", "--server", address, "--service", "serach")
    assert (unknown.exit_code, "no service `serach`" in unknown.stderr) == (2, True)


def test_the_graphs_draw_every_edge_once(policyd: Policyd, address: str) -> None:
    assert (
        policyd("map", "--server", address, "-o", "mermaid").stdout
        == """\
flowchart LR
  n0["checkout"]
  n1["search"]
  n2["web"]
  n3["hosts out of scope"]
  n2 -->|"10.0/s, 0.50 % errors, p50 2.2 ms, p99 9.0 ms, 12 retries, circuit open"| n0
  n2 -.->|"unused, never seen since 2027-01-01T00:00:00+00:00"| n1
  n2 --x|"denied: denied-not-in-scope 4"| n3
  n2 --x|"denied: no-rule-for-request 3"| n0
"""
    )
    assert (
        policyd("map", "--server", address, "-o", "dot").stdout
        == """\
digraph mesh {
  rankdir=LR;
  node [shape=box];
  n0 [label="checkout"];
  n1 [label="search"];
  n2 [label="web"];
  n3 [label="hosts out of scope"];
  n2 -> n0 [label="10.0/s, 0.50 % errors, p50 2.2 ms, p99 9.0 ms, 12 retries, circuit open"];
  n2 -> n1 [label="unused, never seen since 2027-01-01T00:00:00+00:00", style=dashed];
  n2 -> n3 [label="denied: denied-not-in-scope 4", color=red];
  n2 -> n0 [label="denied: no-rule-for-request 3", color=red];
}
"""
    )


def test_no_name_breaks_out_of_its_quotes() -> None:
    hostile = 'a"]; x["<b>`|end\\n#quot;\x1b'
    found: dict[str, Any] = asdict(OneMap().service_map())
    found["services"] = [hostile]
    found["edges"], found["denied"] = [], []
    (line,) = mermaid(found).splitlines()[1:]
    inside = line.removeprefix('  n0["').removesuffix('"]')
    assert not set('"[]<>`|\\\x1b') & set(inside)
    assert inside.startswith("a#34;#93;#59; x#91;#34;#60;b#62;")
    assert '  n0 [label="a\\"]; x[\\"<b>`|end\\\\n#quot;' in dot(found)
