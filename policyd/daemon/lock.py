"""One controller per state folder: `build` takes the lock first and holds it as long as the controller lives.

Two controllers on one folder would each move weights by half of what happened. The kernel gives the lock back when
its holder dies, however it dies, so a kill leaves nothing to clean up.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from policyd.base.errors import Stalled

NAME = "lock"


@contextlib.contextmanager
def only_controller(state: Path) -> Iterator[None]:
    """Be the only controller that uses the folder `state`. Raises `Stalled` where another one does."""
    file = state / NAME
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Stalled(f"the lock `{file}` cannot be made: {error.strerror}") from error
    try:
        _lock(descriptor, state)
        # For whoever comes second: whom to look for.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, state: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = os.pread(descriptor, 20, 0).decode("ascii", "replace")
        who = f"another controller (process {holder})" if holder.isdigit() else "another controller"
        raise Stalled(
            f"{who} uses the state folder `{state}`", hint="stop it, or give this one a `state` folder of its own"
        ) from error
    except OSError as error:
        raise Stalled(
            f"the state folder `{state}` cannot be locked: {error.strerror}",
            hint="put it on a local file system; one that cannot lock files cannot keep a store either",
        ) from error
