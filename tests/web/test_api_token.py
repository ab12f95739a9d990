"""The API token of the first start: one, whole, and never one that anybody could guess."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from service.errors import StartFailed
from service.settings import Settings
from service.web.api_token import first_api_token, token_path


def test_it_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    """Mode 0600, and nothing else is left beside it."""
    settings = Settings(data_dir=tmp_path / "d")
    token = first_api_token(settings)
    assert 43 == len(token)
    assert token == first_api_token(settings)
    assert 0o600 == token_path(settings).stat().st_mode & 0o777
    assert [token_path(settings)] == list((tmp_path / "d").iterdir())


@pytest.mark.parametrize("has_links", [True, False])
def test_servers_that_start_at_once_have_one_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    """None of them reads a part of it; where a file system has no hard links, one makes it."""

    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", refuse)
        first_api_token(Settings(data_dir=tmp_path))
    with ThreadPoolExecutor(20) as pool:
        tokens = set(pool.map(first_api_token, [Settings(data_dir=tmp_path)] * 200))
    (token,) = tokens
    assert 43 == len(token)


@pytest.mark.parametrize(
    "text", ["", "\n", "short", "x" * 15, "two words of a token", "x" * 16 + "\x07"]
)
def test_one_that_could_be_guessed_stops_the_start(tmp_path: Path, text: str) -> None:
    """An empty file, of a crash or a full disk, must not let everybody in."""
    (tmp_path / "api-token").write_text(text)
    with pytest.raises(StartFailed, match="remove the file, or set DATELINE_API_TOKEN"):
        first_api_token(Settings(data_dir=tmp_path))


def test_with_a_token_in_the_settings_none_is_made(tmp_path: Path) -> None:
    """Nor is the data dir touched, which need not be writable then."""
    settings = Settings(data_dir=tmp_path / "d", api_token="x" * 16)
    assert "" == first_api_token(settings)
    assert not (tmp_path / "d").exists()
