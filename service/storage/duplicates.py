"""Duplicates in Redis: links and landmarks by which they are recognised, and their marks.

The rules are in articles/duplicates.py.
"""

from __future__ import annotations

import hashlib
import uuid
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import orjson

from service.articles.duplicates import MIN_LANDMARKS_COMMON
from service.storage import keys
from service.storage.client import Script, lua_script
from service.storage.commands import Client, Value
from service.storage.shards import Shards

_WINDOW_MS = 3 * 86_400_000
_ID_BYTES = 16

_LEAVE_LINK = """
-- KEYS 1 links  ARGV 1 digest of a link 2 id (16 bytes). Returns 1 if the article was noted there.
local owners = redis.call('HGET', KEYS[1], ARGV[1])
if not owners then return 0 end
local newest, before = string.sub(owners, 1, 16), string.sub(owners, 17)
if newest ~= ARGV[2] and before ~= ARGV[2] then return 0 end
local rest = newest == ARGV[2] and before or newest
if rest == '' then return redis.call('HDEL', KEYS[1], ARGV[1]) end
redis.call('HSET', KEYS[1], ARGV[1], rest)
return 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Says of an article whether it is a duplicate."""

    article_id: str
    original: str = ""
    """Id of the article that it repeats; empty if it is not a duplicate."""
    hidden_in: tuple[str, ...] = ()
    """Categories that show the original instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """That by which an article is found when another one repeats it."""

    article_id: str
    link: str
    """Canonical; empty if it has none."""
    landmarks: Sequence[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Ids of other articles that had parts of a trace last."""

    of_link: tuple[str, ...]
    """The newest first, two at most."""
    of_landmarks: tuple[str, ...]
    """Those that had MIN_LANDMARKS_COMMON of its landmarks or more in the last three to six days,
    the ones with most of them first."""


class _Parts:
    """The parts of traces by the hashes that they are stored in: lists of (field, number of the
    trace)."""

    def __init__(self) -> None:
        self.by_landmark: dict[int, list[tuple[bytes, int]]] = {}
        """Number of a bucket → its fields."""
        self.by_link: dict[str, list[tuple[bytes, int]]] = {}
        """Key → its fields."""

    def add(self, number: int, trace: Trace) -> None:
        """Add the parts of one trace."""
        for landmark in trace.landmarks:
            # By the last byte: the first ones of all landmarks are alike.
            self.by_landmark.setdefault(landmark[-1] % keys.LANDMARK_BUCKETS, []).append(
                (landmark, number)
            )
        if trace.link:
            key, field = _link(trace.link)
            self.by_link.setdefault(key, []).append((field, number))

    def _numbers(self) -> list[tuple[bool, int]]:
        """Of each value that note_traces.lua numbers: whether it is of a link, and its trace."""
        numbers = []
        for fields in self.by_landmark.values():
            # Those of this window, then those of the one before.
            numbers += [(False, number) for _, number in fields * 2]
        for fields in self.by_link.values():
            numbers += [(True, number) for _, number in fields]
        return numbers

    def owners(self, replies: Sequence[Any], ids: Sequence[bytes]) -> list[Owners]:
        """Read the reply of note_traces.lua.

        Args:
            ids: of the articles of the traces.
        """
        numbers = self._numbers()
        of_landmarks: list[list[bytes]] = [[] for _ in ids]
        of_link = [b""] * len(ids)
        for value, owners in zip(replies[::2], replies[1::2], strict=True):
            is_link, number = numbers[value]
            if is_link:
                of_link[number] = owners
            elif len(owners) % _ID_BYTES == 0:  # Else a hand wrote it.
                of_landmarks[number].append(owners)
        return [
            Owners(
                of_link=tuple(map(_text, dict.fromkeys(_others(of_link[number], own)))),
                of_landmarks=_most_common(of_landmarks[number], own),
            )
            for number, own in enumerate(ids)
        ]


class Duplicates:
    """Finds articles with the same link or words, and marks duplicates."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._note: Script[list[Any]] = lua_script(client, "note_traces")
        self._leave_link: Script[int] = Script(client, _LEAVE_LINK)
        self._window = 0
        self._mark: Script[int] = lua_script(client, "head", "mark")

    async def note(self, traces: Sequence[Trace], *, now_ms: int) -> list[Owners]:
        """Note articles as the last ones with their links and landmarks.

        Can be repeated: an article that is noted again is not its own predecessor.

        Returns:
            For each trace, in order, who had its parts before.
        """
        parts = _Parts()
        for number, trace in enumerate(traces):
            parts.add(number, trace)
        if not (parts.by_landmark or parts.by_link):
            return [Owners(of_link=(), of_landmarks=())] * len(traces)
        window = now_ms // _WINDOW_MS
        if window != self._window:
            # In the background: to free so much at once, when it expires, would stop Redis.
            old = [keys.landmarks(window - 2, bucket) for bucket in range(keys.LANDMARK_BUCKETS)]
            await self._client.unlink(*old)
            self._window = window
        key_names = [
            keys.landmarks(each, bucket)
            for each in (window, window - 1)
            for bucket in parts.by_landmark
        ]
        ids = [uuid.UUID(trace.article_id).bytes for trace in traces]
        argv: list[Value] = [keys.LANDMARKS_TTL_S, len(parts.by_landmark)]
        for fields in (*parts.by_landmark.values(), *parts.by_link.values()):
            argv += [len(fields), *(field for field, _ in fields), *(ids[n] for _, n in fields)]
        return parts.owners(await self._note(keys=[*key_names, *parts.by_link], args=argv), ids)

    async def mark(self, article_id: str, *, original: str, hidden_in: Sequence[str]) -> bool:
        """Mark an article as a duplicate of `original`, or as none if that is empty.

        Returns:
            False if the mark was the same before.
        """
        mark = Mark(article_id=article_id, original=original, hidden_in=tuple(hidden_in))
        return bool(await self.mark_all([mark]))

    async def mark_all(self, marks: Sequence[Mark]) -> list[Mark]:
        """Write marks in their order; those that were not the same before."""
        if not marks:
            return []
        pipe = self._client.pipeline(transaction=False)
        self._mark.load_in(pipe)
        for mark in marks:
            shard = self._shards.of(mark.article_id)
            self._mark.run_in(
                pipe,
                keys=[keys.dirty(shard), keys.article(shard, mark.article_id)],
                args=[mark.article_id, mark.original, orjson.dumps(mark.hidden_in)],
            )
        _, *changed = await pipe.execute()
        await self._add_twins([mark for mark in marks if mark.original])
        return [mark for mark, is_new in zip(marks, changed, strict=True) if is_new]

    async def _add_twins(self, marks: Sequence[Mark]) -> None:
        if not marks:
            return
        pipe = self._client.pipeline(transaction=False)
        for mark in marks:
            pipe.execute_command("SCARD", keys.twins(mark.original))
        counts: list[int] = await pipe.execute()
        pipe = self._client.pipeline(transaction=False)
        for mark, count in zip(marks, counts, strict=True):
            if count < keys.TWINS_MAX:
                pipe.execute_command("SADD", keys.twins(mark.original), mark.article_id)
        await pipe.execute()

    async def twins(self, article_id: str) -> list[str]:
        """Ids of the articles that were marked as duplicates of this one."""
        members = await self._client.smembers(keys.twins(article_id))
        return sorted(member.decode() for member in members)

    async def leave(self, articles: Sequence[tuple[str, str, str]]) -> None:
        """Forget articles that are not there any more: as the last ones with their links, and as
        duplicates.

        Args:
            articles: of each its id, its canonical URL or '', and the id of its original or ''.
        """
        pipe = self._client.pipeline(transaction=False)
        self._leave_link.load_in(pipe)
        for article_id, canonical, original in articles:
            if canonical:
                key, field = _link(canonical)
                args = [field, uuid.UUID(article_id).bytes]
                self._leave_link.run_in(pipe, keys=[key], args=args)
            if original:
                pipe.execute_command("SREM", keys.twins(original), article_id)
        await pipe.execute()

    async def twins_of(self, article_ids: Sequence[str]) -> dict[str, list[str]]:
        """Those of the articles that have duplicates → the ids of these."""
        pipe = self._client.pipeline(transaction=False)
        for article_id in article_ids:
            pipe.execute_command("SMEMBERS", keys.twins(article_id))
        replies: list[set[bytes]] = await pipe.execute()
        return {
            article_id: sorted(member.decode() for member in members)
            for article_id, members in zip(article_ids, replies, strict=True)
            if members
        }

    async def forget_twins(self, article_id: str) -> None:
        """Forget the duplicates of an article that is no longer an original."""
        await self._client.delete(keys.twins(article_id))


def _link(canonical: str) -> tuple[str, bytes]:
    field = hashlib.blake2b(canonical.encode(), digest_size=8).digest()
    return keys.urls(zlib.crc32(field) % keys.URL_BUCKETS), field


def _others(owners: bytes, own: bytes) -> list[bytes]:
    """The ids of a stored value, without the article's own one."""
    if len(owners) % _ID_BYTES:
        return []  # Written by a hand.
    ids = [owners[at : at + _ID_BYTES] for at in range(0, len(owners), _ID_BYTES)]
    return [each for each in ids if each != own]


def _most_common(owners: Sequence[bytes], own: bytes) -> tuple[str, ...]:
    counts = Counter(_others(b"".join(owners), own))
    # Most owners have one landmark, by chance, and ids as text cost more than all the rest.
    common = [(n, i) for i, n in counts.items() if n >= MIN_LANDMARKS_COMMON]
    common.sort(key=itemgetter(0), reverse=True)
    return tuple(_text(i) for _, i in common)


def _text(article_id: bytes) -> str:
    return str(uuid.UUID(bytes=article_id))
