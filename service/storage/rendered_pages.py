"""Rendered pages in Redis: bytes that servers share, who reads them, who is told of changes.

Bytes are kept under the state that they were made of, so one render serves all.
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

_FIELDS = ("version", "changed_ms", "tag", "entries", "past")

Change = tuple[str, str]
"""(category path or `all`, period): a page of which servers may hold something old."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A page's bytes in one format."""

    version: str
    """What they were made of and by; opaque here."""
    body: bytes
    changed_ms: int
    """When these bytes became different from the ones before: Last-Modified."""
    etag: str
    """Hash of the body."""
    entries: bytes
    """A digest of 8 bytes for each feed entry, used only to find differences."""
    past: tuple[tuple[str, bytes], ...] = ()
    """(tag, entries) of versions before, newest first."""


class RenderedPages:
    """Rendered bytes of pages, shared by all processes."""

    def __init__(self, client: Client, *, shards: int) -> None:
        self._client = client
        self._shards = shards

    async def load(self, page: Page, extension: str) -> Rendered | None:
        """Bytes that some process rendered, under whatever version."""
        found = await self._client.hgetall(self._key(page, extension))
        return _rendered({name.decode(): value for name, value in found.items()})

    async def load_without_body(self, pairs: Sequence[tuple[Page, str]]) -> list[Rendered | None]:
        """The same for many (page, extension), to see whether they must be rendered."""
        pipe = self._client.pipeline(transaction=False)
        for page, extension in pairs:
            pipe.hmget(self._key(page, extension), _FIELDS)
        replies: list[list[bytes | None]] = await pipe.execute()
        return [_rendered({**dict(zip(_FIELDS, r, strict=True)), "body": b""}) for r in replies]

    async def save(
        self, rendered: Sequence[tuple[Page, str, Rendered]], *, changes: Sequence[Change] = ()
    ) -> None:
        """Share rendered bytes with all servers, and tell them that these pages changed."""
        pipe = self._client.pipeline(transaction=False)
        for page, extension, made in rendered:
            key = self._key(page, extension)
            pipe.hset(
                key,
                mapping={
                    "version": made.version,
                    "body": made.body,
                    "changed_ms": made.changed_ms,
                    "tag": made.etag,
                    "entries": made.entries,
                    "past": msgpack.packb(made.past),
                },
            )
            pipe.expire(key, keys.RENDERED_TTL_S)
        if changes:
            pipe.publish(keys.CHANGED, orjson.dumps(changes))
        if rendered or changes:
            await pipe.execute()

    def _key(self, page: Page, extension: str) -> str:
        return keys.rendered(keys.shard_of(str(page), self._shards), str(page), extension)

    async def ask(self, asked: Sequence[tuple[Page, str]], *, now: datetime) -> None:
        """Note that somebody reads these (page, extension), so that they are rendered ahead."""
        if not asked:
            return
        pipe = self._client.pipeline(transaction=False)
        ms = times.to_ms(now)
        pipe.zadd(keys.ASKED, {f"{page}.{extension}": ms for page, extension in asked})
        pipe.zremrangebyrank(keys.ASKED, 0, -keys.ASKED_MAX - 1)
        await pipe.execute()

    async def asked(self, *, since: datetime) -> frozenset[str]:
        """`{page}.{extension}` of all that was read since then."""
        members = await self._client.zrangebyscore(keys.ASKED, times.to_ms(since), "+inf")
        return frozenset(member.decode() for member in members)

    @asynccontextmanager
    async def announcements(self) -> AsyncIterator[AsyncIterator[list[Change]]]:
        """What others announce from now on; an empty list each BLOCK_MS in between, so that
        the reader can see to other things; messages sent while the connection was away are lost."""
        pubsub = self._client.pubsub(ignore_subscribe_messages=True)
        await pubsub.subscribe(keys.CHANGED)

        async def messages() -> AsyncIterator[list[Change]]:
            while True:
                message = await pubsub.get_message(timeout=event_stream.BLOCK_MS / 1000)
                yield [(c, p) for c, p in orjson.loads(message["data"])] if message else []

        try:
            yield messages()
        finally:
            await pubsub.aclose()


def _rendered(found: Mapping[str, bytes | None]) -> Rendered | None:
    values = [found.get(name) for name in (*_FIELDS, "body")]
    if any(value is None for value in values):
        return None
    version, changed_ms, tag, entries, past, body = (value or b"" for value in values)
    return Rendered(
        version=version.decode(),
        body=body,
        changed_ms=int(changed_ms),
        etag=tag.decode(),
        entries=entries,
        past=tuple((tag, entries) for tag, entries in msgpack.unpackb(past)),
    )
