"""Which commands make sense when; a person who is told no is told why, and what would work."""

from __future__ import annotations

from policyd.base.errors import UsageError
from policyd.rollout.machine import Command
from policyd.rollout.record import Phase
from policyd.rollout.release import Release

_DONE = {
    Command.PROMOTE: "promoted",
    Command.ABORT: "aborted",
    Command.PAUSE: "paused",
    Command.RESUME: "resumed",
}


def check(release: Release, command: Command) -> None:
    """Raises `UsageError` where a release is in no state for a command."""
    allowed = {
        Command.PROMOTE: {Phase.PROGRESSING, Phase.PAUSED},
        Command.ABORT: {Phase.PENDING, Phase.WAITING, Phase.PROGRESSING, Phase.PAUSED, Phase.PROMOTING},
        Command.PAUSE: {Phase.PROGRESSING},
        Command.RESUME: {Phase.PAUSED},
    }
    if release.phase not in allowed[command]:
        phases = ", ".join(sorted(phase.value for phase in allowed[command]))
        raise UsageError(
            f"{release.id} is {release.phase.value}: it cannot be {_DONE[command]}",
            hint=f"`{command.value}` works on a release that is {phases}",
        )
