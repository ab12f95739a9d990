"""Deliver: events → webhooks, in order for each, at least once.

    wake (an event) → read from the cursor → match (pure) → sign (pure) → POST → judge (pure)
    → settle: move the cursor, or note the failure and wait

One process delivers at a time, by a lease; what it writes is refused once the lease is another's.
Each webhook has a task of its own, so one that hangs or fails holds up nobody else. A retry sends
the same message under the same id; a position is settled after the answer, so kill -9 in between
sends the message again and never leaves one out.
"""

from __future__ import annotations

import asyncio
import logging
import random
import uuid
from dataclasses import replace

import aiohttp
import orjson

from service import articles as article_rules
from service import signing
from service import webhooks as rules
from service.errors import Unavailable
from service.settings import Settings
from service.storage.connecting import translated
from service.storage.deliveries import State, cursor_field
from service.storage.leases import Lease
from service.storage.store import Store
from service.storage.stream import Event
from service.webhooks import Answer, Verdict, Webhook
from workers import runtime
from workers.outbound import open_client
from workers.runtime import Clock, Stopwatch
from workers.schedule import ticking

logger = logging.getLogger(__name__)

LEASE = "deliver"
LEASE_TTL_MS = 5_000
TICK_S = 1.0
BATCH = 100
AFTER_BUG_S = 30.0
# Kept of an answer, for the attempt log.
MAX_ANSWER_BYTES = 2_000
USER_AGENT = "dateline (webhooks)"


class _LeaseLost(Exception):
    """Another process delivers now, or the webhook is gone: what was sent is not noted by us."""


class Deliverer:
    """The loops of one deliver worker."""

    def __init__(self, store: Store, settings: Settings, *, now: Clock) -> None:
        self._store = store
        self._settings = settings
        self._now = now
        self._token = uuid.uuid4().hex
        self._lease: Lease | None = None
        self._wakes: dict[str, asyncio.Event] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._webhooks: dict[str, Webhook] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver while holding the lease, until stopped."""
        async with (
            open_client(self._settings, user_agent=USER_AGENT) as client,
            ticking({"deliver": TICK_S}) as ticks,
            asyncio.TaskGroup() as group,
        ):
            for shard in range(self._store.stream.shards):
                group.create_task(self._watch(shard, stop))

            async def unit() -> None:
                await self._supervise(client, group, stop)
                await runtime.woken(ticks["deliver"], stop, timeout_s=TICK_S)

            await runtime.repeat(unit, stop, what="deliver")
            if self._lease:
                await self._give_up(self._lease)

    async def _watch(self, shard: int, stop: asyncio.Event) -> None:
        """Wake every webhook when something comes; what it is they read themselves."""
        last = "$"

        async def unit() -> None:
            nonlocal last
            if last == "$":
                last = await self._store.stream.last_id(shard)
            events = await self._store.stream.read(shard, last, count=BATCH)
            if events:
                last = events[-1].entry_id
                for wake in self._wakes.values():
                    wake.set()

        await runtime.repeat(unit, stop, what="watch")

    async def _supervise(
        self, client: aiohttp.ClientSession, group: asyncio.TaskGroup, stop: asyncio.Event
    ) -> None:
        """Renew the lease, and have one task for each webhook there is."""
        self._lease = await self._store.leases.take(
            LEASE, token=self._token, ttl_ms=LEASE_TTL_MS, held=self._lease
        )
        webhooks = {w.id: w for w in await self._store.deliveries.all()} if self._lease else {}
        self._webhooks = webhooks
        for webhook_id in self._tasks.keys() - webhooks.keys():
            self._tasks.pop(webhook_id).cancel()
            self._wakes.pop(webhook_id, None)
        for webhook_id, webhook in webhooks.items():
            if webhook_id not in self._tasks or self._tasks[webhook_id].done():
                self._wakes[webhook_id] = asyncio.Event()
                self._tasks[webhook_id] = group.create_task(self._deliver(client, webhook, stop))
            # A test may have been asked for, or a disabled webhook enabled.
            self._wakes[webhook_id].set()

    async def _give_up(self, lease: Lease) -> None:
        async with asyncio.timeout(1):
            await self._store.leases.give_up(lease)

    async def _deliver(
        self, client: aiohttp.ClientSession, webhook: Webhook, stop: asyncio.Event
    ) -> None:
        """Everything for one webhook, until it is removed, or disabled, or we stop."""
        wake = self._wakes[webhook.id]
        sender = Sender(self._store, self._settings, client, webhook, now=self._now)

        async def unit() -> None:
            lease = self._lease
            # A rotated key signs from the next message on.
            sender.webhook = self._webhooks.get(webhook.id, sender.webhook)
            try:
                with translated():
                    delay_s = await sender.step(lease) if lease else TICK_S
            except Unavailable:
                raise
            except _LeaseLost:
                delay_s = TICK_S
            except Exception:
                # The border: what our own code stumbles over holds up one webhook, not all.
                logger.exception("a delivery failed", extra={"webhook": webhook.id})
                await runtime.sleep(stop, AFTER_BUG_S)
                return
            if delay_s != 0:
                # `_supervise` wakes us at each tick: a test may be asked for while we wait.
                await runtime.woken(wake, stop, timeout_s=delay_s or 2 * TICK_S)

        await runtime.repeat(unit, stop, what=webhook.id)


class Sender:
    """One webhook's way through the streams."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        client: aiohttp.ClientSession,
        webhook: Webhook,
        *,
        now: Clock,
    ) -> None:
        self._store = store
        self._settings = settings
        self._client = client
        self.webhook = webhook
        self._now = now

    async def step(self, lease: Lease) -> float | None:
        """Send what is due.

        Returns:
            Seconds until there is something to do again: 0 at once, None when an event comes.
        """
        state = await self._store.deliveries.state(self.webhook.id)
        if not state.cursors or (state.disabled and not state.test):
            # Without a cursor it was removed a moment ago: `_supervise` ends this task.
            return None
        wait_s = (state.next_ms - article_rules.to_ms(self._now())) / 1000
        if wait_s > 0:
            return wait_s
        if state.test:
            await self._send_test(lease, state)
            return 0
        sent = [await self._send_shard(lease, shard) for shard in range(self._store.stream.shards)]
        return 0 if any(sent) else None

    async def _send_shard(self, lease: Lease, shard: int) -> bool:
        """Send a shard's next events, in order, up to the first failure. False: there are none."""
        state = await self._store.deliveries.state(self.webhook.id)
        if shard not in state.cursors:
            return False
        events = await self._store.stream.read(shard, state.cursors[shard], count=BATCH, wait=False)
        for event in events:
            if self._matches(event):
                if not await self._send_event(lease, state, event):
                    return True
                state = replace(state, failures=0, first_failure_ms=0)
        if events and not self._matches(events[-1]):
            await self._settle(lease, {cursor_field(shard): events[-1].entry_id})
        return bool(events)

    def _matches(self, event: Event) -> bool:
        # An entry that is not ours to read is not ours to send, nor to stumble over for ever.
        try:
            paths = orjson.loads(event.data)["categories"]
        except (ValueError, KeyError, TypeError):
            return False
        return rules.matches(self.webhook, event_type=event.type, paths=paths)

    async def _send_event(self, lease: Lease, state: State, event: Event) -> bool:
        payload = rules.body(event_type=event.type, time=event.time, data=event.data)
        answer = await self._post(event.id, payload)
        fields = self._judged(state, answer)
        if rules.judge(answer) is Verdict.DELIVERED:
            fields[cursor_field(event.shard)] = event.entry_id
        await self._settle(lease, fields, self._record(event.id, event.type, answer))
        return rules.judge(answer) is Verdict.DELIVERED

    async def _send_test(self, lease: Lease, state: State) -> None:
        time = article_rules.to_rfc3339(self._now())
        payload = rules.body(event_type=rules.TEST_TYPE, time=time, data=b'{"test":true}')
        answer = await self._post(state.test, payload)
        await self._settle(lease, {"test": ""}, self._record(state.test, rules.TEST_TYPE, answer))

    async def _post(self, message_id: str, payload: bytes) -> Answer:
        headers = {
            "Content-Type": "application/json",
            **signing.headers(
                self.webhook.keys, message_id=message_id, attempted=self._now(), payload=payload
            ),
        }
        watch = Stopwatch()
        try:
            async with asyncio.timeout(self._settings.webhook_timeout_s):
                async with self._client.post(
                    self.webhook.url, data=payload, headers=headers, allow_redirects=False
                ) as response:
                    # Read a little, so that short answers leave the connection usable.
                    await response.content.read(MAX_ANSWER_BYTES)
                    return Answer(
                        status=response.status,
                        retry_after=response.headers.get("Retry-After", ""),
                        duration_ms=int(watch.ms),
                    )
        except TimeoutError:
            error = f"no answer in {self._settings.webhook_timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            error = str(exc) or type(exc).__name__
        return Answer(status=0, error=error[:300], duration_ms=int(watch.ms))

    def _judged(self, state: State, answer: Answer) -> dict[str, str | int]:
        """State fields after an answer."""
        verdict = rules.judge(answer)
        if verdict is Verdict.DELIVERED:
            return {"failures": 0, "next_ms": 0, "first_failure_ms": 0}
        now = self._now()
        now_ms = article_rules.to_ms(now)
        failures = state.failures + 1
        first_ms = state.first_failure_ms or now_ms
        delay_s = rules.retry_delay_s(
            failures,
            schedule_s=self._settings.webhook_retry_schedule_s,
            retry_after=answer.retry_after,
            now=now,
            chance=random.random(),  # noqa: S311 -- jitter
        )
        disabled = ""
        if verdict is Verdict.GONE:
            disabled = "the receiver answered 410 Gone"
        elif now_ms - first_ms > self._settings.webhook_disable_after_s * 1000:
            disabled = (
                f"every attempt failed since {article_rules.from_ms(first_ms):%Y-%m-%d %H:%M}"
            )
        if disabled:
            logger.error("webhook disabled", extra={"webhook": self.webhook.id, "why": disabled})
        return {
            "failures": failures,
            "next_ms": now_ms + int(delay_s * 1000),
            "first_failure_ms": first_ms,
            "disabled": disabled,
        }

    def _record(self, message_id: str, event_type: str, answer: Answer) -> dict[str, str | int]:
        return {
            "time": article_rules.to_rfc3339(self._now()),
            "message_id": message_id,
            "type": event_type,
            "status": answer.status,
            "error": answer.error,
            "duration_ms": answer.duration_ms,
        }

    async def _settle(
        self,
        lease: Lease,
        fields: dict[str, str | int],
        attempt: dict[str, str | int] | None = None,
    ) -> None:
        if attempt:
            status = attempt["status"]
            logger.info("sent", extra={"webhook": self.webhook.id, **attempt})
            delivered = 200 <= int(status) < 300
            await self._store.count({f"webhook_{'delivered' if delivered else 'failed'}": 1})
        if not await self._store.deliveries.settle(
            lease, self.webhook.id, state=fields, attempt=attempt
        ):
            raise _LeaseLost
