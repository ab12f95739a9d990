"""Put a backup back into an empty Redis, in the shards that it had or in others (placement.py).

Every step can be repeated: a restore that was cut is run again with the same backup, from its
beginning. Until it is complete, a note in Redis keeps every other process from starting.

Category indexes and the `dirty` set are computed from the articles: an article's `idx` states what
the indexes contain of it, and an article is dirty while its `idx` is behind its `head`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from redis.exceptions import ResponseError

from service.articles.article import LIVE
from service.articles.event import position
from service.articles.head import decode_head
from service.errors import InvalidSettings
from service.feeds.index_step import Indexed
from service.storage import backup_files, keys
from service.storage.backup_files import MANIFEST, BackupFault, Manifest
from service.storage.client import Script, lua_script
from service.storage.commands import Client, Pipeline, Value
from service.storage.duplicates import Duplicates, Mark
from service.storage.key_reader import KeyReader, chunks
from service.storage.layout import VERSION, migrate
from service.storage.placement import Placement, can_move
from service.storage.shards import Shards, claim_shards
from service.storage.source_moves import place_sources
from service.storage.source_urls import note_urls
from service.storage.stored_articles import stored_article

Progress = Callable[[str, int], None]
ARTICLES_AT_ONCE, RECORDS_AT_ONCE = 100, 200
# Arguments of one command, and bytes that are sent before the replies are read.
ARGUMENTS_AT_ONCE, BYTES_AT_ONCE = 1_000, 4_000_000
_ADD = {"hash": ("HSET", 2), "set": ("SADD", 1), "zset": ("ZADD", 2), "list": ("RPUSH", 1)}
SCAN_COUNT, SHOWN_KEYS = 20, 3
_EMPTY = (
    "or name another one (DATELINE_REDIS_URL, or another DATELINE_DATA_DIR), or empty it (FLUSHDB)"
)
_PREFIX = b"dateline:"


async def check_empty(client: Client, manifest: Manifest, *, shards: Shards) -> None:
    """Refuse a Redis into which this backup cannot be restored; nothing is written.

    Args:
        shards: those that the restored archive shall have.

    Raises:
        InvalidSettings: there are not so many, or a multiple, in the backup.
        BackupFault: Redis is not empty, or holds a part of another backup; or the backup has a
            layout that only a newer dateline knows.
    """
    if manifest.layout is not None and manifest.layout > VERSION:
        raise BackupFault(
            f"the data of the backup has layout {manifest.layout}, and this dateline knows "
            f"{VERSION}: restore it with dateline {manifest.version} or newer"
        )
    if not can_move(manifest.shards, len(shards)):
        raise InvalidSettings(
            [
                f"DATELINE_SHARDS={len(shards)}: the backup was taken with {manifest.shards}; "
                f"restore it with DATELINE_SHARDS={manifest.shards}, or a multiple of that"
            ]
        )
    await check_nothing_there(client, note_of(manifest, shards))


async def check_nothing_there(client: Client, note: str) -> None:
    """Refuse a Redis that holds anything but a part of the restore of this note.

    Raises:
        BackupFault: with what it holds.
    """
    begun = await client.get(keys.RESTORING)
    if begun == note.encode():
        return
    if begun is not None:
        raise BackupFault(
            f"Redis holds a part of the backup {begun.decode('utf-8', 'replace')}, whose restore "
            f"was cut, and this is the backup {note} (`id` in its {MANIFEST}, and tags if it gets "
            f"other shards): restore that one again, {_EMPTY}"
        )
    # Left by a process that started on an empty archive.
    ignored = int(await client.execute_command("EXISTS", keys.LAYOUT))
    count = await client.dbsize() - ignored
    if count:
        shown: list[bytes] = []
        async for name in client.scan_iter(match="*", count=SCAN_COUNT):
            shown += [name] * (name != keys.LAYOUT.encode())
            if len(shown) == SHOWN_KEYS:
                break
        raise BackupFault(
            f"Redis is not empty: it holds {count} keys ("
            + ", ".join([name.decode("utf-8", "replace") for name in shown] + ["…"])
            + f"). A backup is restored into an empty Redis alone: stop dateline, {_EMPTY}"
        )


def note_of(manifest: Manifest, shards: Shards) -> str:
    """What says in Redis that a restore is at work: a restore that was cut is continued with the
    same backup and the same shards."""
    if shards == manifest.layout_shards:
        return manifest.id
    return f"{manifest.id} {' '.join(map(str, shards))}"


class Restore:
    """One restore while it runs."""

    def __init__(
        self,
        client: Client,
        folder: Path,
        manifest: Manifest,
        *,
        shards: Shards,
        progress: Progress,
    ) -> None:
        self._client = client
        self._folder = folder
        self._manifest = manifest
        self._shards = shards
        self._progress = progress
        self._reader = KeyReader(client)
        self._read: Script[list[bytes | None]] = lua_script(client, "article", "read")
        self._now_ms = time.time_ns() // 1_000_000
        self._pipe: Pipeline = client.pipeline(transaction=False)
        self._placement = Placement(client, manifest.layout_shards, shards, flush=self._flush)
        self._waiting = self._waiting_bytes = self._done = 0
        self._of_total = f"of {sum(file.records for file in manifest.files):,} records"
        self._articles: dict[bytes, dict[bytes, bytes]] = {}
        self._articles_bytes = 0
        self._originals: dict[str, str] = {}
        """Id of a duplicate → id of its original."""
        self._stream_ends: dict[bytes, tuple[int, int]] = {}

    async def run(self) -> None:
        """Write everything that the backup holds, bring it to the present layout, then remove the
        note.

        Raises:
            StartFailed: a newer dateline wrote the data.
        """
        client = self._client
        note = note_of(self._manifest, self._shards)
        await client.execute_command("SET", keys.RESTORING, note)
        # A process that started on the empty archive has noted its own layout.
        await client.delete(keys.LAYOUT)
        await claim_shards(client, self._shards)
        try:
            await self._put_records()
        except (ValueError, TypeError, LookupError, AttributeError) as exc:
            raise BackupFault(
                f"{self._folder}: of the records up to number {self._done} one is not of a backup "
                f"({exc!r}): restore another backup"
            ) from exc
        await self._show_without_original()
        await migrate(client)
        if self._manifest.layout_shards != self._shards:
            await place_sources(client)
        await note_urls(client)
        await client.delete(keys.RESTORING)
        self._progress(self._of_total, self._done)

    async def _put_records(self) -> None:
        for record in backup_files.records(self._folder, self._manifest):
            self._done += 1
            if record[0] != "article":
                await self._flush_articles()
            for kind, key, payload, expires_ms in await self._placement.placed(record):
                await self._put(kind, key, payload, expires_ms)
            if not self._done % RECORDS_AT_ONCE:
                self._progress(self._of_total, self._done)
        await self._flush_articles()
        await self._flush()

    async def _put(self, kind: str, key: bytes, payload: Any, expires_ms: int) -> None:
        if not key.startswith(_PREFIX):
            raise BackupFault(f"{self._folder}: it has the key {key!r}, which is not dateline's")
        if kind == "article":
            # The later of two copies counts.
            self._articles[key] = _mapping(payload)
            self._articles_bytes += sum(map(len, payload))
            is_full = self._articles_bytes >= BYTES_AT_ONCE
            if is_full or len(self._articles) >= ARTICLES_AT_ONCE:
                await self._flush_articles()
        elif kind in _ADD:
            await self._put_items(kind, key, payload, expires_ms)
        elif kind == "string":
            await self._send("SET", key, payload)
        elif kind in ("stream", "last-id"):
            await self._put_entries(kind, key, payload)
        elif kind == "group":
            await self._put_group(key, *payload)
        elif kind == "pending":
            await self._put_pending(key, *payload)
        else:
            raise BackupFault(f"{self._folder}: a record of an unknown kind: {kind}")
        if expires_ms:
            await self._send("PEXPIREAT", key, expires_ms)

    async def _put_items(self, kind: str, key: bytes, payload: list[Any], expires_ms: int) -> None:
        if expires_ms and expires_ms <= self._now_ms:
            return
        command, step = _ADD[kind]
        if kind == "list":
            # A list is one record, and its items would be there twice after another attempt.
            await self._send("DEL", key)
        if kind == "zset":
            payload = [
                part for pair in zip(payload[1::2], payload[::2], strict=True) for part in pair
            ]
            if b":gone:" in key:
                payload = await self._withdrawn(key, payload)
        for part in chunks(payload, ARGUMENTS_AT_ONCE * step):
            await self._send(command, key, *part)

    async def _withdrawn(self, key: bytes, payload: Sequence[Any]) -> list[Any]:
        """Of scores and ids in turn, return those of articles that the backup has as withdrawn."""
        await self._flush()
        shard = key.partition(b"{")[2].partition(b"}")[0].decode()
        ids = [article_id.decode("utf-8", "replace") for article_id in payload[1::2]]
        heads = await self._fields_of([keys.article(int(shard), i).encode() for i in ids], "head")
        return [
            part
            for pair, head in zip(zip(payload[::2], payload[1::2], strict=True), heads, strict=True)
            if head and decode_head(head)["status"] != LIVE
            for part in pair
        ]

    async def _fields_of(self, names: Sequence[bytes], field: str) -> list[bytes]:
        pipe = self._client.pipeline(transaction=False)
        self._read.load_in(pipe)
        for name in names:
            self._read.run_in(pipe, keys=[name.decode()], args=[field])
        _, *replies = await pipe.execute()
        return [value or b"" for (value,) in replies]

    async def _flush_articles(self) -> None:
        """Write the articles at hand with their indexes, in place of what is there of them."""
        articles, self._articles, self._articles_bytes = self._articles, {}, 0
        if not articles:
            return
        await self._flush()
        present = await self._fields_of(list(articles), "idx")
        # One command an index and not one an article: the round trips are most of the work.
        removed: dict[bytes, list[Value]] = defaultdict(list)
        added: dict[bytes, list[Value]] = defaultdict(list)
        for (name, fields), idx in zip(articles.items(), present, strict=True):
            prefix, article_id = name.split(b":article:", 1)
            head = decode_head(fields[b"head"])
            self._note_original(article_id.decode(), head.get("duplicate_of", ""))
            after = Indexed.of(fields.get(b"idx", b""))
            for path in set(Indexed.of(idx).paths) - set(after.paths):
                removed[prefix + b":category:" + path.encode()].append(article_id)
            if after.score is not None:
                for path in after.paths:
                    added[prefix + b":category:" + path.encode()] += [after.score, article_id]
            changes = head.get("marks", 0) + head.get("corrections", 0)
            if after.version == f"{head['revision']}.{changes}":
                removed[prefix + b":dirty"].append(article_id)
            else:
                added[prefix + b":dirty"] += [self._now_ms, article_id]
        for index, members in removed.items():
            await self._send("ZREM", index, *members)
        for index, pairs in added.items():
            await self._send("ZADD", index, *pairs)
        for name, fields in articles.items():
            await self._send("SET", name, stored_article(fields))

    def _note_original(self, article_id: str, original: str) -> None:
        # The later of two copies counts, also if it is not a duplicate any more.
        self._originals.pop(article_id, None)
        if original:
            self._originals[article_id] = original

    async def _show_without_original(self) -> None:
        """Unmark duplicates whose original is not in the backup: it was published after the cut,
        and nothing would be shown in place of them."""
        duplicates = Duplicates(self._client, shards=self._shards)
        for part in chunks(list(self._originals.items()), ARGUMENTS_AT_ONCE):
            pipe = self._client.pipeline(transaction=False)
            for _, original in part:
                shard = self._shards.of(original)
                pipe.execute_command("EXISTS", keys.article(shard, original))
            replies = zip(part, await pipe.execute(), strict=True)
            await duplicates.mark_all(
                [Mark(article_id=name) for (name, _), is_there in replies if not is_there]
            )

    async def _put_entries(self, kind: str, key: bytes, payload: Any) -> None:
        """Add entries with their ids; those that an earlier attempt has added are passed."""
        if key not in self._stream_ends:
            await self._flush()
            self._stream_ends[key] = position((await self._reader.last_id(key)).decode())
        entries = payload if kind == "stream" else [(payload, (b"-", b"-"))]
        for entry_id, fields in entries:
            place = position(entry_id.decode())
            if place > self._stream_ends[key]:
                await self._send("XADD", key, entry_id, *fields)
                self._stream_ends[key] = place
                if kind == "last-id":
                    # The entry is gone; the stream goes on after its id.
                    await self._send("XDEL", key, entry_id)

    async def _put_group(self, key: bytes, group: bytes, last_id: bytes) -> None:
        await self._flush()
        try:
            await self._client.execute_command("XGROUP CREATE", key, group, last_id, "MKSTREAM")
        except ResponseError as exc:
            if "BUSYGROUP" not in str(exc):
                raise
            await self._client.execute_command("XGROUP SETID", key, group, last_id)

    async def _put_pending(
        self, key: bytes, group: bytes, entries: Iterable[Sequence[Any]]
    ) -> None:
        for consumer, entry_id, delivered_ms, deliveries in entries:
            await self._send(
                "XCLAIM", key, group, consumer, 0, entry_id,
                "TIME", delivered_ms, "RETRYCOUNT", deliveries, "FORCE",
            )  # fmt: skip

    async def _send(self, *args: Value) -> None:
        self._pipe.execute_command(*args)
        self._waiting += 1
        self._waiting_bytes += sum(len(arg) for arg in args if isinstance(arg, str | bytes))
        if self._waiting >= ARGUMENTS_AT_ONCE or self._waiting_bytes >= BYTES_AT_ONCE:
            await self._flush()

    async def _flush(self) -> None:
        pipe, self._pipe = self._pipe, self._client.pipeline(transaction=False)
        waiting, self._waiting, self._waiting_bytes = self._waiting, 0, 0
        if waiting:
            await pipe.execute()


def _mapping(payload: Sequence[Any]) -> dict[bytes, bytes]:
    return dict(zip(payload[::2], payload[1::2], strict=True))
