"""What the HTTP client takes for the operator's, and its one private setting of aiohttp."""

from __future__ import annotations

import logging

import aiohttp
import pytest

from service.settings import Settings
from tests.conftest import LOOPBACK
from workers import http_client
from workers.http_client import (
    STRANGER,
    forbid_repeats,
    open_client,
    typed_by_operator,
    warn_of_open_networks,
)


async def test_a_request_is_sent_once_if_it_must_be(caplog: pytest.LogCaptureFixture) -> None:
    """The installed aiohttp has the setting, and no warning is logged."""
    with caplog.at_level(logging.WARNING):
        for repeats in (False, True):
            async with aiohttp.ClientSession() as session:
                if not repeats:
                    forbid_repeats(session)
                assert repeats is session._retry_connection
    assert [] == caplog.messages


async def test_an_aiohttp_without_the_setting_is_warned_of(
    settings: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests are sent all the same."""
    monkeypatch.setattr(http_client, "_RETRY", "_renamed")
    with caplog.at_level(logging.WARNING):
        async with open_client(settings, user_agent="x", repeats=False) as client:
            url = "http://127.0.0.1:1/"
            request = client.request("GET", url, provenance=typed_by_operator(url))
            with pytest.raises(aiohttp.ClientConnectionError):
                await request.__aenter__()
    # One for each kind of provenance.
    assert 2 == len(caplog.messages)
    assert all(
        message.startswith("aiohttp may send a request twice") for message in caplog.messages
    )


@pytest.mark.parametrize(
    ("typed", "url", "is_covered"),
    [
        ("http://a.example/f", "http://a.example/other", True),
        ("http://a.example/f", "https://a.example/f", True),
        ("http://A.Example:80/f", "http://a.EXAMPLE/f", True),
        ("http://a.example:8080/f", "https://a.example:8080/", True),
        ("http://bücher.example/", "http://xn--bcher-kva.example/", True),
        ("http://a.example/f", "http://a.example:8080/f", False),
        ("http://a.example:8080/f", "http://a.example/f", False),
        ("http://a.example/f", "http://b.a.example/f", False),
        ("http://a.example/f", "http://a.example.evil.example/f", False),
        ("http://a.example/f", "http://a.example@10.0.0.1/f", False),
        ("http://a.example/f", "http://10.0.0.1\\@a.example/f", False),
        ("http://a.example/f", "http://[", False),
        ("http://[", "http://[", False),
        ("", "", False),
    ],
)
def test_what_the_operator_typed_covers(typed: str, url: str, is_covered: bool) -> None:
    """Its host and port, as the parser sees them that decides where the request goes."""
    assert is_covered is typed_by_operator(typed).covers(url)


def test_a_stranger_covers_nothing() -> None:
    """Not even a URL that names no host."""
    assert not any(map(STRANGER.covers, ("", "http://", "http://a.example/", "/path")))


def test_open_networks_are_warned_of(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    """In one line, at the start of the workers; without them nothing is said."""
    with caplog.at_level(logging.WARNING):
        warn_of_open_networks(settings)
        assert [] == caplog.messages
        warn_of_open_networks(settings.model_copy(update={"open_networks": LOOPBACK}))
    (message,) = caplog.messages
    assert "OPEN_NETWORKS" in message
