from __future__ import annotations

import asyncio
import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn
from typer.testing import CliRunner, Result

from policyd.api.app import application, server
from policyd.api.metrics import ControllerMetrics
from policyd.cli.main import build
from policyd.guardrails.team import team_rules
from policyd.source import DirectoryTree
from tests.api.conftest import OneController, OneFloor, OneMap, OnePatient, OneRule
from tests.source.conftest import Author

Policyd = Callable[..., Result]


@pytest.fixture
def policyd() -> Policyd:
    """Runs one verb in this process, without a terminal."""

    def run(*words: object) -> Result:
        asked = [str(word) for word in words]
        return CliRunner().invoke(build(asked[0] if asked else None), asked, catch_exceptions=False)

    return run


@pytest.fixture
def shop(repository_root: Path, tmp_path: Path) -> Path:
    """A copy of the shop that ships with policyd."""
    return Path(shutil.copytree(repository_root / "policies", tmp_path / "shop"))


@pytest.fixture
def vouched(shop: Path) -> tuple[str, str]:
    """Lets the embedded engine run the shop's own rules where there is no OPA."""
    return "--vouch", team_rules(DirectoryTree(shop))[0].digest


@pytest.fixture
def committed(shop: Path) -> Author:
    """The shop as the first commit of a repository."""
    author = Author(shop)
    author.commit("the shop")
    return author


@pytest.fixture
def controller() -> OneController:
    return OneController()


@pytest.fixture
def floor() -> OneFloor:
    return OneFloor()


@pytest.fixture
def patient() -> OnePatient:
    return OnePatient()


@pytest.fixture
def address(controller: OneController, floor: OneFloor, patient: OnePatient) -> Iterator[str]:
    """A real HTTP server with one release in flight."""
    app = application(controller, OneRule(), floor, ControllerMetrics(), mapping=OneMap(), examining=patient)
    web = server(app, "127.0.0.1:0")
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=_serve, args=(web, listening))
    thread.start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    web.should_exit = True
    thread.join(10)


def _serve(web: uvicorn.Server, listening: socket.socket) -> None:
    asyncio.run(web.serve([listening]))
