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
-- KEYS 1 subscribers 2 requests 3 subscriptions of the callback's host 4 changes
-- ARGV 1 id 2 request 3 cap of all 4 cap of a host 5 cap of the changes
-- Returns 'kept', or the cap that is reached, or 'ending' until the callback was notified.
if string.find(redis.call('HGET', KEYS[2], ARGV[1]) or '', '"mode":"denied"', 1, true) then
  return 'ending'
end
local known = redis.call('HEXISTS', KEYS[1], ARGV[1]) + redis.call('HEXISTS', KEYS[2], ARGV[1])
if known == 0 then
  local all = redis.call('HLEN', KEYS[1]) + redis.call('HLEN', KEYS[2])
  if all >= tonumber(ARGV[3]) then
    -- A subscription that is being renewed is in both hashes, but counts once.
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
-- Remove a request; store a subscription, or remove it if it has not changed.
--
-- KEYS 1 subscribers 2 requests 3 subscriptions of the callback's host 4 endpoint 5 attempts
-- ARGV 1 id 2 the request, or '' 3 the subscription to remove, or ''
--      4 the subscription to store, or '' 5 etag of the content that was sent last
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
    """Why a request was not stored; NO if it was."""

    NO = "kept"
    TOTAL = "total"
    HOST = "host"
    ENDING = "ending"
    """The operator has ended the subscription, and its callback was not notified yet."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a topic at a moment."""

    etag: str
    """Hash of the body; empty if the topic does not exist."""
    body: bytes
    content_type: str


class HubSubscriptions:
    """Subscriptions to our feeds, and requests for them."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._ask: Script[bytes] = Script(client, _ASK)
        self._resolve: Script[None] = Script(client, _RESOLVE)

    async def ask(
        self, request: SubscriptionRequest, *, max_total: int, max_per_host: int
    ) -> Refusal:
        """Store a request until its callback has confirmed it, unless a cap is reached."""
        names = [
            keys.SUBSCRIBERS,
            keys.HUB_ASKED,
            keys.hub_host(_host(request.callback)),
            keys.ENDPOINTS_CHANGES,
        ]
        args: list[Value] = [
            request.id, request.to_json(), max_total, max_per_host, keys.CHANGES_MAX,
        ]  # fmt: skip
        return Refusal((await self._ask(keys=names, args=args)).decode())

    async def confirm(
        self, request: SubscriptionRequest, subscriber: TopicSubscription, *, sent: str
    ) -> None:
        """Replace a request by the subscription that its callback confirmed.

        Args:
            sent: etag of the content that the callback has already.
        """
        await self._resolved(subscriber, request=request, after=subscriber, sent=sent)

    async def fail(self, request: SubscriptionRequest) -> None:
        """Remove a request that its callback did not confirm; an older subscription stays."""
        await self._resolved(request, request=request)

    async def end(
        self, subscriber: TopicSubscription, request: SubscriptionRequest | None = None
    ) -> None:
        """Remove a subscription, unless it was renewed meanwhile, and the request for its end."""
        await self._resolved(subscriber, request=request, before=subscriber)

    async def _resolved(
        self,
        which: SubscriptionRequest | TopicSubscription,
        *,
        request: SubscriptionRequest | None = None,
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
        texts = [each.to_json() if each else "" for each in (request, before, after)]
        await self._resolve(keys=names, args=[which.id, *texts, sent])

    async def get(
        self, subscriber_id: str
    ) -> tuple[TopicSubscription | None, SubscriptionRequest | None]:
        """(the confirmed subscription, the waiting request) of this id; None for a missing one."""
        return (await self.get_many([subscriber_id]))[0]

    async def get_many(
        self, ids: Sequence[str]
    ) -> list[tuple[TopicSubscription | None, SubscriptionRequest | None]]:
        """`get` for many ids, in their order."""
        if not ids:
            return []
        # In one transaction: a confirmation moves a request from one hash to the other.
        pipe = self._client.pipeline(transaction=True)
        pipe.hmget(keys.SUBSCRIBERS, ids)
        pipe.hmget(keys.HUB_ASKED, ids)
        subscriptions, requests = await pipe.execute()
        return [
            (
                decoded(_subscription, value, what=f"hub subscription {name}") if value else None,
                decoded(_request, request, what=f"hub request {name}") if request else None,
            )
            for name, value, request in zip(ids, subscriptions, requests, strict=True)
        ]

    async def all(self) -> dict[str, TopicSubscription]:
        """All confirmed subscriptions by id; not those that wait for confirmation."""
        stored = await self._client.hgetall(keys.SUBSCRIBERS)
        subscriptions = {
            name.decode(): decoded(_subscription, value, what=f"hub subscription {name!r}")
            for name, value in stored.items()
        }
        return {name: value for name, value in subscriptions.items() if value}

    async def ids(self) -> list[str]:
        """Ids of all confirmed subscriptions and waiting requests, each once."""
        confirmed = await self._client.hkeys(keys.SUBSCRIBERS)
        requested = await self._client.hkeys(keys.HUB_ASKED)
        return [key.decode() for key in dict.fromkeys([*confirmed, *requested])]

    async def all_public(self) -> list[dict[str, Any]]:
        """All confirmed subscriptions as JSON objects, without secrets."""
        subscriptions = await self.all()
        states = await self.states(list(subscriptions))
        return [
            subscriber.to_public(state)
            for subscriber, state in zip(subscriptions.values(), states, strict=True)
        ]

    async def remove(self, subscriber_id: str) -> bool:
        """Order the end of a subscription and a notice to its callback; False if unknown."""
        subscription, _ = await self.get(subscriber_id)
        if subscription is None:
            return False
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(keys.HUB_ASKED, subscriber_id, subscription.denied.to_json())
        pipe.xadd(keys.ENDPOINTS_CHANGES, {"id": subscriber_id}, maxlen=keys.CHANGES_MAX)
        await pipe.execute()
        return True

    async def states(self, ids: Sequence[str]) -> list[Mapping[str, str]]:
        """Delivery states by id order: `sent` (etag of the content sent last), `failures`,
        `next_ms`, `first_failure_ms`."""
        pipe = self._client.pipeline(transaction=False)
        for subscriber_id in ids:
            pipe.hgetall(keys.endpoint(subscriber_id))
        return [
            {name.decode(): value.decode() for name, value in fields.items()}
            for fields in (await pipe.execute() if ids else [])
        ]


def _host(callback: str) -> str:
    # Normalised by the rule that identifies subscriptions, so that each counts for one host only.
    return urlsplit(unescaped(callback)).hostname or ""


def _subscription(stored: bytes) -> TopicSubscription:
    return TopicSubscription(**orjson.loads(stored))


def _request(stored: bytes) -> SubscriptionRequest:
    return SubscriptionRequest(**orjson.loads(stored))
