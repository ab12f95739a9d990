"""The HTTP client relies on one private setting of aiohttp, and says so if it is not there."""

from __future__ import annotations

import logging

import aiohttp
import pytest

from service.settings import Settings
from workers import http_client
from workers.http_client import open_client


async def test_a_request_is_sent_once_if_it_must_be(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The installed aiohttp has the setting, and no warning is logged."""
    with caplog.at_level(logging.WARNING):
        async with open_client(settings, user_agent="x", repeats=False) as session:
            assert session._retry_connection is False
        async with open_client(settings, user_agent="x") as session:
            assert session._retry_connection is True
    assert [] == caplog.messages


async def test_an_aiohttp_without_the_setting_is_warned_of(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are sent all the same."""
    monkeypatch.setattr(http_client, "_RETRY", "_renamed")
    with caplog.at_level(logging.WARNING):
        async with open_client(settings, user_agent="x", repeats=False) as session:
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get("http://127.0.0.1:1/")
    (message,) = caplog.messages
    assert message.startswith("aiohttp may send a request twice")
