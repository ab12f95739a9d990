"""Episodes from a push to the feeds, over real sockets."""

from __future__ import annotations

from typing import Any

import orjson
from aiohttp.test_utils import TestClient
from lxml import etree

from service.articles.article import Article
from service.storage.store import Store
from tests.articles.test_podcast import PUSHED, WHOLE
from tests.conftest import AUTH, Get
from tests.feeds.test_podcast_rss import NS, apple_faults
from tests.waiting import wait_until

Client = TestClient[Any, Any]
EPISODE = {
    "guid": "3",
    "title": "Nets",
    "content_text": "About nets",
    "categories": ["Talk"],
    "enclosures": [{"url": "https://media.example/3.mp3", "length": 9}],
    "podcast": PUSHED,
}


async def test_a_pushed_episode_is_in_every_output(
    client: Client, store: Store, aggregating: None, get: Get
) -> None:
    """In RSS by Apple's rules, in JSON, on its page and in its own JSON; the cover is served."""
    async with client.post("/api/v1/articles", json=EPISODE, headers=AUTH) as response:
        assert 201 == response.status, await response.text()
        article_id = (await response.json())["id"]

    async def is_indexed() -> bool:
        return b"Nets" in await (await client.get("/feeds/all.rss")).read()

    await wait_until(is_indexed)
    rss = await get("/feeds/talk.rss")
    assert [] == [*apple_faults(rss)]
    assert ["1:02:03"] == etree.fromstring(rss).xpath("//itunes:duration/text()", namespaces=NS)
    (item,) = orjson.loads(await get("/feeds/talk.json"))["items"]
    assert WHOLE.stated() == item["_dateline"]["podcast"]
    page = (await get(f"/articles/{article_id}")).decode()
    assert 'Season 2, episode 3 · 1:02:03 · <a href="https://pier.example/3.srt"' in page
    assert WHOLE == Article.from_json(await get(f"/articles/{article_id}.json")).podcast
    assert (await get("/static/cover-1400.png")).startswith(b"\x89PNG")


async def test_a_push_names_what_is_wrong(client: Client) -> None:
    """With the path of the field."""
    wrong = EPISODE | {"podcast": {"transcripts": [{"url": "ftp://x/"}]}}
    async with client.post("/api/v1/articles", json=wrong, headers=AUTH) as response:
        assert 400 == response.status
        assert "podcast.transcripts[0].url" == (await response.json())["field"]
