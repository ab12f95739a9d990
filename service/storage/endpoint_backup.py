"""Copy webhooks and subscriptions to our hub, each with all its keys at one moment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from service.articles.event import FIRST, position
from service.storage import keys
from service.storage.backup_files import RecordWriter
from service.storage.commands import Client
from service.storage.key_reader import chunks
from service.storage.webhooks import Range, cursor_field

AT_ONCE = 20
_REGISTRIES = (keys.ENDPOINTS, keys.SUBSCRIBERS, keys.HUB_ASKED)
_HOSTS = keys.hub_host("").encode()


class EndpointBackup:
    """Copies endpoints, whose cursors must not be ahead of the events in the backup."""

    def __init__(self, client: Client, file: RecordWriter, *, cuts: Sequence[str]) -> None:
        self._client = client
        self._file = file
        self._cuts = cuts
        self._ids: set[bytes] = set()

    async def copy(self) -> None:
        """Write the records of every endpoint that exists now."""
        ids: dict[bytes, None] = {}
        for registry in _REGISTRIES:
            ids.update(dict.fromkeys(await self._client.hkeys(registry)))
        for part in chunks(list(ids), AT_ONCE):
            await self._copy_some(part)

    def is_kept(self, name: bytes, member: bytes) -> bool:
        """Whether a member of a set belongs to the backup: of the subscriptions of a host those
        that were copied, so that none counts against its host without being there."""
        return not name.startswith(_HOSTS) or member in self._ids

    async def _copy_some(self, ids: Sequence[bytes]) -> None:
        names = [endpoint_id.decode() for endpoint_id in ids]
        pipe = self._client.pipeline(transaction=True)
        for registry in _REGISTRIES:
            pipe.hmget(registry, names)
        for name in names:
            pipe.hgetall(keys.endpoint(name))
            pipe.lrange(keys.replays(name), 0, -1)
            for log in (keys.attempts(name), keys.dead_letters(name)):
                pipe.execute_command("XRANGE", log, "-", "+")
        replies = iter(await pipe.execute())
        for registry in _REGISTRIES:
            values = [(i, value) for i, value in zip(ids, next(replies), strict=True) if value]
            self._ids.update(endpoint_id for endpoint_id, _ in values)
            if values:
                self._file.put("hash", registry, [part for pair in values for part in pair])
        for name in names:
            state, replays = next(replies), next(replies)
            fields = self._ending_at_cut(state)
            self._put("hash", keys.endpoint(name), [p for pair in fields.items() for p in pair])
            self._put("list", keys.replays(name), [self._replay(each) for each in replays])
            for log in (keys.attempts(name), keys.dead_letters(name)):
                entries = [[i, [p for pair in f.items() for p in pair]] for i, f in next(replies)]
                self._put("stream", log, entries)

    def _put(self, kind: str, key: str, payload: list[Any]) -> None:
        if payload:
            self._file.put(kind, key, payload)

    def _ending_at_cut(self, state: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """The state, its cursors no further than the events in the backup.

        A batch that failed and contains later events is composed anew.
        """
        fields = dict(state)
        for shard, cut in enumerate(self._cuts):
            name = cursor_field(shard)
            if name.encode() in fields:
                fields[name.encode()] = _earlier(fields[name.encode()], cut)
            cursor, _, until = fields.get(b"until", b"").decode().partition(" ")
            if cursor == name and position(until or FIRST) > position(cut):
                fields[b"until"] = b""
        return fields

    def _replay(self, stored: bytes) -> bytes:
        """A replay that does not wait for events which are not in the backup."""
        replay = Range.parse(stored.decode())
        if not 0 <= replay.shard < len(self._cuts):
            return stored
        until = _earlier(replay.until.encode(), self._cuts[replay.shard]).decode()
        return str(Range(replay.shard, replay.after, until)).encode()


def _earlier(entry_id: bytes, cut: str) -> bytes:
    return min(entry_id, cut.encode(), key=lambda each: position(each.decode()))
