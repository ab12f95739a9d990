"""The data dir of a `dateline up`, which one process at a time may use."""

from __future__ import annotations

import fcntl
from pathlib import Path
from typing import IO

from service.errors import StartFailed


def locked(data_dir: Path) -> IO[str]:
    """Create the data dir if it is missing and lock it; closing the file releases the lock.

    Raises:
        StartFailed: it cannot be written, or another `dateline up` has it.
    """
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("w")
    except OSError as exc:
        raise StartFailed(f"cannot write to the data dir {data_dir}: {exc.strerror}") from exc
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        lock.close()
        raise StartFailed(f"{data_dir} is in use by another dateline up: stop it first") from exc
    return lock
