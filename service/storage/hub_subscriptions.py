"""Subscriptions to our hub in Redis, and the requests that wait to be confirmed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

import orjson

from service.articles.json_text import decode_stored
from service.articles.times import to_ms
from service.settings import Settings
from service.storage import keys
from service.storage.client import Script
from service.storage.commands import Client, Value
from service.storage.stored import decoded, text_of, typed
from service.websub.hub import SubscriptionRequest, TopicSubscription, unescaped

_ASK = """
-- KEYS 1 subscribers 2 asked 3 subscriptions of the callback's host 4 changes 5 unconfirmed
-- ARGV 1 id 2 what is asked 3 cap of the subscribers 4 cap of a host 5 cap of the changes
--      6 cap of the unconfirmed 7 now in ms
-- Gives 'kept', or which cap it is over, or 'ending' while the operator's end is not told yet;
-- then what was asked by those that had to leave.
if string.find(redis.call('HGET', KEYS[2], ARGV[1]) or '', '"mode":"denied"', 1, true) then
  return {'ending'}
end
local given = {'kept'}
if redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  if redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[3]) then return {'total'} end
  if redis.call('SCARD', KEYS[3]) >= tonumber(ARGV[4])
      and redis.call('SISMEMBER', KEYS[3], ARGV[1]) == 0 then
    return {'host'}
  end
  redis.call('ZREM', KEYS[5], ARGV[1])
  local excess = redis.call('ZCARD', KEYS[5]) + 1 - tonumber(ARGV[6])
  if excess > 0 then
    for _, id in ipairs(redis.call('ZRANGE', KEYS[5], 0, excess - 1)) do
      given[#given + 1] = redis.call('HGET', KEYS[2], id) or nil
      redis.call('ZREM', KEYS[5], id)
      redis.call('HDEL', KEYS[2], id)
      redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[5], '*', 'id', id)
    end
  end
  redis.call('ZADD', KEYS[5], ARGV[7], ARGV[1])
end
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[5], '*', 'id', ARGV[1])
return given
"""

_RESOLVE = """
-- KEYS 1 subscribers 2 asked 3 unconfirmed 4 endpoint 5 attempts
--      6 subscriptions of the callback's host 7… of the addresses where it is, and where it was
-- ARGV 1 id 2 what was asked, or nothing 3 the subscription as it was, or nothing
--      4 as it shall be, or nothing 5 what was sent last
--      6 cap of the subscribers 7 of a host 8 of an address 9 the denial if one of them is reached
--      10 how many of the keys from the 6th on are where it is
-- Gives 1, or 0 if there is no room for what shall be: then it is to be denied.
local is_asked = ARGV[2] ~= '' and redis.call('HGET', KEYS[2], ARGV[1]) == ARGV[2]
local last = 5 + tonumber(ARGV[10])
if ARGV[4] ~= '' and redis.call('HEXISTS', KEYS[1], ARGV[1]) == 0 then
  local is_full = redis.call('HLEN', KEYS[1]) >= tonumber(ARGV[6])
  for i = 6, last do
    local cap = tonumber(i == 6 and ARGV[7] or ARGV[8])
    is_full = is_full or (redis.call('SCARD', KEYS[i]) >= cap
      and redis.call('SISMEMBER', KEYS[i], ARGV[1]) == 0)
  end
  if is_full then
    redis.call('ZREM', KEYS[3], ARGV[1])
    if is_asked then redis.call('HSET', KEYS[2], ARGV[1], ARGV[9]) end
    return 0
  end
end
if is_asked then redis.call('HDEL', KEYS[2], ARGV[1]) end
if ARGV[4] ~= '' then
  redis.call('ZREM', KEYS[3], ARGV[1])
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4])
  for i = last + 1, #KEYS do redis.call('SREM', KEYS[i], ARGV[1]) end
  for i = 6, last do redis.call('SADD', KEYS[i], ARGV[1]) end
  redis.call('HSET', KEYS[4], 'sent', ARGV[5], 'failures', 0, 'next_ms', 0, 'first_failure_ms', 0)
elseif ARGV[3] ~= '' and redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[3] then
  redis.call('HDEL', KEYS[1], ARGV[1])
  for i = 6, #KEYS do redis.call('SREM', KEYS[i], ARGV[1]) end
end
if redis.call('HEXISTS', KEYS[1], ARGV[1]) + redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then
  redis.call('ZREM', KEYS[3], ARGV[1])
  for i = 6, #KEYS do redis.call('SREM', KEYS[i], ARGV[1]) end
  redis.call('DEL', KEYS[4], KEYS[5])
end
return 1
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
        self._ask: Script[list[bytes]] = Script(client, _ASK)
        self._resolve: Script[int] = Script(client, _RESOLVE)

    async def ask(
        self, asked: SubscriptionRequest, *, settings: Settings, now: datetime
    ) -> Refusal:
        """Keep what is asked until the callback has confirmed it.

        Of those that are no subscriptions yet, the oldest leave if there are too many.
        """
        names = [
            keys.SUBSCRIBERS,
            keys.HUB_ASKED,
            keys.hub_host(host_of_callback(asked.callback)),
            keys.endpoints_changes(0),
            keys.HUB_UNCONFIRMED,
        ]
        args: list[Value] = [
            asked.id, asked.to_json(), settings.hub_max_subscribers, settings.hub_max_per_host,
            keys.CHANGES_MAX, settings.hub_max_unconfirmed, to_ms(now),
        ]  # fmt: skip
        refusal, *leaving = await self._ask(keys=names, args=args)
        for request in leaving:
            # What attempts to confirm it have left.
            await self.fail(SubscriptionRequest(**orjson.loads(request)))
        return Refusal(refusal.decode())

    async def confirm(
        self,
        asked: SubscriptionRequest,
        subscriber: TopicSubscription,
        *,
        before: TopicSubscription | None,
        sent: str,
        settings: Settings,
    ) -> bool:
        """A callback has said yes to a subscription.

        Args:
            before: the subscription that is renewed, if any.

        Returns:
            False if there is no room for it: it waits to be denied.
        """
        caps = (
            settings.hub_max_subscribers, settings.hub_max_per_host, settings.hub_max_per_address,
        )  # fmt: skip
        return await self._resolved(
            subscriber, asked=asked, after=subscriber, sent=sent, caps=caps,
            former=before.networks if before else (),
        )  # fmt: skip

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
        caps: Sequence[int] = (0, 0, 0),
        former: Sequence[str] = (),
    ) -> bool:
        networks = which.networks if isinstance(which, TopicSubscription) else ()
        gone = [network for network in former if network not in networks]
        names = [
            keys.SUBSCRIBERS,
            keys.HUB_ASKED,
            keys.HUB_UNCONFIRMED,
            keys.endpoint(0, which.id),
            keys.attempts(0, which.id),
            keys.hub_host(host_of_callback(which.callback)),
            *map(keys.hub_address, [*networks, *gone]),
        ]
        texts = [each.to_json() if each else "" for each in (asked, before, after)]
        denial = after.denied.to_json() if after else ""
        args: list[Value] = [which.id, *texts, sent, *caps, denial, 1 + len(networks)]
        return bool(await self._resolve(keys=names, args=args))

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
            text_of(name): decoded(_subscription, value, what=f"hub subscription {name!r}")
            for name, value in found.items()
        }
        return {name: value for name, value in subscriptions.items() if value}

    async def ids(self) -> list[str]:
        """Of all that are kept or asked for, each once."""
        kept = await self._client.hkeys(keys.SUBSCRIBERS)
        asked = await self._client.hkeys(keys.HUB_ASKED)
        return [text_of(key) for key in dict.fromkeys([*kept, *asked])]

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
        pipe.xadd(keys.endpoints_changes(0), {"id": subscriber_id}, maxlen=keys.CHANGES_MAX)
        await pipe.execute()
        return True

    async def states(self, ids: Sequence[str]) -> list[Mapping[str, str]]:
        """What was sent last (`sent`, a tag), `failures`, `next_ms`, `first_failure_ms`."""
        pipe = self._client.pipeline(transaction=False)
        for subscriber_id in ids:
            pipe.hgetall(keys.endpoint(0, subscriber_id))
        return [
            {name.decode(): value.decode() for name, value in fields.items()}
            for fields in (await pipe.execute() if ids else [])
        ]


def host_of_callback(callback: str) -> str:
    """The host that a subscription counts for."""
    # By the same rule that tells subscriptions apart, so that each is counted and discounted once.
    return urlsplit(unescaped(callback)).hostname or ""


def _subscription(stored: bytes) -> TopicSubscription:
    return typed(TopicSubscription(**decode_stored(stored)))


def _request(stored: bytes) -> SubscriptionRequest:
    return typed(SubscriptionRequest(**decode_stored(stored)))
