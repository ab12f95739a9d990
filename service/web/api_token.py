"""The API token: from the settings, else made once and kept in the data dir."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from service.errors import StartFailed
from service.settings import Settings


def token_path(settings: Settings) -> Path:
    """Path of the file with the generated token."""
    return settings.data_dir / "api-token"


def api_token(settings: Settings) -> str:
    """The token that writes need.

    Raises:
        StartFailed: none is set, and none can be kept.
    """
    if settings.api_token:
        return settings.api_token
    path = token_path(settings)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # O_EXCL: of several servers that start at once one makes it, the others read it.
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
    except FileExistsError:
        pass
    except OSError as exc:
        raise StartFailed(
            f"cannot keep an API token in {path}: {exc.strerror}; set DATELINE_API_TOKEN"
        ) from exc
    try:
        return path.read_text("utf-8").strip()
    except (OSError, ValueError) as exc:
        raise StartFailed(
            f"cannot read the API token in {path}: {exc}; remove it, or set DATELINE_API_TOKEN"
        ) from exc
