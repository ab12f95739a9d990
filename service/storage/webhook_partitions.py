"""Layout step: webhooks, which were all in one hash, move into partitions in the shards.

    copy each webhook with its keys → remove it from where it was → note what each partition needs

Each webhook is copied in one step of its new shard, and only while its partition has no note: those
are written when everything has moved, so a second process that is late changes nothing any more.
Removed is what was copied, so a step that was cut goes on where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from service.storage import keys
from service.storage.client import Script
from service.storage.commands import Client
from service.storage.key_reader import chunks
from service.storage.needed_events import NeededEvents
from service.storage.partitions import PARTITIONS, partition_of, shard_of
from service.storage.shards import ONE, Shards, shards_of

logger = logging.getLogger(__name__)

AT_ONCE = 100
_KINDS: tuple[Callable[[int, str], str], ...] = (
    keys.endpoint, keys.attempts, keys.dead_letters, keys.replays,
)  # fmt: skip

_COPY = """
-- KEYS 1 webhooks of the partition 2 needed 3… keys of the webhook
-- ARGV 1 partition 2 id 3 settings 4… what DUMP gave for each key, or nothing
-- Returns 1; 0, without a change, if the webhook is there, or the partition is complete.
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then return 0 end
if redis.call('HEXISTS', KEYS[1], ARGV[2]) == 1 then return 0 end
for i = 3, #KEYS do
  if ARGV[i + 1] ~= '' then redis.call('RESTORE', KEYS[i], 0, ARGV[i + 1], 'REPLACE') end
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
return 1
"""


async def partition_webhooks(client: Client) -> None:
    """Move all webhooks. Can be repeated, and cut."""
    shards = await shards_of(client) or ONE
    stored = await client.hgetall(keys.FORMER_ENDPOINTS)
    for part in chunks(list(stored.items()), AT_ONCE):
        await _move(client, part, shards)
    # Where changes were noted.
    await client.unlink("dateline:{0}:endpoints:changes")
    if not stored:
        return
    logger.info("webhooks are in partitions now", extra={"count": len(stored)})
    needed = NeededEvents(client, shards=shards)
    for partition in range(PARTITIONS):
        await needed.note(partition)


async def _move(client: Client, webhooks: Sequence[tuple[bytes, bytes]], shards: Shards) -> None:
    copy: Script[int] = Script(client, _COPY)
    for webhook_id, settings in webhooks:
        try:
            name = webhook_id.decode()
        except UnicodeDecodeError:
            # No version of dateline wrote it.
            logger.error("a webhook has no readable id, and stays", extra={"id": webhook_id})
            continue
        partition = partition_of(name)
        shard = shard_of(partition, shards)
        former = [kind(0, name) for kind in _KINDS]
        present = [kind(shard, name) for kind in _KINDS]
        # In shard 0 they have the names that they had.
        dumps = [await _dump(client, key) if shard else b"" for key in former]
        await copy(
            keys=[keys.endpoints(shard, partition), keys.needed(shard), *present],
            args=[partition, name, settings, *dumps],
        )
        pipe = client.pipeline(transaction=True)
        pipe.hdel(keys.FORMER_ENDPOINTS, name)
        if shard:
            pipe.delete(*former)
        await pipe.execute()


async def _dump(client: Client, key: str) -> bytes:
    dump: bytes | None = await client.execute_command("DUMP", key)
    return dump or b""
