"""The service map as a table for people, and as a graph for Mermaid and for Graphviz.

Equal maps give equal bytes. Names stand in quotes with everything escaped that either language reads in them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from policyd.cli.output import printable, words

_NO_VALUE = "-"
_NOT_COUNTED = "?"
_PLAIN = "default/"
Json = dict[str, Any]


def table(found: Json) -> Group:
    """The map for people: edges, what was denied, who was not read, and what is not known."""
    parts: list[RenderableType] = [_heading(found)]
    if found["edges"]:
        parts += [Text(), _edges(found["edges"])]
    unused = [edge for edge in found["edges"] if edge["unused"]]
    if unused:
        parts += [Text(), Text("allowed, and not used", style="bold")]
        parts += [Text(f"  {_edge(edge)}  {_since(edge)}  {_rules(edge)}") for edge in unused]
    idle = [rule for rule in found["rules"] if rule["unused"]]
    if idle:
        parts += [Text(), Text("rules that let nothing in", style="bold")]
        parts += [Text(f"  {_short(rule['rule'])}  {_since(rule)}  {_callers(rule)}") for rule in idle]
    held = [line for edge in found["edges"] for line in _held_back(edge)]
    if held:
        parts += [Text(), Text("held back now", style="bold yellow"), *held]
    if found["denied"]:
        parts += [Text(), Text("denied, and tried", style="bold"), *map(_tried, found["denied"])]
    if found["not_read"]:
        parts += [Text(), Text("sidecars that were not read; their edges are not called unused", style="bold yellow")]
        parts += [words(f"  {node}") for node in found["not_read"]]
    return Group(*parts, Text(), *(Text(printable(note), style="dim") for note in found["notes"]))


def _heading(found: Json) -> Text:
    since = found["watched_since"] or "never yet"
    return Text(f"the last {found['window_s']:.0f} s at {printable(found['at'])}, watched since {printable(since)}")


def _edges(edges: list[Json]) -> Table:
    made = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for heading in (
        "caller",
        "callee",
        "version",
        ">req/s",
        ">errors",
        ">p50",
        ">p95",
        ">p99",
        ">retries",
        "mTLS",
        "rules",
    ):
        made.add_column(heading.removeprefix(">"), justify="right" if heading.startswith(">") else "left")
    for edge in edges:
        ways = [("", edge["traffic"])]
        if edge["versions"]:
            ways = list(edge["versions"].items())
        for index, (version, traffic) in enumerate(ways):
            first = not index
            made.add_row(
                _short(edge["caller"]) if first else "",
                _short(edge["callee"]) if first else "",
                printable(version),
                *_numbers(traffic, read=edge["unused"] is not None),
                ("yes" if edge["mtls"] else "no") if first else "",
                _allowed(edge) if first else Text(),
            )
    return made


def _numbers(traffic: Json, *, read: bool) -> Iterator[str]:
    if not traffic["requests"]:
        yield "0.0" if read else _NOT_COUNTED
        yield from [_NO_VALUE] * 5
        return
    yield f"{traffic['requests_per_s']:.1f}"
    yield f"{traffic['error_share'] * 100:.2f} %"
    for name in ("p50_ms", "p95_ms", "p99_ms"):
        yield _NO_VALUE if traffic[name] is None else f"{traffic[name]:.1f} ms"
    yield str(traffic["retries"]) if traffic["retries"] else _NO_VALUE


def _allowed(edge: Json) -> Text:
    return Text(_rules(edge)) if edge["rules"] else Text("allowed by no rule now", style="yellow")


def _tried(tried: Json) -> Text:
    why = ", ".join(f"{printable(reason)} {count}" for reason, count in tried["reasons"].items())
    caller, callee = tried["caller"] or "some caller", tried["callee"] or "hosts out of scope"
    bound = f"at most {tried['at_most']}" if tried["caller"] and tried["callee"] else str(tried["at_most"])
    return Text(
        f"  {_short(caller)} → {_short(callee)}  {bound}, by the {printable(tried['refused_by'])}'s sidecar: {why}"
    )


def _callers(rule: Json) -> str:
    return f"{', '.join(map(_short, rule['callers']))} → {_short(rule['callee'])}"


def _held_back(edge: Json) -> Iterator[Text]:
    """What callers' sidecars do not send now, to spare a version or for want of a bound."""
    for version, traffic in edge["versions"].items():
        said = []
        if traffic["open_circuits"]:
            said.append(f"circuit open at {traffic['open_circuits']} of its sidecars")
        if traffic["left_out"]:
            said.append(f"{traffic['left_out']} times an instance is left out")
        if said:
            yield Text(f"  {_edge(edge)} {printable(version)}  {', '.join(said)}")


def _edge(edge: Json) -> str:
    return f"{_short(edge['caller'])} → {_short(edge['callee'])}"


def _since(edge: Json) -> str:
    since = printable(edge["unused_since"])
    return f"since {since}" if edge["ever_used"] else f"never seen since {since}"


def _rules(edge: Json) -> str:
    """The rules of an edge, each with how much it let in, if it did."""
    counts = {rule: f" ({count})" for rule, count in edge["matched"].items()}
    return ", ".join(_short(rule) + counts.get(rule, "") for rule in edge["rules"])


def _short(name: str) -> str:
    return printable(name.removeprefix(_PLAIN))


def mermaid(found: Json) -> str:
    """A flowchart: solid edges carried requests, dotted ones are allowed and unused, crossed ones were denied."""
    known = _ends(found)
    lines = ["flowchart LR", *(f'  {known[name]}["{_for_mermaid(_short(name))}"]' for name in known)]
    for edge in found["edges"]:
        arrow = "-->" if edge["traffic"]["requests"] else "-.->"
        lines.append(f'  {known[edge["caller"]]} {arrow}|"{_for_mermaid(_label(edge))}"| {known[edge["callee"]]}')
    for tried in found["denied"]:
        caller, callee = known[_caller(tried)], known[_callee(tried)]
        lines.append(f'  {caller} --x|"{_for_mermaid(_denied_label(tried))}"| {callee}')
    return "\n".join(lines) + "\n"


def dot(found: Json) -> str:
    """A digraph: solid edges carried requests, dashed ones are allowed and unused, red ones were denied."""
    known = _ends(found)
    lines = ["digraph mesh {", "  rankdir=LR;", "  node [shape=box];"]
    lines += [f'  {known[name]} [label="{_for_dot(_short(name))}"];' for name in known]
    for edge in found["edges"]:
        style = "" if edge["traffic"]["requests"] else ", style=dashed"
        ends = f"{known[edge['caller']]} -> {known[edge['callee']]}"
        lines.append(f'  {ends} [label="{_for_dot(_label(edge))}"{style}];')
    for tried in found["denied"]:
        ends = f"{known[_caller(tried)]} -> {known[_callee(tried)]}"
        lines.append(f'  {ends} [label="{_for_dot(_denied_label(tried))}", color=red];')
    return "\n".join([*lines, "}"]) + "\n"


def _ends(found: Json) -> dict[str, str]:
    """An identifier for whatever an edge may begin or end at; no name is ever written as one."""
    names: set[str] = set(found["services"])
    for edge in found["edges"]:
        names |= {edge["caller"], edge["callee"]}
    for tried in found["denied"]:
        names |= {_caller(tried), _callee(tried)}
    return {name: f"n{number}" for number, name in enumerate(sorted(names))}


def _caller(tried: Json) -> str:
    return str(tried["caller"] or "some caller")


def _callee(tried: Json) -> str:
    return str(tried["callee"] or "hosts out of scope")


def _label(edge: Json) -> str:
    traffic = edge["traffic"]
    if not traffic["requests"]:
        return f"unused, {_since(edge)}" if edge["unused"] else "not read"
    parts = [f"{traffic['requests_per_s']:.1f}/s", f"{traffic['error_share'] * 100:.2f} % errors"]
    if traffic["p99_ms"] is not None:
        parts.append(f"p50 {traffic['p50_ms']:.1f} ms, p99 {traffic['p99_ms']:.1f} ms")
    if traffic["retries"]:
        parts.append(f"{traffic['retries']} retries")
    if traffic["open_circuits"]:
        parts.append("circuit open")
    if not edge["rules"]:
        parts.append("allowed by no rule now")
    return ", ".join(parts)


def _denied_label(tried: Json) -> str:
    return "denied: " + ", ".join(f"{reason} {count}" for reason, count in tried["reasons"].items())


def _for_mermaid(text: str) -> str:
    """Mermaid reads entity codes in quoted text (`#quot;`), and Markdown and HTML in it."""
    return "".join(each if _is_plain(each) else f"#{ord(each)};" for each in printable(text))


def _is_plain(character: str) -> bool:
    return character.isalnum() or character in " ,.:/-%+_" or ord(character) > 0x7F


def _for_dot(text: str) -> str:
    """The DOT language knows one escape in a quoted string; a backslash would begin one of its label's."""
    return printable(text).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
