"""An archive in which odd things are, and all of its outputs, each read by strict parsers."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from aiohttp.test_utils import TestClient

from service.settings import Settings
from service.storage import keys
from service.storage.store import Store
from service.storage.views import NOT_BEGUN
from service.web.request.keys import CACHE
from service.webhooks import payloads
from tests import odd_documents, strict_outputs
from tests.conftest import AUTH, TOKEN
from tests.deliver.working import delivering
from tests.odd_documents import COMMON, SITE
from tests.receiver import FakeReceiver
from tests.running import call
from tests.waiting import wait_until, within
from workers.ingest.documents import ParseJob, read_document
from workers.ingest.parse.records import parse_lines

FORMATS = ("rss", "atom", "json")
Client = TestClient[Any, Any]
Written = Callable[[str], str]


class Archive:
    """A dateline that takes documents, and whose outputs are checked."""

    def __init__(self, client: Client, store: Store) -> None:
        self._client = client
        self._store = store
        self._ordinary = 0
        self.taken: set[str] = set()
        """Ids of the articles that every list must have."""

    async def take(
        self, form: str, articles: Sequence[Mapping[str, str]], written: Written
    ) -> None:
        """Take articles in a document of a form; some may be rejected."""
        if form == "push":
            ids = await self.push([odd_documents.record(article) for article in articles])
        else:
            body = odd_documents.document(form, articles, written=written)
            ids = await self._append(body, "" if form == "ndjson" else f"{SITE}/{form}")
        self.taken.update(ids)

    async def take_ordinary(self) -> None:
        """Push an article in which every value is usual."""
        self._ordinary += 1
        fields = {"title": "Ordinary", "guid": str(self._ordinary), "categories": [COMMON]}
        (article_id,) = await self.push([fields])
        self.taken.add(article_id)

    async def push(self, records: Sequence[Mapping[str, object]]) -> list[str]:
        """Push records; return the ids of those that were accepted."""
        data = io.BytesIO(json.dumps(records).encode())
        headers = AUTH | {"Content-Type": "application/json"}
        async with self._client.post("/api/v1/articles", data=data, headers=headers) as response:
            body = await response.read()
            assert 200 == response.status, body
        receipts = strict_outputs.json_value(body, where="receipts")
        assert len(records) == len(receipts)
        return [receipt["id"] for receipt in receipts if receipt["status"] != "rejected"]

    async def _append(self, body: bytes, url: str) -> list[str]:
        job = ParseJob(url=url, added_url=url)
        steps = await asyncio.to_thread(lambda: list(read_document(job, body)))
        ids = []
        for step in steps:
            if isinstance(step, list):
                receipts = await self._store.articles.append(step, now=datetime.now(UTC))
                ids += [receipt.id for receipt in receipts]
        return ids

    async def until_indexed(self) -> None:
        """Wait until every article is in the indexes."""

        async def is_indexed() -> bool:
            return not await self._store.client.zcard(keys.dirty(0))

        await wait_until(is_indexed)

    async def get(self, path: str) -> bytes:
        """The body of a path that is answered with 200."""
        async with self._client.get(path, headers=AUTH) as response:
            body = await response.read()
            assert 200 == response.status, (path, body[:500])
            return body

    async def check(self, *others: str) -> None:
        """Read every output; those that list articles have all that were accepted.

        Args:
            others: paths of further feeds of all articles, without an extension.
        """
        await self.until_indexed()
        # What was read before is read anew, notified or not.
        self._client.server.app[CACHE].forget_all()  # type: ignore[attr-defined]  # served here
        articles = await self._store.articles.get(sorted(self.taken))
        common = {article.id for article in articles if article and "news" in article.categories}
        feeds = {
            "/feeds/all": self.taken, "/feeds/news": common, "/feeds/all/2017": set(),
            **dict.fromkeys(others, self.taken),
        }  # fmt: skip
        for base, expected in feeds.items():
            for extension in FORMATS:
                path = f"{base}.{extension}"
                ids = strict_outputs.feed_ids(await self.get(path), extension, where=path)
                assert set() == expected - {*ids}, (path, expected - {*ids})
        for path, expected in (("/news/all", self.taken), ("/news/news", common)):
            shown = strict_outputs.page_ids(await self.get(path), where=path)
            assert set() == expected - {*shown}, path
        strict_outputs.page_ids(await self.get("/"), where="/")
        await self._check_categories()
        await self._check_articles()
        await self._check_lists()

    async def _check_categories(self) -> None:
        opml = strict_outputs.xml_root(await self.get("/feeds.opml"), where="opml")
        paths = [
            url.removeprefix("http://news.example")
            for url in opml.xpath("//outline/@xmlUrl")
            if "/all." not in url
        ]
        for path in (*paths[:5], *paths[-5:]):
            strict_outputs.feed_ids(await self.get(path), "rss", where=path)
            page = path.replace("/feeds/", "/news/").removesuffix(".rss")
            strict_outputs.page_ids(await self.get(page), where=page)
        index = strict_outputs.xml_root(await self.get("/sitemap.xml"), where="sitemap")
        for url in index.xpath("//*[local-name()='loc']/text()"):
            path = url.removeprefix("http://news.example")
            strict_outputs.xml_root(await self.get(path), where=path)

    async def _check_articles(self) -> None:
        for article_id in sorted(self.taken)[:20]:
            path = f"/articles/{article_id}"
            strict_outputs.page_ids(await self.get(path), where=path)
            for json_path in (f"{path}.json", f"/api/v1{path}"):
                fields = strict_outputs.json_value(await self.get(json_path), where=json_path)
                assert article_id == fields["id"]

    async def _check_lists(self) -> None:
        news = strict_outputs.xml_root(await self.get("/news-sitemap.xml"), where="news sitemap")
        assert news.xpath("//*[local-name()='title']")
        listed = await self.get("/api/v1/articles?limit=1000")
        articles = strict_outputs.json_value(listed, where="list")["articles"]
        assert set() == self.taken - {article["id"] for article in articles}


async def view_path(client: Client, store: Store) -> str:
    """The path of the feeds of a view of all articles, without an extension."""
    fields = {"name": "odd", "title": "a\x0b\ufffe\u202eb"}
    async with client.post("/api/v1/views", json=fields, headers=AUTH) as response:
        assert 201 == response.status

    async def is_built() -> bool:
        return (await store.views.built()).get("odd", NOT_BEGUN).is_done

    await wait_until(is_built)
    return "/feeds/views/odd"


async def private_path(client: Client) -> str:
    """The path of a private feed of all articles, without an extension."""
    fields = {"category": "all", "label": "\x1b\ufffe"}
    async with client.post("/api/v1/private-feeds", json=fields, headers=AUTH) as response:
        assert 201 == response.status, await response.text()
        url = str((await response.json())["url"])
    return url.removeprefix("http://news.example").removesuffix(".rss")


async def check_events(client: Client, store: Store) -> set[str]:
    """Ids of the articles that `/events` and the stream announce, an event each."""
    entries = await store.client.xrange(keys.stream(0))
    subjects = set()
    for _, fields in entries:
        texts = {name.decode(): value.decode() for name, value in fields.items()}
        for name, text in texts.items():
            strict_outputs.check_text(text, where=f"stream {name}")
        data = strict_outputs.json_value(fields[b"data"], where="stream")
        assert texts["subject"] == data["id"]
        subjects.add(data["id"])
    stream, last = bytearray(), b"id: %b\n" % entries[-1][0]
    async with within(20), client.get("/events?last-event-id=0-0") as response:
        while last not in stream or not stream.endswith(b"\n\n"):
            stream += await response.content.readany()
    frames = strict_outputs.event_frames(stream.decode())
    assert [entry_id.decode() for entry_id, _ in entries] == [frame["id"] for frame in frames]
    for frame in frames:
        assert {"id", "event", "data"} == frame.keys() - {"retry"}
        event = strict_outputs.json_value(frame["data"].encode(), where="event")
        assert event["data"]["id"] == event["subject"]
    await check_payloads(store)
    return subjects


async def check_payloads(store: Store) -> None:
    """Webhooks of every format and payload get JSON, and every event of a batch."""
    events = await store.event_stream.newest(0, count=2_000)
    for format in payloads.FORMATS:
        for payload in payloads.PAYLOADS:
            options = {"format": format, "payload": payload}
            for event in events[:: 1 if payload == payloads.FULL else 10]:
                single = payloads.single_payload(event, **options)
                strict_outputs.json_value(single.body, where=f"{options}")
            batch = payloads.batch_payload(events, **options, endpoint_id="wh")
            items = strict_outputs.json_value(batch.body, where=f"batch {options}")
            assert len(events) == len(items["data"] if isinstance(items, dict) else items)


async def check_export(settings: Settings, expected: set[str]) -> None:
    """An export is lines of JSON, each of which is taken back."""
    status, out, err = await call(
        "export", cwd=settings.data_dir, REDIS_URL=settings.redis_url, API_TOKEN=TOKEN
    )
    assert (0, "") == (status, err)
    lines = [
        strict_outputs.json_value(line.encode(), where="export") for line in out.split("\n")[:-1]
    ]
    assert expected == {line["id"] for line in lines}
    document = parse_lines(out.encode(), "")
    assert () == document.rejects
    assert len(lines) == len(document.entries)


async def check_deliveries(store: Store, settings: Settings, receiver: FakeReceiver) -> None:
    """A receiver gets every event, signed, in batches of JSON."""
    count = await store.client.xlen(keys.stream(0))
    async with delivering(store, settings):

        async def is_delivered() -> bool:
            return len(set(receiver.events)) == count

        await wait_until(is_delivered)
    assert 0 == receiver.forged
