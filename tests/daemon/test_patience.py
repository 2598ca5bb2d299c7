"""A commit without a verdict is asked about again, but never stands in the way of the one that mends it."""

from __future__ import annotations

from policyd.base.clock import Clock
from policyd.base.errors import PolicydError, Retry, Stalled
from policyd.daemon.patience import patience_s, until_known
from policyd.testing.clock import FakeClock


class Sleepless(FakeClock):
    """A clock on which sleeping takes no time and is counted."""

    def __init__(self) -> None:
        super().__init__()
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


async def ask(clock: Clock, answers: list[PolicydError | None], heads: list[bool]) -> tuple[bool, list[str]]:
    told: list[str] = []

    async def consider() -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    async def overtaken() -> bool:
        return heads.pop(0)

    known = await until_known(
        consider, overtaken=overtaken, trouble=lambda error: told.append(str(error)), clock=clock
    )
    return known, told


async def test_an_engine_that_comes_back_is_asked_again() -> None:
    clock = Sleepless()
    known, told = await ask(clock, [Retry("no answer", after=2.0), Stalled("no engine"), None], [False, False])
    assert known
    assert told == ["no answer", "no engine"]
    assert clock.slept == [2.0, patience_s(Stalled(""))]


async def test_a_newer_commit_gets_its_turn() -> None:
    known, told = await ask(Sleepless(), [Retry("a rule loops", after=1.0)] * 2, [False, True])
    assert not known
    assert told == ["a rule loops", "a rule loops"]
