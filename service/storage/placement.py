"""Place the records of a backup in an archive with other shards: k times as many, or other tags.

The number of a shard is crc32(name) mod their count (shards.py). What is in number i of n shards is
in one of the numbers i, n + i, 2n + i … of k·n: its parts. So an event stream is split into streams
that keep entry ids and order, and whatever says "up to this entry" of it is right of each part:
cursors, groups, ranges to be sent again. For that reason n must divide the new count.

Keys with the tag {0} alone belong to no shard and stay; so do keys that no row names.
"""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

from service.articles.aliases import source_part
from service.storage import keys
from service.storage.aliases import shard_of_aliases
from service.storage.articles import Articles
from service.storage.backup_files import Record
from service.storage.category_limit import CategoryLimit
from service.storage.commands import Client
from service.storage.dictionaries import Dictionaries
from service.storage.endpoint_placement import Parts, moved_letters, moved_replays, moved_state
from service.storage.partitions import home_of, shard_of
from service.storage.shards import Shards
from service.storage.trace_buckets import (
    FIELD_BYTES,
    landmark_bucket,
    landmark_shard,
    link_shard,
)

logger = logging.getLogger(__name__)
Records: TypeAlias = list[Record]
_KEY = re.compile(rb"dateline:\{(\d+)\}:(.+)", re.DOTALL)
_STRIDE = {"hash": 2, "zset": 2, "set": 1, "list": 1, "stream": 1}
"""How many values of a payload belong together."""
_ID_BYTES = 16
_ENTRY_ID = re.compile(rb"\d{1,20}-\d{1,20}")
_OF_WEBHOOKS = re.compile(rb"epoch:webhooks:[0-9]{1,3}")


def can_move(before: int, after: int) -> bool:
    """Whether an archive of so many shards can be placed in so many others."""
    return after > 0 and not after % before


class Placement:
    """Turns the records of one backup into those of its new shards.

    Args:
        flush: writes all records that were placed so far. Some are placed by what is there: aliases
            by the source of their article, pending entries by their event.
    """

    def __init__(
        self, client: Client, before: Shards, after: Shards, *, flush: Callable[[], Awaitable[None]]
    ) -> None:
        self._client = client
        self._before = before
        self._after = after
        self._flush = flush
        self._all: Parts = {tag: tuple(self._parts(tag)) for tag in before}
        limit = CategoryLimit(client, shards=after, limit=0)
        self._articles = Articles(
            client,
            shards=after,
            category_limit=limit,
            dictionaries=Dictionaries(client, shards=after),
        )
        self._replay: tuple[bytes, str] = b"", ""
        """Rest of the key of the endpoint whose state was placed last, and its `replay`."""

    async def placed(self, record: Record) -> Records:
        """The records in place of this one, in the order in which they must be restored."""
        match = _KEY.fullmatch(record[1])
        if self._before == self._after or match is None:
            return [record]
        if record[1] == keys.LAYOUT.encode():
            return [_without_shards(record)]
        tag, rest = int(match[1]), match[2]
        name = rest.decode("utf-8", "replace")
        for pattern, place in _rows():
            if pattern.fullmatch(name) and tag in self._before.tags:
                try:
                    return await place(self, record, rest, self._parts(tag))
                except (ValueError, TypeError, LookupError, AttributeError):
                    if place not in _OF_ENDPOINTS:
                        raise
                    # What no version of dateline wrote is kept as it is: it costs this endpoint
                    # alone.
                    logger.exception(
                        "the state of an endpoint is not understood", extra={"key": record[1]}
                    )
                    return await self.of_attempts(record, rest, ())
        return [record]

    def _of(self, article_id: bytes) -> int:
        """The shard of an article; what another program wrote may be any bytes."""
        return self._after.of(article_id.decode("utf-8", "replace"))

    def _parts(self, tag: int) -> Sequence[int]:
        """The tags of the parts of a shard."""
        number = self._before.tags.index(tag)
        return self._after.tags[number :: len(self._before)]

    async def by_id(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """A key that ends with the id of its article."""
        return [_at(self._of(rest.rpartition(b":")[2]), rest, record)]

    async def by_item(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """Members or fields that are ids of articles, or end with one."""

        def of(item: Sequence[Any]) -> Sequence[int]:
            return [self._of(item[0].rpartition(b" ")[2])]

        return _split(record, rest, of)

    async def in_every_part(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """What is true of each part, or whose part cannot be known."""
        return [_at(tag, rest, record) for tag in parts]

    async def in_first(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """What is in the first shard alone."""
        return [_at(parts[0], rest, record)]

    async def of_stream(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """Entries with the article that they are about; what is no event goes to the first."""
        kind = record[0]
        if kind == "pending":
            return await self._pending(record, rest, parts)
        if kind != "stream":
            return [_at(tag, rest, record) for tag in parts]

        def of(item: Sequence[Any]) -> Sequence[int]:
            ((_, fields),) = item
            subject = dict(zip(fields[::2], fields[1::2], strict=True)).get(b"subject")
            return [self._of(subject) if subject else parts[0]]

        return _split(record, rest, of)

    async def _pending(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        kind, _, (group, entries), expires_ms = record
        holders = await self._holders(rest, parts, [entry[1] for entry in entries])
        return [
            (kind, _key(tag, rest), [group, own], expires_ms)
            for tag in parts
            if (own := [e for e, holder in zip(entries, holders, strict=True) if holder == tag])
        ]

    async def of_tries(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """Fields that end with the id of a stream entry."""
        fields = record[2][::2]
        stream = rest.removesuffix(b":tries")
        ids = [field.rpartition(b" ")[2] for field in fields]
        of = dict(zip(fields, await self._holders(stream, parts, ids), strict=True))
        return _split(record, rest, lambda item: [of[item[0]]])

    async def _holders(self, rest: bytes, parts: Sequence[int], ids: Sequence[bytes]) -> list[int]:
        """The tag of the stream that has each of these entries; the first for one that is gone."""
        await self._flush()
        pipe = self._client.pipeline(transaction=False)
        valid = [number for number, entry_id in enumerate(ids) if _ENTRY_ID.fullmatch(entry_id)]
        for tag in parts:
            for number in valid:
                pipe.execute_command("XRANGE", _key(tag, rest), ids[number], ids[number])
        replies = iter(await pipe.execute() if valid else [])
        holders = [parts[0]] * len(ids)
        for tag in parts:
            for number in valid:
                if next(replies):
                    holders[number] = tag
        return holders

    async def of_aliases(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """Aliases with the source of their article. Of one that is gone or was erased the source is
        not known: its aliases go to every part, because one of them keeps it from coming back."""
        await self._flush()
        ids = list({article_id for value in record[2][1::2] if (article_id := _id_in(value))})
        articles = dict(zip(ids, await self._articles.get(ids), strict=True))

        def of(item: Sequence[Any]) -> Sequence[int]:
            article = articles.get(_id_in(item[1]))
            if article is None or not article.source:
                return parts
            shard = shard_of_aliases(source_part(article.source), self._after)
            return [shard] if shard in parts else parts

        return _split(record, rest, of)

    async def of_links(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """A bucket of links, by its number."""
        bucket = int(rest.rpartition(b":")[2], 16)
        return [_at(link_shard(bucket, self._after), rest, record)]

    async def of_landmarks(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """Landmarks, each in its bucket: there were fewer of them once."""
        kind, _, payload, expires_ms = record
        window = rest.split(b":")[1]
        by_bucket: dict[int, list[Any]] = {}
        for at in range(0, len(payload), 2):
            if len(payload[at]) == FIELD_BYTES:  # Else it is that of note_traces.lua.
                by_bucket.setdefault(landmark_bucket(payload[at]), []).extend(payload[at : at + 2])
        return [
            (
                kind,
                keys.landmarks(landmark_shard(bucket, self._after), int(window), bucket).encode(),
                fields,
                expires_ms,
            )
            for bucket, fields in by_bucket.items()
        ]

    async def of_state(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """The delivery state of an endpoint, with a cursor of each part."""
        kind, _, payload, expires_ms = record
        fields, replay = moved_state(dict(zip(payload[::2], payload[1::2], strict=True)), self._all)
        self._replay = rest.partition(b":")[2], replay
        state = [part for pair in fields.items() for part in pair]
        return [(kind, self._of_endpoint(rest), state, expires_ms)]

    async def of_replays(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """The waiting replays of an endpoint, each as one of each part."""
        kind, _, payload, expires_ms = record
        await self._flush()
        endpoint, replay = self._replay
        progress = replay if endpoint == rest.partition(b":")[2] else ""
        ranges = await moved_replays(self._client, payload, self._all, progress=progress)
        return [(kind, self._of_endpoint(rest), ranges, expires_ms)] if ranges else []

    async def of_letters(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """The dead letters of an endpoint, each as one of each part that has its events."""
        kind, _, payload, expires_ms = record
        await self._flush()
        letters = await moved_letters(self._client, payload, self._all)
        return [(kind, self._of_endpoint(rest), letters, expires_ms)]

    async def of_attempts(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """The attempts of an endpoint, or what is not understood of it, in the shard where it is
        now."""
        kind, _, payload, expires_ms = record
        return [(kind, self._of_endpoint(rest), payload, expires_ms)]

    async def of_partition(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """What ends with the number of a partition of webhooks, in the shard that has it now."""
        number = int(rest.rpartition(b":")[2])
        return [_at(shard_of(number, self._after), rest, record)]

    async def of_epoch(self, record: Record, rest: bytes, parts: Sequence[int]) -> Records:
        """How often a lease changed hands: that of a partition of webhooks moves with it."""
        if _OF_WEBHOOKS.fullmatch(rest):
            return await self.of_partition(record, rest, parts)
        return [record]

    def _of_endpoint(self, rest: bytes) -> bytes:
        """The key, with this rest, of an endpoint."""
        endpoint_id = rest.partition(b":")[2].decode("utf-8", "surrogateescape")
        return _key(home_of(endpoint_id, self._after), rest)


_Place: TypeAlias = Callable[[Placement, Record, bytes, Sequence[int]], Awaitable[Records]]
ROWS: tuple[tuple[str, _Place], ...] = (
    (r"(article|twins):.+", Placement.by_id),
    (r"urls:[0-9a-f]+", Placement.of_links),
    (r"landmarks:\d+:[0-9a-f]+", Placement.of_landmarks),
    (r"gone:.+|events:dead|subscriptions", Placement.by_item),
    (r"categories|dictionaries|(removed|versions):.+|trimmed", Placement.in_every_part),
    (r"categories:created|counters|operations:unsent", Placement.in_first),
    # By host, which their rows alone say: source_moves.py does that afterwards.
    (r"sources(:(due|polls|hosts))?|pushes", Placement.in_first),
    (r"events", Placement.of_stream),
    (r"events:tries", Placement.of_tries),
    (r"aliases:.+", Placement.of_aliases),
    (r"endpoint:.+", Placement.of_state),
    (r"replays:.+", Placement.of_replays),
    (r"dead:.+", Placement.of_letters),
    (r"attempts:.+", Placement.of_attempts),
    (r"endpoints:\d+", Placement.of_partition),
    (r"epoch:.+", Placement.of_epoch),
)
"""Names of keys of shards behind their tag → where their records go."""
_OF_ENDPOINTS = (
    Placement.of_state, Placement.of_replays, Placement.of_letters,
)  # fmt: skip


@cache
def _rows() -> tuple[tuple[re.Pattern[str], _Place], ...]:
    return tuple((re.compile(pattern, re.DOTALL), place) for pattern, place in ROWS)


def _id_in(alias: bytes) -> str:
    """The article that an alias names; empty if it names none."""
    return str(uuid.UUID(bytes=alias[:_ID_BYTES])) if len(alias) >= _ID_BYTES else ""


def _key(tag: int, rest: bytes) -> bytes:
    return b"dateline:{%d}:%b" % (tag, rest)


def _without_shards(record: Record) -> Record:
    kind, key, payload, expires_ms = record
    pairs = zip(payload[::2], payload[1::2], strict=True)
    others = [part for pair in pairs if pair[0] not in (b"shards", b"tags") for part in pair]
    return kind, key, others, expires_ms


def _at(tag: int, rest: bytes, record: Record) -> Record:
    kind, _, payload, expires_ms = record
    return kind, _key(tag, rest), payload, expires_ms


def _split(record: Record, rest: bytes, of: Callable[[Sequence[Any]], Iterable[int]]) -> Records:
    """The record in parts, each with those of its items whose tags `of` says."""
    kind, _, payload, expires_ms = record
    stride = _STRIDE[kind]
    by_tag: dict[int, list[Any]] = {}
    for at in range(0, len(payload), stride):
        item = payload[at : at + stride]
        for tag in of(item):
            by_tag.setdefault(tag, []).extend(item)
    return [(kind, _key(tag, rest), items, expires_ms) for tag, items in by_tag.items()]
