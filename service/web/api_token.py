"""The API token of the first start: made once, kept in the data dir."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from service.errors import StartFailed
from service.settings import Settings, token_fault


def token_path(settings: Settings) -> Path:
    """Path of the file with the generated token."""
    return settings.data_dir / "api-token"


def first_api_token(settings: Settings) -> str:
    """The token of the data dir, made if there is none yet; empty if DATELINE_API_TOKEN is set.

    Raises:
        StartFailed: it cannot be kept or read, or is too short.
    """
    if settings.api_token:
        return ""
    path = token_path(settings)
    try:
        if not path.exists():
            _make(path)
    except OSError as exc:
        raise StartFailed(
            f"cannot keep an API token in {path}: {exc.strerror}; set DATELINE_API_TOKEN"
        ) from exc
    try:
        token = path.read_text("utf-8").strip()
    except (OSError, ValueError) as exc:
        raise StartFailed(
            f"cannot read the API token in {path}: {exc}; remove it, or set DATELINE_API_TOKEN"
        ) from exc
    if fault := token_fault(token):
        raise StartFailed(
            f"the API token in {path} {fault}: remove the file, or set DATELINE_API_TOKEN"
        )
    return token


def _make(path: Path) -> None:
    """Write a new token, whole or not at all: a reader never sees a part of it, and of several
    servers that start at once one makes it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The mode of what mkstemp makes is 0600.
    handle, draft = tempfile.mkstemp(prefix=".api-token-", dir=path.parent)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(32))
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link does not replace what another server made meanwhile.
        os.link(draft, path)
    except FileExistsError:
        pass
    except OSError:
        # A file system without hard links.
        Path(draft).replace(path)
    finally:
        Path(draft).unlink(missing_ok=True)
