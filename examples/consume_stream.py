"""Consume dateline's event stream as a service of your own: at least once, resumable, idempotent.

    python examples/consume_stream.py --url redis://127.0.0.1:6379 --group my-service

It needs redis-py and nothing of dateline. The rules are those of docs/stream.md: an own group from
the first entry on, own pending entries first (what was read before a crash), then those of dead
consumers, then new ones; acknowledge after the effect; tell repeats apart by the event's id.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

# Entries that another consumer was given this long ago are taken over: above your longest effect.
CLAIM_IDLE_MS = 60_000
BLOCK_MS = 1_000


async def handle(event: dict[str, str], article: dict[str, Any], seen: set[str]) -> None:
    """The effect. Yours goes here; keep the ids of handled events where the effect is kept."""
    if event["id"] in seen:
        return
    seen.add(event["id"])
    print(f"{event['type']}\t{article['id']}\t{article['title']}", flush=True)


async def create_group(redis: Any, stream: str, group: str) -> None:
    """From the first entry that is kept; there already is fine."""
    try:
        await redis.xgroup_create(stream, group, id="0", mkstream=True)
    except ResponseError as exc:
        if "BUSYGROUP" not in str(exc):
            raise


async def read(redis: Any, stream: str, group: str, name: str, start: str) -> list[Any]:
    """Entries for this consumer: `0` for its own pending ones, `>` for new ones."""
    block = BLOCK_MS if start == ">" else None
    reply = await redis.xreadgroup(group, name, {stream: start}, count=100, block=block)
    return list(reply[0][1]) if reply else []


async def claim(redis: Any, stream: str, group: str, name: str) -> list[Any]:
    """Entries that a consumer was given and did not acknowledge: it died, or a reply was lost."""
    claimed = await redis.xautoclaim(stream, group, name, CLAIM_IDLE_MS, count=100)
    return [entry for entry in claimed[1] if entry[0]]  # no id: trimmed meanwhile (Redis 6.2)


async def take(redis: Any, stream: str, group: str, entries: list[Any], seen: set[str]) -> None:
    """Effect first, then the acknowledgement."""
    for entry_id, fields in entries:
        if fields and "data" in fields:  # none if it was trimmed while it was pending
            await handle(fields, json.loads(fields["data"]), seen)
        await redis.xack(stream, group, entry_id)


async def streams(redis: Any) -> list[str]:
    """The streams of all shards, as the archive's layout names them."""
    shards, tags = await redis.hmget("dateline:{0}:layout", "shards", "tags")
    numbers = tags.split() if tags else range(int(shards or 1))
    return [f"dateline:{{{number}}}:events" for number in numbers]


async def consume(url: str, group: str, name: str, stream: str, stop: asyncio.Event) -> None:
    """The events of one stream, until `stop` is set."""
    seen: set[str] = set()
    async with Redis.from_url(url, protocol=2, decode_responses=True, socket_timeout=5) as redis:
        await create_group(redis, stream, group)
        while entries := await read(redis, stream, group, name, "0"):
            await take(redis, stream, group, entries, seen)
        while not stop.is_set():
            try:
                await take(redis, stream, group, await claim(redis, stream, group, name), seen)
                await take(redis, stream, group, await read(redis, stream, group, name, ">"), seen)
            except ResponseError as exc:
                if not str(exc).startswith(("NOGROUP", "UNBLOCKED")):
                    raise
                # Somebody deleted the stream, and the group with it.
                await create_group(redis, stream, group)


async def main() -> None:
    """Parse arguments, and stop in order at SIGTERM and Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--url", default="redis://127.0.0.1:6379")
    parser.add_argument("--group", default="example")
    parser.add_argument("--name", default="consumer-0", help="stable: not a pid, not random")
    options = parser.parse_args()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    try:
        async with Redis.from_url(options.url, protocol=2, decode_responses=True) as redis:
            names = await streams(redis)
        async with asyncio.TaskGroup() as group:
            for each in names:
                group.create_task(consume(options.url, options.group, options.name, each, stop))
    except* (RedisConnectionError, ValueError) as exc:
        reason = exc.exceptions[0]
        sys.exit(f"cannot use the Redis of --url: {reason}; see docs/stream.md, How to reach it")


if __name__ == "__main__":
    asyncio.run(main())
