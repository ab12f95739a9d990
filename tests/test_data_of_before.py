"""A data dir of layout 2, with three shards: opened, moved to its places, and whole."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import aiohttp

from service.storage import layout
from service.storage.client import connect
from service.storage.embedded_redis import Embedded, end, find_binary
from tests.receiver import FakeReceiver
from tests.running import ROOT, running
from tests.waiting import wait_until

WRITTEN = ROOT / "tests" / "data" / "data_dirs" / "layout-2"
SETTINGS = {
    "SHARDS": "3", "ALLOWED_NETWORKS": "127.0.0.0/8", "PUBLIC_URL": "http://news.example",
    "WEBHOOK_RETRY_SCHEDULE_S": "0.2,0.2",
}  # fmt: skip
HOOK = "wh_cd0c9757c8e44a6f8f59ee9c22b605e6"
SOURCE = "src_491822b4b13f531bb9a54efd48f6b3b4"
ORIGINAL = "6c46e867-1761-54fe-9e99-4dfb5e11555a"
LATE = ("e06cadca-5ea2-5596-b3b5-d17e2af93c6f", "009521eb-fa8d-5537-a2fd-242dec18ee1f")
SECRET = "whsec_zh7pxcBo0fu5UMNe4nJK+Cn2sHLUgySA09uiT/lOUdw="


async def test_an_archive_of_the_layout_before_is_whole(tmp_path: Path) -> None:
    """Articles, a correction, a duplicate, sources, a view; a webhook gets what it had not got; and
    what comes in again is known by its guid, its link and its words."""
    folder = tmp_path / "d"
    shutil.copytree(WRITTEN, folder / "redis")
    async with (
        FakeReceiver() as receiver,
        running(data_dir=folder, **SETTINGS) as dateline,
        aiohttp.ClientSession(headers={"Authorization": f"Bearer {dateline.token}"}) as session,
    ):
        api = f"{dateline.url}/api/v1"

        async def get(path: str) -> Any:
            async with session.get(dateline.url + path) as response:
                assert 200 == response.status, path
                return await response.json(content_type=None)

        async def articles() -> int:
            return len((await get("/feeds/all.json"))["items"])

        async def all_are_indexed() -> bool:
            return 15 == await articles()

        # Twelve, one that another source repeats, and two that were not indexed yet.
        await wait_until(all_are_indexed)
        story = await get("/feeds/media-center/harbour-news.json")
        assert "Story 3, corrected" in [item["title"] for item in story["items"]]
        assert 14 <= len((await get("/feeds/views/ferries.json"))["items"])
        assert 2 == len(await get("/api/v1/sources"))
        assert SOURCE == (await get(f"/api/v1/sources/{SOURCE}"))["id"]
        receiver.secret = SECRET
        async with session.patch(f"{api}/webhooks/{HOOK}", json={"url": receiver.url}) as response:
            assert 200 == response.status, await response.text()

        async def has_come() -> bool:
            return set(LATE) == {each.partition("_")[0] for each in receiver.events}

        await wait_until(has_come)
        again = {
            "source": "http://quay.example/feed", "guid": "5", "title": "Story 5",
            "url": "http://quay.example/5", "content_html": "<p>Story 5 of the harbour.</p>",
            "categories": ["Media Center/Harbour News"], "published": "2026-11-15T12:00:00Z",
        }  # fmt: skip
        async with session.post(f"{api}/articles", json=again) as response:
            assert "unchanged" == (await response.json())["status"]
        original = await get(f"/articles/{ORIGINAL}.json")
        copy = {
            "source": "http://third.example/feed", "guid": "1", "title": original["title"],
            "url": original["url"], "content_html": original["content_html"],
            "categories": ["Media Center/Harbour News"],
        }  # fmt: skip
        async with session.post(f"{api}/articles", json=copy) as response:
            copy_id = (await response.json())["id"]

        async def is_duplicate() -> bool:
            found = await get(f"/articles/{copy_id}.json")
            return bool(ORIGINAL == found.get("duplicate_of"))

        await wait_until(is_duplicate)
    await check_layout(folder / "redis")


async def check_layout(folder: Path) -> None:
    """Nothing that has a place in a shard is left in the first one."""
    embedded = Embedded(binary=find_binary(), folder=folder, appendfsync="no")
    process = await embedded.start()
    client: Any = connect(embedded.url)
    try:
        assert str(layout.VERSION).encode() == await client.hget("dateline:{0}:layout", "version")
        assert 0 == await client.exists("dateline:{0}:endpoints")
        tags = {
            key.split(b":")[1]
            async for key in client.scan_iter(match="dateline:*:urls:*", count=1_000)
        }
        assert {b"{0}", b"{1}", b"{2}"} == tags
    finally:
        await client.aclose()
        await end(process)
