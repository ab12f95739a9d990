"""Duplicates in Redis: links and landmarks by which they are recognised, and their marks.

The rules are in articles/duplicates.py. Links and landmarks are spread over the shards by their own
hashes (trace_buckets.py), marks are in the shard of the article that has them, and the twins of an
original in that of the original. Whatever a batch does to one shard is one call of a script, and
the calls of a batch are sent together.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import orjson

from service.articles.duplicates import MIN_LANDMARKS_COMMON
from service.storage import keys
from service.storage.client import Script, ScriptCall, lua_script
from service.storage.commands import Client, Value
from service.storage.shards import Shards
from service.storage.trace_buckets import (
    landmark_bucket,
    landmark_shard,
    link_bucket,
    link_field,
    link_shard,
)

_WINDOW_MS = 3 * 86_400_000
_ID_BYTES = 16
# Redis serves no other client while a script runs: 100 marks take about 2 ms.
MARKED_AT_ONCE = 100


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


_Fields = dict[int, list[tuple[bytes, int]]]
"""Number of a bucket → its fields, each with the number of its trace."""


@dataclass(slots=True)
class _Parts:
    """The parts of traces that are stored in one shard."""

    shard: int
    by_landmark: _Fields = field(default_factory=dict)
    by_link: _Fields = field(default_factory=dict)

    def call(self, window: int, ids: Sequence[bytes]) -> ScriptCall:
        """The call of note_traces.lua that notes them.

        Args:
            ids: of the articles of the traces.
        """
        key_names = [
            keys.landmarks(self.shard, each, bucket)
            for each in (window, window - 1)
            for bucket in self.by_landmark
        ]
        key_names += [keys.urls(self.shard, bucket) for bucket in self.by_link]
        argv: list[Value] = [keys.LANDMARKS_TTL_S, len(self.by_landmark)]
        for fields in (*self.by_landmark.values(), *self.by_link.values()):
            argv += [len(fields), *(name for name, _ in fields), *(ids[n] for _, n in fields)]
        return key_names, argv

    def numbers(self) -> list[tuple[bool, int]]:
        """Of each value that note_traces.lua numbers: whether it is of a link, and its trace."""
        numbers = []
        for fields in self.by_landmark.values():
            # Those of this window, then those of the one before.
            numbers += [(False, number) for _, number in fields * 2]
        for fields in self.by_link.values():
            numbers += [(True, number) for _, number in fields]
        return numbers


class _Batch:
    """Traces that are noted together."""

    def __init__(self, traces: Sequence[Trace], shards: Shards) -> None:
        self.ids = [uuid.UUID(trace.article_id).bytes for trace in traces]
        self.parts: dict[int, _Parts] = {}
        """By their shards."""
        for number, trace in enumerate(traces):
            for landmark in trace.landmarks:
                bucket = landmark_bucket(landmark)
                by_landmark = self._of(landmark_shard(bucket, shards)).by_landmark
                by_landmark.setdefault(bucket, []).append((landmark, number))
            if trace.link:
                name = link_field(trace.link)
                bucket = link_bucket(name)
                by_link = self._of(link_shard(bucket, shards)).by_link
                by_link.setdefault(bucket, []).append((name, number))

    def _of(self, shard: int) -> _Parts:
        parts = self.parts.get(shard)
        if parts is None:
            parts = self.parts[shard] = _Parts(shard)
        return parts

    def owners(self, replies: Sequence[Sequence[Any]]) -> list[Owners]:
        """Read the replies of note_traces.lua, one for each of the parts."""
        of_landmarks: list[list[bytes]] = [[] for _ in self.ids]
        of_link = [b""] * len(self.ids)
        for parts, reply in zip(self.parts.values(), replies, strict=True):
            numbers = parts.numbers() if reply else []
            for value, owners in zip(reply[::2], reply[1::2], strict=True):
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
            for number, own in enumerate(self.ids)
        ]


class Duplicates:
    """Finds articles with the same link or words, and marks duplicates."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards
        self._note: Script[list[Any]] = lua_script(client, "note_traces")
        self._leave: Script[int] = lua_script(client, "leave_traces")
        self._window = 0
        self._mark: Script[list[int]] = lua_script(client, "article", "head", "mark")

    async def note(self, traces: Sequence[Trace], *, now_ms: int) -> list[Owners]:
        """Note articles as the last ones with their links and landmarks.

        Can be repeated: an article that is noted again is not its own predecessor.

        Returns:
            For each trace, in order, who had its parts before.
        """
        batch = _Batch(traces, self._shards)
        window = now_ms // _WINDOW_MS
        if batch.parts and window != self._window:
            await self._free(window - 2)
            self._window = window
        calls = [parts.call(window, batch.ids) for parts in batch.parts.values()]
        return batch.owners(await self._note.run_all(calls))

    async def _free(self, window: int) -> None:
        """Remove the landmarks of a window that nobody reads any more."""
        # In the background: to free so much at once, when it expires, would stop Redis.
        by_shard: dict[int, list[str]] = {}
        for bucket in range(keys.LANDMARK_BUCKETS):
            shard = landmark_shard(bucket, self._shards)
            by_shard.setdefault(shard, []).append(keys.landmarks(shard, window, bucket))
        pipe = self._client.pipeline(transaction=False)
        for names in by_shard.values():
            pipe.execute_command("UNLINK", *names)
        await pipe.execute()

    async def mark_all(self, marks: Sequence[Mark]) -> list[Mark]:
        """Write marks, those of one article in their order, and note duplicates with their
        originals; returns those that were not the same before."""
        changed: set[int] = set()
        for at in range(0, len(marks), MARKED_AT_ONCE):
            changed |= {
                at + number for number in await self._mark_some(marks[at : at + MARKED_AT_ONCE])
            }
        return [mark for number, mark in enumerate(marks) if number in changed]

    async def _mark_some(self, marks: Sequence[Mark]) -> list[int]:
        """The numbers of those that were not the same before."""
        articles: dict[int, list[int]] = {}
        twins: dict[int, list[Mark]] = {}
        for number, mark in enumerate(marks):
            articles.setdefault(self._shards.of(mark.article_id), []).append(number)
            if mark.original:
                twins.setdefault(self._shards.of(mark.original), []).append(mark)
        calls: list[ScriptCall] = []
        shards = list(dict.fromkeys([*articles, *twins]))
        for shard in shards:
            of_shard = [marks[number] for number in articles.get(shard, [])]
            calls.append(_marking(shard, of_shard, twins.get(shard, [])))
        numbers = []
        for shard, reply in zip(shards, await self._mark.run_all(calls), strict=True):
            replies = zip(articles.get(shard, []), reply, strict=True)
            numbers += [number for number, is_new in replies if is_new]
        return numbers

    async def leave(self, articles: Sequence[tuple[str, str, str]]) -> None:
        """Forget articles that are not there any more: as the last ones with their links, and as
        duplicates.

        Args:
            articles: of each its id, its canonical URL or '', and the id of its original or ''.
        """
        links: dict[int, list[tuple[str, bytes, bytes]]] = {}
        twins: dict[int, list[tuple[str, str]]] = {}
        for article_id, canonical, original in articles:
            if canonical:
                name = link_field(canonical)
                shard = link_shard(bucket := link_bucket(name), self._shards)
                link = (keys.urls(shard, bucket), name, uuid.UUID(article_id).bytes)
                links.setdefault(shard, []).append(link)
            if original:
                shard = self._shards.of(original)
                twins.setdefault(shard, []).append((keys.twins(shard, original), article_id))
        await self._leave.run_all(
            [
                _leaving(links.get(shard, []), twins.get(shard, []))
                for shard in dict.fromkeys([*links, *twins])
            ]
        )

    async def twins_of(self, article_ids: Sequence[str]) -> dict[str, list[str]]:
        """Those of the articles that have duplicates → the ids of these."""
        if not article_ids:
            return {}
        pipe = self._client.pipeline(transaction=False)
        for article_id in article_ids:
            pipe.execute_command("SMEMBERS", self._twins(article_id))
        replies: list[set[bytes]] = await pipe.execute()
        return {
            article_id: sorted(member.decode() for member in members)
            for article_id, members in zip(article_ids, replies, strict=True)
            if members
        }

    async def forget_twins(self, article_ids: Iterable[str]) -> None:
        """Forget the duplicates of articles that are no longer originals."""
        by_shard: dict[int, list[str]] = {}
        for article_id in article_ids:
            shard = self._shards.of(article_id)
            by_shard.setdefault(shard, []).append(keys.twins(shard, article_id))
        if by_shard:
            pipe = self._client.pipeline(transaction=False)
            for names in by_shard.values():
                pipe.delete(*names)
            await pipe.execute()

    def _twins(self, article_id: str) -> str:
        return keys.twins(self._shards.of(article_id), article_id)


def _marking(shard: int, marks: Sequence[Mark], twins: Sequence[Mark]) -> ScriptCall:
    """The call of mark.lua for the articles of a shard, and for duplicates of its originals."""
    key_names = [keys.dirty(shard), *(keys.article(shard, mark.article_id) for mark in marks)]
    key_names += [keys.twins(shard, mark.original) for mark in twins]
    argv: list[Value] = [len(marks), keys.TWINS_MAX]
    for mark in marks:
        argv += [mark.article_id, mark.original, orjson.dumps(mark.hidden_in)]
    argv += [mark.article_id for mark in twins]
    return key_names, argv


def _leaving(
    links: Sequence[tuple[str, bytes, bytes]], twins: Sequence[tuple[str, str]]
) -> ScriptCall:
    """The call of leave_traces.lua for links as (key, field, id) and twins as (key, id)."""
    key_names = [*(key for key, _, _ in links), *(key for key, _ in twins)]
    argv: list[Value] = [len(links)]
    for _, name, article_id in links:
        argv += [name, article_id]
    argv += [article_id for _, article_id in twins]
    return key_names, argv


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
