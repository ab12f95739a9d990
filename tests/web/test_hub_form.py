"""The form of a request to the hub: what it may hold once, and what several times."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp.test_utils import TestClient

Client = TestClient[Any, Any]
TOPIC = "http://news.example/feeds/all.rss"
FORM = [
    ("hub.mode", "subscribe"), ("hub.topic", TOPIC), ("hub.callback", "http://one.example/"),
    ("hub.secret", "hush hush"), ("hub.lease_seconds", "864000"),
    ("hub.signature_method", "sha256"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), FORM)
@pytest.mark.parametrize("other", ["", "another value"])
async def test_what_is_given_several_times_is_refused_by_name(
    client: Client, name: str, value: str, other: str
) -> None:
    """Also if both are equal or one is empty; no value is repeated, as it may be a secret."""
    for again in (value, other):
        async with client.post("/hub", data=[*FORM, (name, again)]) as response:
            text = await response.text()
        assert 400 == response.status, text
        assert f"{name}: is given several times: give it once" in text
        assert "hush" not in text


async def test_what_the_hub_does_not_know_may_be_given_several_times(client: Client) -> None:
    """It is ignored (5.1); and a ping may name several topics."""
    verify = [("hub.verify", "sync"), ("hub.verify", "async")]
    async with client.post("/hub", data=[*FORM, *verify]) as response:
        assert 202 == response.status, await response.text()
    topics = [("hub.mode", "publish"), ("hub.url", TOPIC), ("hub.url", TOPIC)]
    async with client.post("/hub", data=topics) as response:
        assert 202 == response.status
    async with client.post("/hub", data=[*topics, ("hub.mode", "subscribe")]) as response:
        assert 400 == response.status
