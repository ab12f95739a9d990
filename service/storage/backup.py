"""Take a backup of a running archive. Its form is in `backup_files.py`, its keys in
`kept_keys.py`; `restore.py` puts it back.

    first → articles → events since then, with the articles that they changed → endpoints → last

No part of Redis is stopped for it, so keys are read at different times, in an order in which no
reference points to something that is missing (docs/decisions.md):

- Sources and what polls left are read before the articles: a poll that is not in the backup is
  repeated, and changes nothing.
- Positions of our own groups are read before the articles: what they have acknowledged is in the
  indexes that the articles describe. A restore computes indexes and `dirty` from the articles.
- Then the stream is followed until it and the articles are of one moment, the cut: one transaction
  reads the last articles and shows that none of them has an event behind the cut.
- Cursors and groups of others are read after the cut and end at it.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from contextlib import ExitStack, closing
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from service.articles.event import FIRST, is_behind, position
from service.errors import DatelineError
from service.feeds.index_step import Indexed
from service.feeds.page import VIEWS
from service.storage import backup_files, keys
from service.storage.backup_files import FILES, Manifest, RecordWriter
from service.storage.client import lua_text
from service.storage.commands import Client, Pipeline, StreamEntry
from service.storage.endpoint_backup import EndpointBackup
from service.storage.event_stream import OWN_GROUPS
from service.storage.kept_keys import Stage, stage_of
from service.storage.key_reader import PAGE, KeyReader, PageSize, size_of
from service.storage.layout import version_of
from service.storage.shards import Shards
from service.storage.source_backup import SourceBackup

Progress = Callable[[str, int], None]
"""Called with what is copied now, and how many records were written so far."""
SCAN_COUNT = 500


class Backup:
    """One backup while it is taken."""

    def __init__(
        self, client: Client, files: dict[str, RecordWriter], *, shards: Shards, progress: Progress
    ) -> None:
        self._client = client
        self._first, self._articles, self._events, self._last = (files[name] for name in FILES)
        self._shards = shards
        self._progress = progress
        self._reader = KeyReader(client)
        self._own_groups: dict[int, list[tuple[str, Any]]] = {}
        self._page = PageSize()
        """How many articles, or events with their articles, are read at once."""
        self._views: dict[bytes, tuple[bytes, bytes | None]] = {}
        self.cuts: dict[int, str] = {}
        self.layout = 0
        self.events = 0

    async def take(self) -> None:
        """Copy everything; the files are complete afterwards, but not ended."""
        self.layout = await version_of(self._client)
        await SourceBackup(self._client, self._first, shards=self._shards).copy()
        self._progress("sources", self._first.records)
        await self._reader.copy(
            [keys.pushes(shard).encode() for shard in self._shards], self._first
        )
        self._views = await self._views_now()
        for shard in self._shards:
            self._own_groups[shard] = await self._groups(shard, own=True)
        starts = [await self._copy_old_events(shard) for shard in self._shards]
        for shard in self._shards:
            async for names in self._scan(keys.article(shard, "*")):
                await self._copy_articles(shard, names)
                self._progress("articles", self._articles.records)
        for shard, start in zip(self._shards, starts, strict=True):
            self.cuts[shard] = await self._follow(shard, start)
            await self._end_stream(shard)
        # After the articles, which need them, and before what is restored by what articles say.
        dictionaries = {keys.dictionaries(shard).encode() for shard in self._shards}
        await self._reader.copy(sorted(dictionaries), self._last)
        endpoints = EndpointBackup(self._client, self._last, shards=self._shards, cuts=self.cuts)
        await endpoints.copy()
        self._progress("endpoints", self._last.records)
        async for names in self._scan("dateline:*"):
            last_names = [n for n in names if stage_of(n.decode("utf-8", "replace")) is Stage.LAST]
            plain = [n for n in last_names if n not in _WITH_CARE | dictionaries]
            await self._reader.copy(plain, self._last, keep=endpoints.is_kept)
            self._progress("other keys", self._last.records)
        await self._copy_views()
        if await version_of(self._client) != self.layout:
            raise DatelineError(
                "another version of dateline has changed the layout of the data during the backup: "
                "take it again"
            )

    async def _scan(self, match: str) -> AsyncIterator[list[bytes]]:
        names: list[bytes] = []
        async for name in self._client.scan_iter(match=match, count=SCAN_COUNT):
            names.append(name)
            if len(names) == SCAN_COUNT:
                yield names
                names = []
        if names:
            yield names

    async def _copy_articles(self, shard: int, names: Sequence[bytes]) -> None:
        while names:
            part, names = names[: self._page.count], names[self._page.count :]
            pipe = self._client.pipeline(transaction=False)
            for name in part:
                _read_in(pipe, name, *_FIELDS)
            articles = _articles(part, await pipe.execute())
            self._page.note(map(size_of, articles.values()))
            await self._put_articles(shard, articles)

    async def _put_articles(self, shard: int, articles: dict[bytes, dict[bytes, bytes]]) -> None:
        await self._correct_views(shard, articles)
        for name, fields in articles.items():
            if b"head" in fields:
                self._articles.put("article", name, _pairs(fields.items()))

    async def _correct_views(self, shard: int, articles: dict[bytes, dict[bytes, bytes]]) -> None:
        """Take views out of each `idx` that the index of the view does not contain.

        The index of a view that is removed or replaced is emptied at once; articles name it until
        they change.
        """
        named = {
            name: views
            for name, fields in articles.items()
            if (views := [p for p in Indexed.of(fields.get(b"idx", b"")).paths if p[:6] == VIEWS])
        }
        if not named:
            return
        pipe = self._client.pipeline(transaction=True)
        for name, views in named.items():
            _read_in(pipe, name, "idx")
            for path in views:
                article_id = name.decode().rpartition(":")[2]
                pipe.execute_command("ZSCORE", keys.category(shard, path), article_id)
        replies = iter(await pipe.execute())
        for name, views in named.items():
            (idx,) = next(replies)
            absent = {path for path in views if next(replies) is None}
            if absent and idx == articles[name][b"idx"]:
                articles[name][b"idx"] = Indexed.of(idx).without(absent)

    async def _copy_old_events(self, shard: int) -> str:
        """Copy the entries that the stream has now; the id of the last one.

        What is trimmed before it is read is marked as trimmed.
        """
        last_id = await self._last_id(shard)
        at, trimmed = FIRST, b""
        while True:
            mark, entries = await self._read_on(shard, at)
            if is_behind(at, mark.decode()):
                trimmed = mark
            if entries:
                self._put_events(shard, entries)
                at = entries[-1][0].decode()
            if not entries or position(at) >= position(last_id):
                break
        if trimmed:
            self._events.put("string", keys.trimmed(shard), trimmed)
        return max(at, last_id, key=position)

    async def _read_on(self, shard: int, after: str) -> tuple[bytes, list[StreamEntry]]:
        pipe = self._client.pipeline(transaction=True)
        pipe.get(keys.trimmed(shard))
        pipe.xrange(keys.stream(shard), min=f"({after}", count=self._page.count)
        trimmed, entries = await pipe.execute()
        self._page.note(size_of(fields) for _, fields in entries)
        return trimmed or b"", entries

    async def _follow(self, shard: int, after: str) -> str:
        """Copy events and the articles that they changed, up to the cut; its id."""
        # No article was read later than this.
        earliest = position(await self._last_id(shard))
        while True:
            trimmed, entries = await self._read_on(shard, after)
            if is_behind(after, trimmed.decode()):
                raise DatelineError(
                    "the event stream was trimmed faster than the backup could read it: raise "
                    "DATELINE_STREAM_MAX_ENTRIES, or take the backup when less is published"
                )
            if not entries:
                return after
            names = list(dict.fromkeys(n for n in _article_keys(shard, entries) if n))
            after = entries[-1][0].decode()
            pipe = self._client.pipeline(transaction=True)
            for name in names:
                _read_in(pipe, name, *_FIELDS)
            pipe.xrange(keys.stream(shard), min=f"({after}", count=PAGE)
            *replies, later = await pipe.execute()
            articles = _articles(names, replies)
            count = settled(names, _article_keys(shard, later)) if len(later) < PAGE else None
            await self._put_articles(shard, articles)
            self._put_events(shard, entries)
            self._progress("events", self.events)
            cut: str = later[count - 1][0].decode() if count else after
            if count is not None and position(cut) >= earliest:
                self._put_events(shard, later[:count])
                return cut

    def _put_events(self, shard: int, entries: Sequence[StreamEntry]) -> None:
        if not entries:
            return
        self._events.put("stream", keys.stream(shard), [[i, _pairs(f.items())] for i, f in entries])
        self.events += len(entries)

    async def _end_stream(self, shard: int) -> None:
        cut = self.cuts[shard]
        if cut != FIRST:
            self._events.put("last-id", keys.stream(shard), cut.encode())
        others = await self._groups(shard, own=False)
        for kind, payload in [*self._own_groups[shard], *others]:
            self._events.put(kind, keys.stream(shard), ending_at(cut, kind, payload))

    async def _groups(self, shard: int, *, own: bool) -> list[tuple[str, Any]]:
        records = await self._reader.groups(keys.stream(shard).encode())
        names = [group.encode() for group in OWN_GROUPS]
        return [(kind, payload) for kind, payload in records if (payload[0] in names) is own]

    async def _last_id(self, shard: int) -> str:
        return (await self._reader.last_id(keys.stream(shard).encode())).decode()

    async def _views_now(self) -> dict[bytes, tuple[bytes, bytes | None]]:
        """View name → the view, and how far its index is built; at one moment."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hgetall(keys.VIEWS)
        pipe.hgetall(keys.VIEWS_BUILT)
        views, built = await pipe.execute()
        return {name: (view, built.get(name)) for name, view in views.items()}

    async def _copy_views(self) -> None:
        """Views as they are now; one that changed during the backup, or whose index is not
        complete, is built anew after a restore."""
        views = await self._views_now()
        built = {
            name: state
            for name, (view, state) in views.items()
            if state and orjson.loads(state).get("done") and self._views.get(name) == (view, state)
        }
        if views:
            self._last.put("hash", keys.VIEWS, _pairs((n, view) for n, (view, _) in views.items()))
        if built:
            self._last.put("hash", keys.VIEWS_BUILT, _pairs(built.items()))


# Copied together, after all others.
_WITH_CARE = {key.encode() for key in (keys.VIEWS, keys.VIEWS_BUILT)}


def ending_at(cut: str, kind: str, payload: Any) -> Any:
    """A record of a group, without what it has read after the cut."""
    if kind == "group":
        name, last_id = payload
        return [name, min(last_id, cut.encode(), key=lambda i: position(i.decode()))]
    group, entries = payload
    return [group, [e for e in entries if position(e[1].decode()) <= position(cut)]]


def _article_keys(shard: int, entries: Iterable[StreamEntry]) -> list[bytes]:
    """Key of the article of each of these events; empty for an entry that is not an event."""
    subjects = (fields.get(b"subject", b"") for _, fields in entries)
    prefix = keys.article(shard, "").encode()
    return [prefix + subject if subject else b"" for subject in subjects]


def settled(copied: Collection[bytes], later: Sequence[bytes]) -> int | None:
    """How many later events a backup must include so that its articles and events are of one
    moment; None if that needs articles which were not copied.

    An article that is written again and again is always behind one of its events, so the backup
    includes those events instead of waiting until there are none.

    Args:
        copied: keys of the articles that were copied at the time of the last of these events.
        later: the key of the article of each event, empty for an entry that is not an event.
    """
    needed = {b"", *copied}
    count = max((number for number, name in enumerate(later, 1) if name in copied), default=0)
    return count if needed.issuperset(later[:count]) else None


# By its text: a transaction cannot load a script that the server does not know.
_READ = lua_text("article", "read")
_FIELDS = ("doc", "head", "idx")


def _read_in(pipe: Pipeline, name: bytes, *fields: str) -> None:
    """Read these fields of an article, in whichever form it is stored."""
    pipe.execute_command("EVAL", _READ, 1, name, *fields)


def _articles(
    names: Sequence[bytes], replies: Sequence[Sequence[bytes | None]]
) -> dict[bytes, dict[bytes, bytes]]:
    """Name → fields of each article, from the replies to `_read_in`."""
    return {
        name: {f.encode(): value for f, value in zip(_FIELDS, values, strict=True) if value}
        for name, values in zip(names, replies, strict=True)
    }


def _pairs(items: Iterable[tuple[Any, Any]]) -> list[Any]:
    return [part for pair in items if pair[1] is not None for part in pair]


async def take_backup(
    client: Client, folder: Path, *, shards: Shards, created: str, progress: Progress
) -> Manifest:
    """Write a backup of the archive into a folder that `new_folder` has made.

    Args:
        created: RFC 3339.

    Raises:
        BackupFault: the folder cannot be written.
        DatelineError: the stream lost events that the backup had not read yet, or the layout of
            the data was migrated meanwhile.
    """
    try:
        with ExitStack() as stack:
            files = {n: stack.enter_context(closing(RecordWriter(folder, n))) for n in FILES}
            backup = Backup(client, files, shards=shards, progress=progress)
            await backup.take()
            manifest = Manifest(
                format=backup_files.FORMAT,
                id=uuid.uuid4().hex,
                version=version("dateline"),
                created=created,
                shards=len(shards),
                tags=shards.tags,
                layout=backup.layout,
                articles=files["articles"].records,
                events=backup.events,
                cuts=tuple(backup.cuts.values()),
                files=tuple(file.end() for file in files.values()),
            )
        backup_files.write_manifest(folder, manifest)
    except OSError as exc:
        raise backup_files.BackupFault(
            f"{folder}: the backup cannot be written ({exc.strerror}): free some space, or name a "
            f"folder on another disk; the same command begins it anew"
        ) from exc
    return manifest
