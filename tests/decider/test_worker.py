"""What a worker is made of: no more than answering takes."""

from __future__ import annotations

import subprocess
import sys

LARGE = ("pydantic", "httpx", "starlette", "cryptography", "jwt", "yaml", "policyd.intents")


def test_a_worker_loads_nothing_that_only_settings_tokens_or_clients_need() -> None:
    program = "import sys, policyd.decider.worker; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "policyd.decider.edge" in loaded
    assert not set(LARGE) & set(loaded)
