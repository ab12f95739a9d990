"""Pages of past periods: compressed as far as possible when the server has nothing else to do."""

from __future__ import annotations

import gzip
import random
import threading
from typing import Any

import brotli
import pytest
from aiohttp.test_utils import TestClient

from service.web.serving import codings, recompression
from service.web.serving.codings import CODINGS, best, quick, zstd
from service.web.serving.response import PreparedPage
from tests.conftest import Publish
from tests.waiting import let_pass, wait_until

DECODERS = {"br": brotli.decompress, "gzip": gzip.decompress, "zstd": zstd.decompress}
PAST = "/feeds/all/2017/12/22.rss"
WORDS = ["harbour", "pilot", "quay", "tide", "fog", "crane", "buoy", "the", "of", "and"]


def prose(words: int) -> str:
    """Text that is neither all alike nor random."""
    chance = random.Random(7)
    return " ".join(chance.choice(WORDS) + chance.choice(["", "s", ","]) for _ in range(words))


@pytest.fixture(autouse=True)
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are settled at once."""
    monkeypatch.setattr(recompression, "EVERY_S", 0.02)
    monkeypatch.setattr(recompression, "SETTLED_S", 0.0)


async def fetch(client: TestClient[Any, Any], path: str, coding: str) -> tuple[bytes, str]:
    """(body as sent, ETag)."""
    async with client.get(path, headers={"Accept-Encoding": coding}) as response:
        assert 200 == response.status
        assert coding == response.headers["Content-Encoding"]
        assert str(len(await response.read())) == response.headers["Content-Length"]
        return await response.read(), response.headers["ETag"]


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_past_page_becomes_smaller(
    client: TestClient[Any, Any], publish: Publish, coding: str
) -> None:
    """Its content and validators stay, so that both forms are current; a live page stays as it
    is, as it may change at any moment."""
    await publish("One", content_html=f"<p>{prose(3_000)}</p>")
    live, _ = await fetch(client, "/feeds/all.rss", coding)
    first, etag = await fetch(client, PAST, coding)
    decoded = DECODERS[coding](first)

    async def is_smaller() -> bytes:
        body, now = await fetch(client, PAST, coding)
        assert (decoded, etag) == (DECODERS[coding](body), now)
        return body if len(body) < len(first) else b""

    last = await wait_until(is_smaller)
    assert best(coding, decoded, is_cancelled=lambda: False) == last
    async with client.get(PAST, headers={"If-None-Match": etag}) as response:
        assert 304 == response.status
    assert live == (await fetch(client, "/feeds/all.rss", coding))[0]


async def test_a_busy_server_compresses_nothing_again(
    client: TestClient[Any, Any], publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long its pages are settled."""
    monkeypatch.setattr(recompression, "MAX_REQUESTS", -1)
    await publish("One", content_html=f"<p>{prose(3_000)}</p>")
    first, _ = await fetch(client, PAST, "br")
    await let_pass(0.3)
    assert first == (await fetch(client, PAST, "br"))[0]


async def test_a_page_that_cannot_be_compressed_again_stays(
    client: TestClient[Any, Any], publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried once, and the others have their turn."""
    bodies: list[bytes] = []

    def fail_first(coding: str, body: bytes, **options: Any) -> bytes | None:
        bodies.append(body)
        if body == bodies[0]:
            raise MemoryError
        return best(coding, body, **options)

    monkeypatch.setattr(recompression, "best", fail_first)
    await publish("One", content_html=f"<p>{prose(3_000)}</p>")
    day, _ = await fetch(client, PAST, "br")

    async def has_failed() -> bool:
        return bool(bodies)

    await wait_until(has_failed)
    month, _ = await fetch(client, "/feeds/all/2017/12.rss", "br")

    async def is_smaller() -> bool:
        return len((await fetch(client, "/feeds/all/2017/12.rss", "br"))[0]) < len(month)

    await wait_until(is_smaller)
    assert day == (await fetch(client, PAST, "br"))[0]
    assert 1 == bodies.count(bodies[0])


def test_the_longest_compression_can_be_cancelled() -> None:
    """The process ends without waiting for it."""
    body = prose(60_000).encode()
    assert len(body) > 2 * codings._PIECE_BYTES
    cancelled = threading.Event()
    looks = []

    def is_cancelled() -> bool:
        looks.append(cancelled.is_set())
        cancelled.set()
        return looks[-1]

    assert best("br", body, is_cancelled=is_cancelled) is None
    assert [False, True] == looks


def test_a_form_that_is_not_smaller_is_not_used() -> None:
    """It counts as the best one all the same."""
    page = PreparedPage(prose(1_000).encode(), headers={})
    page.make("gzip")
    assert ("gzip",) == page.quick_codings
    page.replace("gzip", page.body)
    assert () == page.quick_codings
    assert quick("gzip", page.body) == page._answers["gzip", False].coded
