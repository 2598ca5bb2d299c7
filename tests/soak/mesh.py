"""The mesh of the soak, and the commits that people make in it: two services, three versions, one of them bad."""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

from policyd.demo.repository import ShopRepository
from tests.e2e import intents

GOOD = ("v1", "v2")
BAD = "v3"
MESH = """\
apiVersion: policyd.dev/v1alpha1
kind: Mesh
metadata: {name: soak, owner: test}
spec:
  trustDomain: soak.example
  strategy: immediate
"""
FRONT = intents.service("front", {"v1": "127.0.8.11"})
BACK = """\
apiVersion: policyd.dev/v1alpha1
kind: Service
metadata: {{name: back, owner: test}}
spec:
  port: 8080
  versions:
    v1: {{endpoints: [127.0.8.21, 127.0.8.22]}}
    v2: {{endpoints: [127.0.8.31]}}
    v3: {{endpoints: [127.0.8.41]}}
  version: {version}
  slo: {{availability: 99}}
  resilience: {{timeout: {{request: {timeout_ms}ms}}}}
---
apiVersion: policyd.dev/v1alpha1
kind: AccessRule
metadata: {{name: front-reads, owner: test}}
spec:
  to: {to}
  from: [front]
  allow:
    - {{methods: [GET], paths: [{paths}]}}
"""


@dataclass
class Wishes:
    """What Git asks for now, as a person would write it."""

    version: str = "v1"
    timeout_ms: int = 15_000
    extra: int = 0
    """So many paths are allowed beyond the one that is called."""

    def text(self, to: str = "back") -> str:
        """The file of `back`."""
        paths = ["/v1/items", *(f"/v1/extra-{number}" for number in range(self.extra))]
        said = BACK.format(version=self.version, timeout_ms=self.timeout_ms, to=to, paths=", ".join(paths))
        return said + intents.canary("back", "1s")


class Commits:
    """Makes commits; each returns its id."""

    def __init__(self, repository: ShopRepository, dice: random.Random) -> None:
        self._repository = repository
        self._file = repository.path / "services" / "back.yaml"
        self._dice = dice
        self.now = Wishes()

    @staticmethod
    def first(folder: Path) -> None:
        """Write the intents that the repository begins with."""
        (folder / "services").mkdir(parents=True)
        (folder / "mesh.yaml").write_text(MESH)
        (folder / "services" / "front.yaml").write_text(FRONT)
        (folder / "services" / "back.yaml").write_text(Wishes().text())

    def timeout(self) -> str:
        """Another request timeout; never one that was there before, so that nothing of it is quarantined."""
        self.now.timeout_ms += self._dice.randint(1, 9)
        return self._write(f"back: {self.now.timeout_ms} ms")

    def access(self) -> str:
        """More or fewer paths that nobody calls."""
        self.now.extra = self._dice.choice([number for number in range(4) if number != self.now.extra])
        return self._write(f"back: {self.now.extra} more paths")

    def serve(self, version: str) -> str:
        """Another version."""
        self.now.version = version
        return self._write(f"back: serve {version}")

    def mistake(self) -> str:
        """A commit that must be refused."""
        text = self._dice.choice([self.now.text(to="nowhere"), "kind: [", self.now.text().replace("port", "prot")])
        return self._write("a mistake", text)

    def again(self) -> str:
        """What was asked for before the mistake."""
        return self._write("take the mistake back")

    def _write(self, message: str, text: str | None = None) -> str:
        self._file.write_text(self.now.text() if text is None else text)
        return self._repository.commit(message)
