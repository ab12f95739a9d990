"""Copy webhooks and subscriptions to our hub, each with all its keys at one moment.

A restored stream ends at the cut of the backup, so everything here that is a position in the
stream ends there, too: cursors, failed batches, and the orders resume and replay, whether they wait
or are being carried out. Otherwise a webhook would pass events that are published after a restore,
or wait for events that are not in the backup.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from service.articles.event import FIRST, position
from service.storage import keys
from service.storage.backup_files import RecordWriter
from service.storage.commands import Client, StreamEntry
from service.storage.key_reader import chunks
from service.storage.partitions import registries
from service.storage.shards import Shards
from service.storage.webhooks import REPLAY, Range, cursor_field

logger = logging.getLogger(__name__)

AT_ONCE = 20
# Behind every entry id: the cut of a shard that does not exist.
_NO_CUT = f"{2**64 - 1}-{2**64 - 1}"
_HUB = (keys.SUBSCRIBERS, keys.HUB_ASKED)
_HOSTS = keys.hub_host("").encode()


class EndpointBackup:
    """Copies endpoints, whose cursors must not be ahead of the events in the backup."""

    def __init__(
        self, client: Client, file: RecordWriter, *, shards: Shards, cuts: Mapping[int, str]
    ) -> None:
        self._client = client
        self._file = file
        self._shards = shards
        self._cuts = cuts
        self._ids: set[bytes] = set()

    async def copy(self) -> None:
        """Write the records of every endpoint that exists now."""
        for shard, registry in registries(self._shards):
            await self._copy_all(shard, [registry])
        await self._copy_all(0, _HUB)

    async def _copy_all(self, shard: int, registry_keys: Sequence[str]) -> None:
        """The endpoints of these registries, which are in one shard."""
        ids: dict[bytes, None] = {}
        for registry in registry_keys:
            ids.update(dict.fromkeys(await self._client.hkeys(registry)))
        for part in chunks(list(ids), AT_ONCE):
            await self._copy_some(shard, registry_keys, part)

    def is_kept(self, name: bytes, member: bytes) -> bool:
        """Whether a member of a set belongs to the backup: of the subscriptions of a host those
        that were copied, so that none counts against its host without being there."""
        return not name.startswith(_HOSTS) or member in self._ids

    async def _copy_some(
        self, shard: int, registry_keys: Sequence[str], ids: Sequence[bytes]
    ) -> None:
        names = [endpoint_id.decode() for endpoint_id in ids]
        pipe = self._client.pipeline(transaction=True)
        for registry in registry_keys:
            pipe.hmget(registry, names)
        for name in names:
            pipe.hgetall(keys.endpoint(shard, name))
            pipe.lrange(keys.replays(shard, name), 0, -1)
            for log in (keys.attempts(shard, name), keys.dead_letters(shard, name)):
                pipe.execute_command("XRANGE", log, "-", "+")
        replies = iter(await pipe.execute())
        for registry in registry_keys:
            values = [(i, value) for i, value in zip(ids, next(replies), strict=True) if value]
            self._ids.update(endpoint_id for endpoint_id, _ in values)
            if values:
                self._file.put("hash", registry, [part for pair in values for part in pair])
        for name in names:
            self._put_endpoint(shard, name, *(next(replies) for _ in range(4)))

    def _put_endpoint(
        self,
        shard: int,
        name: str,
        state: dict[bytes, bytes],
        replays: Sequence[bytes],
        attempts: Sequence[StreamEntry],
        letters: Sequence[StreamEntry],
    ) -> None:
        """Write the records of one endpoint, but for its settings."""
        try:
            state = self._ending_at_cut(state, replays)
            replays = [self._replay(each) for each in replays]
            letters = self._letters(letters)
        except (ValueError, TypeError, AttributeError):
            # What no version of dateline wrote is kept as it is: it costs this endpoint alone.
            logger.exception("the state of an endpoint is not understood", extra={"id": name})
        self._put("hash", keys.endpoint(shard, name), _flat(state))
        self._put("list", keys.replays(shard, name), list(replays))
        self._put("stream", keys.attempts(shard, name), [[i, _flat(f)] for i, f in attempts])
        self._put("stream", keys.dead_letters(shard, name), [[i, _flat(f)] for i, f in letters])

    def _put(self, kind: str, key: str, payload: list[Any]) -> None:
        if payload:
            self._file.put(kind, key, payload)

    def _ending_at_cut(
        self, state: dict[bytes, bytes], replays: Sequence[bytes]
    ) -> dict[bytes, bytes]:
        """The state, with no position behind the events in the backup.

        A batch that failed and contains later events is composed anew.
        """
        fields = dict(state)
        cuts = {cursor_field(shard): cut for shard, cut in self._cuts.items()}
        for name, cut in cuts.items():
            if name.encode() in fields:
                fields[name.encode()] = _earlier(fields[name.encode()], cut)
        if replays:
            cuts[REPLAY] = self._cut(Range.parse(replays[0].decode()).shard)
        if fields.get(REPLAY.encode()) and REPLAY in cuts:
            fields[REPLAY.encode()] = _earlier(fields[REPLAY.encode()], cuts[REPLAY])
        cursor, _, until = fields.get(b"until", b"").decode().partition(" ")
        if cursor in cuts and position(until or FIRST) > position(cuts[cursor]):
            fields[b"until"] = b""
        if fields.get(b"resume"):
            fields[b"resume"] = self._resume(fields[b"resume"])
        return fields

    def _resume(self, order: bytes) -> bytes:
        """An order to resume that passes none of the events which come after a restore."""
        entry_ids: dict[str, str] = orjson.loads(order)
        for shard, cut in self._cuts.items():
            if str(shard) in entry_ids:
                entry_ids[str(shard)] = _earlier(entry_ids[str(shard)].encode(), cut).decode()
        return orjson.dumps(entry_ids)

    def _letters(self, letters: Sequence[StreamEntry]) -> list[StreamEntry]:
        """Dead letters without the events that are not in the backup: a replay of what was given
        up would wait for them."""
        shortened = []
        for entry_id, fields in letters:
            cut = self._cut(int(fields[b"shard"])) if b"shard" in fields else _NO_CUT
            if position(fields.get(b"first", b"0").decode()) > position(cut):
                continue
            last = {b"last": _earlier(fields[b"last"], cut)} if b"last" in fields else {}
            shortened.append((entry_id, {**fields, **last}))
        return shortened

    def _replay(self, stored: bytes) -> bytes:
        """A replay that does not wait for events which are not in the backup."""
        replay = Range.parse(stored.decode())
        until = _earlier(replay.until.encode(), self._cut(replay.shard)).decode()
        return str(Range(replay.shard, replay.after, until)).encode()

    def _cut(self, shard: int) -> str:
        """Id of the last entry of a shard's stream that is in the backup."""
        return self._cuts.get(shard, _NO_CUT)


def _flat(fields: dict[bytes, bytes]) -> list[bytes]:
    return [part for pair in fields.items() for part in pair]


def _earlier(entry_id: bytes, cut: str) -> bytes:
    return min(entry_id, cut.encode(), key=lambda each: position(each.decode()))
