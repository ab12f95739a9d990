"""Rendered pages in Redis: bytes that servers share, recent reads, and change messages.

Bytes are stored with the version of the page state they were rendered from, so one rendering
serves all processes. The Redis field names `tag`, `entries` and `past` are those of earlier
releases: `etag`, `entry_digests` and `previous_versions` here.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

import msgpack
import orjson

from service.articles import times
from service.feeds.page import Page
from service.storage import event_stream, keys
from service.storage.commands import Client
from service.storage.shards import Shards
from service.storage.stored import decoded

_FIELDS = ("version", "changed_ms", "tag", "entries", "past")

Change = tuple[str, str]
"""(category path or `all`, period): a page of which servers may hold old bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Announcement:
    """What processes that hold pages or articles in memory are notified of."""

    changes: Sequence[Change] = ()
    erased: Sequence[str] = ()
    """Ids of articles whose text must leave the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A page rendered in one format."""

    version: str
    """Page state and renderer settings that the bytes depend on; an opaque string here."""
    body: bytes
    changed_ms: int
    """When the bytes last changed, in ms since the epoch: Last-Modified."""
    etag: str
    """Hash of the body."""
    entry_digests: bytes
    """One digest of 8 bytes for each entry, joined; used only to compute differences."""
    previous_versions: tuple[tuple[str, bytes], ...] = ()
    """(etag, entry digests) of earlier versions, newest first."""


class RenderedPages:
    """Rendered pages that all processes share, and the reads and changes of pages."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards

    async def load(self, page: Page, extension: str) -> Rendered | None:
        """The stored rendering of any version; None if no process stored one or it has expired."""
        fields = await self._client.hgetall(self._key(page, extension))
        named = {name.decode(): value for name, value in fields.items()}
        return decoded(_rendered, named, what=f"rendered page {page}.{extension}")

    async def load_without_body(self, pairs: Sequence[tuple[Page, str]]) -> list[Rendered | None]:
        """Load many (page, extension) in one round trip, each with an empty body."""
        pipe = self._client.pipeline(transaction=False)
        for page, extension in pairs:
            pipe.hmget(self._key(page, extension), _FIELDS)
        replies: list[list[bytes | None]] = await pipe.execute()
        return [
            decoded(
                _rendered,
                {**dict(zip(_FIELDS, values, strict=True)), "body": b""},
                what=f"rendered page {page}.{extension}",
            )
            for (page, extension), values in zip(pairs, replies, strict=True)
        ]

    async def save(
        self, rendered: Sequence[tuple[Page, str, Rendered]], *, changes: Sequence[Change] = ()
    ) -> None:
        """Share rendered pages with all servers, and notify them of these changes."""
        pipe = self._client.pipeline(transaction=False)
        for page, extension, rendering in rendered:
            key = self._key(page, extension)
            pipe.hset(
                key,
                mapping={
                    "version": rendering.version,
                    "body": rendering.body,
                    "changed_ms": rendering.changed_ms,
                    "tag": rendering.etag,
                    "entries": rendering.entry_digests,
                    "past": msgpack.packb(rendering.previous_versions),
                },
            )
            pipe.expire(key, keys.RENDERED_TTL_S)
        if changes:
            pipe.publish(keys.CHANGED, orjson.dumps(changes))
        if rendered or changes:
            await pipe.execute()

    def _key(self, page: Page, extension: str) -> str:
        return keys.rendered(self._shards.of(str(page)), str(page), extension)

    async def note_reads(self, reads: Sequence[tuple[Page, str]], *, now: datetime) -> None:
        """Note that clients read these (page, extension), so that they are rendered ahead."""
        if not reads:
            return
        pipe = self._client.pipeline(transaction=False)
        ms = times.to_ms(now)
        pipe.zadd(keys.ASKED, {f"{page}.{extension}": ms for page, extension in reads})
        pipe.zremrangebyrank(keys.ASKED, 0, -keys.ASKED_MAX - 1)
        await pipe.execute()

    async def recent_reads(self, *, since: datetime) -> frozenset[str]:
        """`{page}.{extension}` of every page that was read since this moment."""
        members = await self._client.zrangebyscore(keys.ASKED, times.to_ms(since), "+inf")
        return frozenset(member.decode() for member in members)

    @asynccontextmanager
    async def announcements(self) -> AsyncIterator[AsyncIterator[Announcement]]:
        """Announcements of changed pages and erased articles from now on.

        An empty one is yielded after each BLOCK_MS without a message, so that the caller can do
        other work. Messages sent while the connection is down are lost.
        """
        pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        await pubsub.subscribe(keys.CHANGED, keys.ERASED)

        async def messages() -> AsyncIterator[Announcement]:
            while True:
                message = await pubsub.get_message(timeout=event_stream.BLOCK_MS / 1000)
                announcement = decoded(_announcement, message, what="message") if message else None
                yield announcement or Announcement()

        try:
            yield messages()
        finally:
            await pubsub.aclose()


def _announcement(message: Mapping[str, bytes]) -> Announcement:
    values = orjson.loads(message["data"])
    if message["channel"] == keys.ERASED.encode():
        return Announcement(erased=[str(article_id) for article_id in values])
    return Announcement(changes=[(str(category), str(period)) for category, period in values])


def _rendered(fields: Mapping[str, bytes | None]) -> Rendered | None:
    values = [fields.get(name) for name in (*_FIELDS, "body")]
    if any(value is None for value in values):
        return None
    version, changed_ms, etag, digests, previous, body = (value or b"" for value in values)
    return Rendered(
        version=version.decode(),
        body=body,
        changed_ms=int(changed_ms),
        etag=etag.decode(),
        entry_digests=digests,
        previous_versions=tuple((etag, digests) for etag, digests in msgpack.unpackb(previous)),
    )
