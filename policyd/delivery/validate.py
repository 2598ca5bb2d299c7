"""Asks the real proxy what it thinks of a compiled configuration, without starting it (`policyd check --deep`)."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import dataclass
from pathlib import Path

from policyd.base.errors import Retry, Stalled
from policyd.compiler.protocol import Validation

_SHOWN = 2_000
"""Characters of the proxy's own words that are kept; the reason stands at the end."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the proxy takes the configuration; `reason` is in its own words and empty if it does."""

    accepted: bool
    reason: str = ""


async def validate(validation: Validation, program: Path, deadline_s: float) -> Verdict:
    """Write the files to a temporary folder and run `program` on them.

    Raises `Stalled` if the program cannot be run and `Retry` if it has not decided within `deadline_s` seconds.
    """
    with tempfile.TemporaryDirectory(prefix="policyd-validate-") as name:
        folder = Path(name)
        await asyncio.to_thread(_write, folder, validation)
        arguments = [argument.replace("{dir}", name) for argument in validation.arguments]
        try:
            process = await asyncio.create_subprocess_exec(
                str(program),
                *arguments,
                cwd=name,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
        except OSError as error:
            raise Stalled(f"cannot run `{program}`: {error}", hint="policyd doctor") from error
        try:
            async with asyncio.timeout(deadline_s):
                output, _ = await process.communicate()
        except TimeoutError as error:
            raise Retry(f"`{program.name}` has not decided within {deadline_s:g} s", after=deadline_s) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode == 0:
        return Verdict(accepted=True)
    said = output.decode(errors="replace").replace(f"{name}/", "")  # the folder is gone, and says nothing
    return Verdict(accepted=False, reason=_reason(said) or f"exit {process.returncode}")


def _write(folder: Path, validation: Validation) -> None:
    for name, body in validation.files.items():
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            raise Stalled(f"a compiler wants to write `{name}` outside its folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)  # it may hold keys
        path.write_bytes(body)


def _reason(output: str) -> str:
    """The lines that complain, or the end of what was said if none stands out."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    complaints = [line for line in lines if "[critical]" in line or "[ALERT]" in line or "error" in line.lower()]
    return "\n".join(complaints or lines)[-_SHOWN:]
