"""Webhooks in Redis: endpoints, where each stands in the streams, and what was tried.

The streams are the queue; an endpoint is a cursor into each shard's stream. Nothing is kept per
event and endpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from service.storage import connecting, keys
from service.storage.connecting import Client
from service.storage.leases import Lease
from service.webhooks import Webhook

_CURSOR = "cursor:"

_REPLACE = """
-- KEYS 1 endpoints  ARGV 1 id 2 as it was 3 as it shall be
-- Gives 1; 0 if it is another by now.
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where a webhook stands."""

    cursors: Mapping[int, str] = field(default_factory=dict)
    """Shard → id of the last settled stream entry."""
    failures: int = 0
    """Attempts that failed since the last success."""
    next_ms: int = 0
    """Not before this time."""
    first_failure_ms: int = 0
    """When the present row of failures began; 0 if there is none."""
    disabled: str = ""
    """Why nothing is sent any more; empty while active."""
    test: str = ""
    """Id of a test message to be sent; empty if none is asked for."""

    @classmethod
    def from_fields(cls, fields: Mapping[bytes, bytes]) -> State:
        """Read the endpoint hash."""
        text = {name.decode(): value.decode() for name, value in fields.items()}
        return cls(
            cursors={
                int(name.removeprefix(_CURSOR)): value
                for name, value in text.items()
                if name.startswith(_CURSOR)
            },
            failures=int(text.get("failures", 0)),
            next_ms=int(text.get("next_ms", 0)),
            first_failure_ms=int(text.get("first_failure_ms", 0)),
            disabled=text.get("disabled", ""),
            test=text.get("test", ""),
        )

    def to_fields(self) -> dict[str, str | int]:
        """The endpoint hash."""
        return {
            **{f"{_CURSOR}{shard}": cursor for shard, cursor in self.cursors.items()},
            "failures": self.failures,
            "next_ms": self.next_ms,
            "first_failure_ms": self.first_failure_ms,
            "disabled": self.disabled,
            "test": self.test,
        }


class Deliveries:
    """Endpoints and their deliveries."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._settle = connecting.script(client, "settle")
        self._replace = client.register_script(_REPLACE)

    async def add(self, webhook: Webhook, state: State) -> None:
        """Keep a webhook that starts at the cursors of `state`."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(keys.endpoint(webhook.id), mapping=state.to_fields())
        pipe.hset(keys.ENDPOINTS, webhook.id, webhook.to_json())
        await pipe.execute()

    async def remove(self, webhook_id: str) -> bool:
        """Forget a webhook and all about it; False if there was none."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hdel(keys.ENDPOINTS, webhook_id)
        pipe.delete(keys.endpoint(webhook_id), keys.attempts(webhook_id))
        removed, _ = await pipe.execute()
        return bool(removed)

    async def replace(self, before: Webhook, after: Webhook) -> bool:
        """Change a webhook's settings; False if somebody else did meanwhile, or removed it."""
        kept = await self._client.hget(keys.ENDPOINTS, before.id)
        if kept is None or Webhook.from_json(kept) != before:
            return False
        args = [before.id, kept, after.to_json()]
        return int(await self._replace(keys=[keys.ENDPOINTS], args=args)) == 1

    async def get(self, webhook_id: str) -> Webhook | None:
        """One webhook."""
        kept = await self._client.hget(keys.ENDPOINTS, webhook_id)
        return Webhook.from_json(kept) if kept else None

    async def all(self) -> list[Webhook]:
        """Every webhook, in the order of their making."""
        kept = await self._client.hvals(keys.ENDPOINTS)
        return sorted((Webhook.from_json(data) for data in kept), key=lambda w: (w.created, w.id))

    async def state(self, webhook_id: str) -> State:
        """Where a webhook stands now."""
        return State.from_fields(await self._client.hgetall(keys.endpoint(webhook_id)))

    async def cursors(self, shard: int) -> list[str]:
        """Where the active webhooks stand in a shard; a disabled one holds nothing back."""
        states = [await self.state(webhook.id) for webhook in await self.all()]
        return [
            state.cursors[shard]
            for state in states
            if shard in state.cursors and not state.disabled
        ]

    async def request_test(self, webhook_id: str, message_id: str) -> None:
        """Ask the deliver worker to send a test message, ahead of everything else."""
        await self._client.hset(
            keys.endpoint(webhook_id), mapping={"test": message_id, "next_ms": 0}
        )

    async def settle(
        self,
        lease: Lease,
        webhook_id: str,
        *,
        state: Mapping[str, str | int],
        attempt: Mapping[str, str | int] | None = None,
    ) -> bool:
        """Write state fields and an attempt record under a lease.

        Returns:
            Whether it was written: False if the lease is another's or the webhook was removed.
        """
        argv: list[str | int] = [lease.epoch, webhook_id, keys.ATTEMPTS_MAX, len(state)]
        for pair in (*state.items(), *(attempt or {}).items()):
            argv.extend(pair)
        answer = await self._settle(
            keys=[
                keys.epoch(lease.name),
                keys.endpoint(webhook_id),
                keys.attempts(webhook_id),
                keys.ENDPOINTS,
            ],
            args=argv,
        )
        return int(answer) == 1

    async def attempts(self, webhook_id: str, *, limit: int) -> list[dict[str, str]]:
        """The newest attempts, newest first: time, message_id, type, status, error, duration_ms."""
        entries = await self._client.xrevrange(keys.attempts(webhook_id), count=limit)
        return [
            {name.decode(): value.decode() for name, value in fields.items()}
            for _, fields in entries
        ]


def cursor_field(shard: int) -> str:
    """Name of the state field that holds a shard's cursor."""
    return f"{_CURSOR}{shard}"
