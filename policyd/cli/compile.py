"""`policyd compile`: the configuration of every proxy, as a person reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from policyd.base.clock import SystemClock
from policyd.base.diagnostics import Finding, has_errors
from policyd.base.errors import UsageError
from policyd.cli.compiled import CompiledNode, TargetOption, compile_mesh, losses, only
from policyd.cli.judged import judge, under
from policyd.cli.output import Format, OutputOption, console, say_json
from policyd.cli.render_findings import finding_json, findings_text
from policyd.compiler.artifact import FILE, Artifact
from policyd.guardrails.acceptances import Acceptances
from policyd.guardrails.losses import Told
from policyd.source import DirectoryTree


def compile_(
    path: Annotated[Path, typer.Argument(help="The folder that holds the intents.")] = Path(),
    node: Annotated[
        str | None,
        typer.Option("--node", help="One node, `namespace/service/version/address`, or the start of its id."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write one file for each resource under this folder.")
    ] = None,
    target: TargetOption = None,
    output: OutputOption = Format.TEXT,
) -> None:
    """Compile the intents for every proxy; with --node show what one gets, with --out write files."""
    judged = judge(DirectoryTree(path))
    everything = compile_mesh(judged.mesh(), targets=target or ())
    accepted = Acceptances(judged.loaded.documents, SystemClock().now())
    lost = under(path, losses(everything, Told(judged.lowered.provenance, accepted)))
    compiled = only(everything, node)
    if out is not None:
        _write(compiled, out)
    if output is Format.JSON:
        say_json(_json(compiled, lost, whole=node is not None))
    elif node is not None and out is None:
        _say_resources(compiled)
    else:
        _say_table(compiled, lost, out)
    if has_errors(lost):
        raise typer.Exit(1)


def kind_name(artifact: Artifact) -> str:
    """`Cluster` for an xDS resource, `file` for a file."""
    return artifact.kind.rsplit(".", 1)[-1]


def _say_table(compiled: tuple[CompiledNode, ...], lost: tuple[Finding, ...], out_folder: Path | None) -> None:
    out = console()
    if lost:
        out.print(findings_text(lost))
        out.print()
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for heading, justify in (("node", "left"), ("compiler", "left"), ("resources", "right"), ("bytes", "right")):
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for one in compiled:
        artifacts = one.compiled.artifacts
        size = sum(len(artifact.body) for artifact in artifacts)
        table.add_row(one.node.id, one.compiler.name, str(len(artifacts)), f"{size:,}")
    out.print(table)
    distinct = {artifact.version: len(artifact.body) for one in compiled for artifact in one.compiled.artifacts}
    where = f", written to {out_folder}" if out_folder is not None else ""
    summary = f"{len(compiled)} nodes, {len(distinct)} distinct resources, {sum(distinct.values()):,} bytes{where}"
    out.print(Text(f"\n{summary}", style="dim"))


def _say_resources(compiled: tuple[CompiledNode, ...]) -> None:
    out = console()
    for one in compiled:
        for artifact in one.compiled.artifacts:
            out.print(
                Text(f"# {one.node.id}  {kind_name(artifact)} {artifact.name}  {artifact.version}", style="bold")
            )
            out.print(Text(one.compiler.render(artifact)), soft_wrap=True)


def _json(compiled: tuple[CompiledNode, ...], lost: tuple[Finding, ...], *, whole: bool) -> dict[str, Any]:
    return {
        "nodes": [
            {
                "node": one.node.id,
                "compiler": one.compiler.name,
                "resources": [
                    {
                        "kind": artifact.kind,
                        "name": artifact.name,
                        "version": artifact.version,
                        "bytes": len(artifact.body),
                        **({"text": one.compiler.render(artifact)} if whole else {}),
                    }
                    for artifact in one.compiled.artifacts
                ],
            }
            for one in compiled
        ],
        "findings": [finding_json(finding) for finding in lost],
    }


def _write(compiled: tuple[CompiledNode, ...], folder: Path) -> None:
    """`<out>/<node>/<kind>/<resource>.yaml`, or `<out>/<node>/<file>`; several compilers each get a folder.

    Names are DNS labels joined by `/`, so they are safe folders.
    """
    several = len({one.compiler.name for one in compiled}) > 1
    for one in compiled:
        home = (folder / one.compiler.name if several else folder) / one.node.id
        for artifact in one.compiled.artifacts:
            file = home / _file_name(artifact)
            if not file.resolve().is_relative_to(folder.resolve()):
                raise UsageError(f"`{artifact.name}` would be written outside `{folder}`")
            try:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(one.compiler.render(artifact), encoding="utf-8")
            except OSError as error:
                raise UsageError(f"`{file}` cannot be written: {error.strerror}") from error


def _file_name(artifact: Artifact) -> str:
    return artifact.name if artifact.kind == FILE else f"{kind_name(artifact)}/{artifact.name}.yaml"
