"""Names on the system's own resolver, which knows `localhost` and no name under `.invalid`."""

from __future__ import annotations

import asyncio
import socket

import pytest
from yarl import URL

from service.settings import Settings
from tests.conftest import LOOPBACK
from tests.fakes import FakeSite
from workers import resolver
from workers.http_client import open_client
from workers.resolver import CachingResolver


async def test_a_name_is_looked_up_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the same time, and again while the answer holds."""
    lookups: list[str] = []
    look_up = socket.getaddrinfo

    def counted(host: str, *args: object, **kwargs: object) -> object:
        lookups.append(host)
        return look_up(host, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", counted)
    found = CachingResolver(threads=8)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(found.resolve("localhost", 80)) for _ in range(20)]
    assert {True} == {"127.0.0.1" in [r["host"] for r in task.result()] for task in tasks}
    assert 443 == (await found.resolve("localhost", 443))[0]["port"]
    assert ["localhost"] == lookups
    for _ in range(2):
        with pytest.raises(OSError, match="ame"):
            await found.resolve("nowhere.invalid")
    assert ["localhost", "nowhere.invalid"] == lookups
    await found.close()


async def test_a_name_that_is_never_answered_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its thread is held for longer, and others go on beside it."""
    over = asyncio.Event()
    loop = asyncio.get_running_loop()
    look_up = socket.getaddrinfo

    def slow(host: str, *args: object, **kwargs: object) -> object:
        if host == "slow.example":
            asyncio.run_coroutine_threadsafe(over.wait(), loop).result()
        return look_up(host if host != "slow.example" else "localhost", *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    monkeypatch.setattr(resolver, "LOOKUP_S", 0.2)
    found = CachingResolver(threads=2)
    with pytest.raises(OSError, match="not resolved"):
        await found.resolve("slow.example")
    assert await found.resolve("localhost")
    over.set()
    await found.close()


@pytest.mark.parametrize("host", ["rebinding.example", "ReBinding.Example", "rebinding.example."])
async def test_what_was_judged_is_what_is_connected_to(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    """A name that changes its answer between the two gets no second look."""
    answers = ["127.0.0.1", "127.0.0.2"]
    look_up = socket.getaddrinfo

    def rebinding(host: str, *args: object, **kwargs: object) -> object:
        address = answers.pop(0) if "rebinding" in host else host
        return look_up(address, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    opened = settings.model_copy(update={"open_networks": LOOPBACK})
    async with FakeSite() as site, open_client(opened, user_agent="t") as client:
        site.put("/f", "x")
        url = URL(site.url.replace("127.0.0.1", host) + "/f", encoded=True)
        assert ("127.0.0.1",) == await client.addresses_of(url)
        async with client.request("GET", url) as response:
            assert 200 == response.status
        (request,) = site.requests
    assert ["127.0.0.2"] == answers
    assert request.path == "/f"


async def test_hosts_that_cannot_be_resolved_have_no_address(settings: Settings) -> None:
    """Whatever is wrong with them."""
    async with open_client(settings, user_agent="t") as client:
        for url in (
            "http://nowhere.invalid/",
            "http://[",
            "",
            "http://a..b/",
            f"http://{'a' * 70}.x/",
        ):
            assert () == await client.addresses_of(url), url
