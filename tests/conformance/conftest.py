"""How many requests, from which seed; the engines; and the line that the run ends with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from policyd.decisions import Cause, Would
from tests.conformance.engines import Answer
from tests.conformance.rego import Embedded, OpaEngine, opa_server


@dataclass
class Tally:
    """What the run has done so far. `requests` is how many it is to send to the index and OPA."""

    seed: int
    requests: int
    decided: int = 0
    embedded: int = 0
    proxied: int = 0
    by_haproxy: int = 0
    disagreements: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    """How often the index gave each reason, and said that observed rules would decide otherwise."""

    def count(self, answers: Iterable[Answer]) -> None:
        """Remember what the index said."""
        for answer in answers:
            self.seen.update(word for word in (answer.reason, answer.would) if word)

    def seldom(self) -> dict[str, int]:
        """What was said so rarely that nothing was compared; a run of few requests has to live with that."""
        words = [*map(str, Cause), *map(str, Would)]
        return {word: self.seen[word] for word in words if self.seen[word] * 1_000 < self.decided - _FEW}

    @property
    def line(self) -> str:
        """What the run ends with."""
        return (
            f"conformance: {self.decided} requests to index and OPA, {self.proxied} through Envoy, "
            f"{self.disagreements} disagreements"
        )


_FEW = 5_000
_TALLY = pytest.StashKey[Tally]()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say what was compared."""
    tally = config.stash.get(_TALLY, None)
    if tally is not None:
        terminalreporter.write_line(
            f"conformance: seed {tally.seed}, {tally.embedded} of them embedded, {tally.by_haproxy} through HAProxy"
        )
        terminalreporter.write_line(f"conformance: {dict(sorted(tally.seen.items()))}")
        terminalreporter.write_line(tally.line)


@pytest.fixture(scope="session")
def tally(pytestconfig: pytest.Config) -> Tally:
    """What the run has done so far."""
    wanted = int(pytestconfig.getoption("--conformance-requests"))
    pytestconfig.stash[_TALLY] = Tally(int(pytestconfig.getoption("--conformance-seed")), wanted)
    return pytestconfig.stash[_TALLY]


@pytest.fixture(scope="session")
def opa(opa_binary: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpaEngine]:
    """A real OPA with the reference Rego."""
    with opa_server(opa_binary, tmp_path_factory.mktemp("opa")) as engine:
        yield engine


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded]:
    """The embedded engine with the reference Rego."""
    engine = Embedded()
    yield engine
    engine.close()
