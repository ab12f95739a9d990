"""Subscriptions to our hub in Redis, and the requests that wait to be confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import orjson

from service.storage import keys
from service.storage.client import Script
from service.storage.commands import Client, Value
from service.storage.stored import decoded
from service.websub.hub import SubscriptionRequest, TopicSubscription, unescaped

_ASK = """
-- KEYS 1 subscribers 2 asked 3 subscriptions of the callback's host 4 changes
-- ARGV 1 id 2 what is asked 3 cap of all 4 cap of a host 5 cap of the changes
-- Gives 'kept', or which cap it is over, or 'ending' while the operator's end is not told yet.
if string.find(redis.call('HGET', KEYS[2], ARGV[1]) or '', '"mode":"denied"', 1, true) then
  return 'ending'
end
local known = redis.call('HEXISTS', KEYS[1], ARGV[1]) + redis.call('HEXISTS', KEYS[2], ARGV[1])
if known == 0 then
  local all = redis.call('HLEN', KEYS[1]) + redis.call('HLEN', KEYS[2])
  if all >= tonumber(ARGV[3]) then
    -- Those that are renewed just now are in both, and one each.
    for _, id in ipairs(redis.call('HKEYS', KEYS[2])) do
      all = all - redis.call('HEXISTS', KEYS[1], id)
    end
  end
  if all >= tonumber(ARGV[3]) then return 'total' end
  if redis.call('SCARD', KEYS[3]) >= tonumber(ARGV[4]) then return 'host' end
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('SADD', KEYS[3], ARGV[1])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[5], '*', 'id', ARGV[1])
return 'kept'
"""

_RESOLVE = """
-- KEYS 1 subscribers 2 asked 3 subscriptions of the callback's host 4 endpoint 5 attempts
-- ARGV 1 id 2 what was asked, or nothing 3 the subscription as it was, or nothing
--      4 as it shall be, or nothing 5 what was sent last
if ARGV[2] ~= '' and redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[2] then
  redis.call('HDEL', KEYS[2], ARGV[1])
end
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
  redis.call('HSET', KEYS[4], 'sent', ARGV[5], 'failures', 0, 'next_ms', 0, 'first_failure_ms', 0)
elseif ARGV[3] ~= '' and redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[3] then
  redis.call('HDEL', KEYS[1], ARGV[1])
end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) + redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then
  redis.call('SREM', KEYS[3], ARGV[1])
  redis.call('DEL', KEYS[4], KEYS[5])
end
"""


class Refusal(Enum):
    """Why a request is not taken."""

    NO = "kept"
    TOTAL = "total"
    HOST = "host"
    ENDING = "ending"
    """The operator has ended it, and its callback was not told yet."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a topic is at a moment."""

    etag: str
    """Of the bytes; empty if it is not there."""
    body: bytes
    content_type: str


class HubSubscriptions:
    """Who is pushed our feeds."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ask: Script[bytes] = Script(client, _ASK)
        self._resolve: Script[None] = Script(client, _RESOLVE)

    async def ask(
        self, asked: SubscriptionRequest, *, max_total: int, max_per_host: int
    ) -> Refusal:
        """Keep what is asked until the callback has confirmed it."""
        names = [
            keys.SUBSCRIBERS,
            keys.HUB_ASKED,
            keys.hub_host(_host(asked.callback)),
            keys.ENDPOINTS_CHANGES,
        ]
        args: list[Value] = [asked.id, asked.to_json(), max_total, max_per_host, keys.CHANGES_MAX]
        return Refusal((await self._ask(keys=names, args=args)).decode())

    async def confirm(
        self, asked: SubscriptionRequest, subscriber: TopicSubscription, *, sent: str
    ) -> None:
        """A callback has said yes to a subscription."""
        await self._resolved(subscriber, asked=asked, after=subscriber, sent=sent)

    async def fail(self, asked: SubscriptionRequest) -> None:
        """A callback has not confirmed; what was there before stays."""
        await self._resolved(asked, asked=asked)

    async def end(
        self, subscriber: TopicSubscription, asked: SubscriptionRequest | None = None
    ) -> None:
        """Forget a subscription, unless it was renewed meanwhile."""
        await self._resolved(subscriber, asked=asked, before=subscriber)

    async def _resolved(
        self,
        which: SubscriptionRequest | TopicSubscription,
        *,
        asked: SubscriptionRequest | None = None,
        before: TopicSubscription | None = None,
        after: TopicSubscription | None = None,
        sent: str = "",
    ) -> None:
        names = [
            keys.SUBSCRIBERS,
            keys.HUB_ASKED,
            keys.hub_host(_host(which.callback)),
            keys.endpoint(which.id),
            keys.attempts(which.id),
        ]
        texts = [each.to_json() if each else "" for each in (asked, before, after)]
        await self._resolve(keys=names, args=[which.id, *texts, sent])

    async def get(
        self, subscriber_id: str
    ) -> tuple[TopicSubscription | None, SubscriptionRequest | None]:
        """A subscription, and what is asked of it."""
        return (await self.get_many([subscriber_id]))[0]

    async def get_many(
        self, ids: Sequence[str]
    ) -> list[tuple[TopicSubscription | None, SubscriptionRequest | None]]:
        """The same of many."""
        if not ids:
            return []
        # At one moment: what is confirmed goes from one to the other.
        pipe = self._client.pipeline(transaction=True)
        pipe.hmget(keys.SUBSCRIBERS, ids)
        pipe.hmget(keys.HUB_ASKED, ids)
        kept, asked = await pipe.execute()
        return [
            (
                decoded(_subscription, value, what=f"hub subscription {name}") if value else None,
                decoded(_request, request, what=f"hub request {name}") if request else None,
            )
            for name, value, request in zip(ids, kept, asked, strict=True)
        ]

    async def all(self) -> dict[str, TopicSubscription]:
        """Every confirmed subscription by its id; not those that wait for confirmation."""
        found = await self._client.hgetall(keys.SUBSCRIBERS)
        subscriptions = {
            name.decode(): decoded(_subscription, value, what=f"hub subscription {name!r}")
            for name, value in found.items()
        }
        return {name: value for name, value in subscriptions.items() if value}

    async def ids(self) -> list[str]:
        """Of all that are kept or asked for, each once."""
        kept = await self._client.hkeys(keys.SUBSCRIBERS)
        asked = await self._client.hkeys(keys.HUB_ASKED)
        return [key.decode() for key in dict.fromkeys([*kept, *asked])]

    async def all_public(self) -> list[dict[str, Any]]:
        """All as API and CLI have them, without secrets."""
        found = await self.all()
        states = await self.states(list(found))
        return [
            subscriber.to_public(state)
            for subscriber, state in zip(found.values(), states, strict=True)
        ]

    async def remove(self, subscriber_id: str) -> bool:
        """Have one told that it is denied, and ended; whether there is one."""
        kept, _ = await self.get(subscriber_id)
        if kept is None:
            return False
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(keys.HUB_ASKED, subscriber_id, kept.denied.to_json())
        pipe.xadd(keys.ENDPOINTS_CHANGES, {"id": subscriber_id}, maxlen=keys.CHANGES_MAX)
        await pipe.execute()
        return True

    async def states(self, ids: Sequence[str]) -> list[Mapping[str, str]]:
        """What was sent last (`sent`, a tag), `failures`, `next_ms`, `first_failure_ms`."""
        pipe = self._client.pipeline(transaction=False)
        for subscriber_id in ids:
            pipe.hgetall(keys.endpoint(subscriber_id))
        return [
            {name.decode(): value.decode() for name, value in fields.items()}
            for fields in (await pipe.execute() if ids else [])
        ]


def _host(callback: str) -> str:
    # By the same rule that tells subscriptions apart, so that each is counted and discounted once.
    return urlsplit(unescaped(callback)).hostname or ""


def _subscription(stored: bytes) -> TopicSubscription:
    return TopicSubscription(**orjson.loads(stored))


def _request(stored: bytes) -> SubscriptionRequest:
    return SubscriptionRequest(**orjson.loads(stored))
