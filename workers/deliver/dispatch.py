"""What happens to an endpoint from being woken to its ack.

    wake → a place in its lane → next (pure, or a read of its own) → POST → judge → ack → again
         ↖ a timer: retry, rate limit, linger                                              │
         ↖ an event that its group wants, an order of API or CLI ← asleep: nothing waits ←─┘

Each endpoint has at most one task, so its order needs no lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from itertools import islice

import aiohttp

from service.articles import to_ms, to_rfc3339
from service.errors import Unavailable
from service.messages import Message
from service.retries import Verdict
from service.settings import Settings
from service.storage.connecting import translated
from service.storage.deliveries import Ack, Settled, is_behind
from service.storage.leases import Lease
from service.storage.store import Store
from workers.deliver.acks import Acks
from workers.deliver.endpoint import Endpoint, Line, Request, judged, missed, resumed
from workers.deliver.following import Log
from workers.deliver.lanes import Lanes
from workers.deliver.sending import post
from workers.runtime import Clock

logger = logging.getLogger(__name__)

AFTER_BUG_S = 30.0
AFTER_OUTAGE_S = 1.0
# An endpoint that is behind the log in memory reads so many events at once; more, up to the
# second, while it wants none of them.
READ, MOST_READ = 32, 512
# A batch that waits for more looks so often whether it is full.
LINGER_STEPS = 4


class Part:
    """The endpoints of one lease."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.valid_until = 0.0
        """By the loop's clock; after it another worker may have them."""
        self.endpoints: dict[str, Endpoint] = {}
        self.leaves_since = 0.0
        """When it began to be left to another worker; 0 if it is not."""

    @property
    def tasks(self) -> list[asyncio.Task[None]]:
        """Of those with something in flight."""
        return [endpoint.task for endpoint in self.endpoints.values() if endpoint.task]


class Dispatcher:
    """Sends what endpoints wait for."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        client: aiohttp.ClientSession,
        group: asyncio.TaskGroup,
        acks: Acks,
        logs: Mapping[int, Log],
        part_of: Callable[[str], Part | None],
        *,
        now: Clock,
    ) -> None:
        self._store = store
        self._settings = settings
        self._client = client
        self._group = group
        self._acks = acks
        self._logs = logs
        self._part_of = part_of
        self._now = now
        self._loop = asyncio.get_running_loop()
        self.lanes = Lanes()
        self._parked: set[Endpoint] = set()
        self.is_ending = False

    def wake(self, endpoint: Endpoint) -> None:
        """There may be something to do."""
        if endpoint.is_gone or endpoint.is_queued:
            return
        if endpoint.task:
            endpoint.is_woken = True
            return
        if endpoint.timer:
            endpoint.timer.cancel()
            endpoint.timer = None
        endpoint.group.sleepers.discard(endpoint)
        self.lanes.join(endpoint)

    def pump(self) -> None:
        """Give free places to those who wait."""
        while not self.is_ending and (endpoint := self.lanes.next(self._loop.time())):
            endpoint.task = self._group.create_task(self._drive(endpoint))

    def unpark(self) -> None:
        """Leases have been renewed."""
        parked, self._parked = self._parked, set()
        for endpoint in parked:
            self.wake(endpoint)
        self.pump()

    def drop(self, endpoint: Endpoint) -> None:
        """It was removed, or is another worker's."""
        endpoint.is_gone = True
        endpoint.group.sleepers.discard(endpoint)
        self._parked.discard(endpoint)
        if endpoint.timer:
            endpoint.timer.cancel()

    async def _drive(self, endpoint: Endpoint) -> None:
        """One step of an endpoint; the border at which our own faults stop."""
        goes_on = False
        try:
            with translated():
                goes_on = await self._step(endpoint)
        except Unavailable:
            self._later(endpoint, AFTER_OUTAGE_S)
        except Exception:
            logger.exception("a delivery failed", extra={"webhook": endpoint.id})
            self._later(endpoint, AFTER_BUG_S)
        finally:
            self.lanes.leave(endpoint)
            endpoint.task = None
        if goes_on:
            self.wake(endpoint)
        self.pump()

    def _later(self, endpoint: Endpoint, delay_s: float) -> None:
        endpoint.group.sleepers.discard(endpoint)
        if not endpoint.is_gone:
            endpoint.timer = self._loop.call_later(delay_s, self._ring, endpoint)

    def _ring(self, endpoint: Endpoint) -> None:
        self.wake(endpoint)
        self.pump()

    async def _step(self, endpoint: Endpoint) -> bool:
        """Do what is next; False if there is nothing now."""
        endpoint.is_woken = False
        part = self._part_of(endpoint.id)
        if part is None or part.leaves_since:
            return False
        job = await self._next(endpoint)
        if job is None:
            return endpoint.is_woken
        if self._loop.time() >= part.valid_until:
            # Another worker may have it by now: nothing is sent that could not be settled.
            self._parked.add(endpoint)
            return False
        if isinstance(job, Ack):
            return await self._write(endpoint, part, job)
        return await self._send(endpoint, part, job)

    async def _next(self, endpoint: Endpoint) -> Request | Ack | None:
        """What is to be sent or noted; if nothing, the endpoint sleeps or has a timer."""
        if endpoint.resume:
            return resumed(endpoint)
        if endpoint.test:
            time = to_rfc3339(self._now())
            return Request(endpoint.webhook.test(endpoint.test, time=time))
        if endpoint.is_off:
            return None
        wait_s = max((endpoint.next_ms - to_ms(self._now())) / 1000, self._limit_s(endpoint))
        if wait_s > 0:
            self._later(endpoint, wait_s)
            return None
        # Before the look: what comes during a read must wake it.
        endpoint.group.sleepers.add(endpoint)
        for line in endpoint.turns():
            job = await self._on(endpoint, line)
            if job:
                endpoint.group.sleepers.discard(endpoint)
                return job
            if endpoint.timer:
                return None
        return None

    def _limit_s(self, endpoint: Endpoint) -> float:
        """Seconds until the endpoint's rate limit lets one more request through (GCRA)."""
        rate = endpoint.webhook.rate_per_s
        if not rate:
            return 0
        burst_s = (max(rate, 1) - 1) / rate
        now = self._loop.time()
        if not endpoint.full_at:
            # Whoever had it before may have sent all that it may.
            endpoint.full_at = now + burst_s + 1 / rate
        return endpoint.full_at - burst_s - now

    async def _on(self, endpoint: Endpoint, line: Line) -> Request | Ack | None:
        """What is next on a line."""
        trimmed, waiting = await self._waiting(endpoint, line)
        if trimmed:
            return missed(endpoint, line, trimmed, now=self._now())
        if waiting:
            return self._filled(endpoint, line, waiting)
        if line.replays and line.is_over:
            return endpoint.ack(fields={line.name: ""}, replayed=line.replays)
        return None

    def _filled(self, endpoint: Endpoint, line: Line, waiting: list[Message]) -> Request | None:
        webhook = endpoint.webhook
        now = self._loop.time()
        is_full = len(waiting) >= webhook.batch or endpoint.until or line.replays
        if webhook.linger_ms and not is_full:
            linger_s = webhook.linger_ms / 1000
            endpoint.lingers_until = endpoint.lingers_until or now + linger_s
            left_s = endpoint.lingers_until - now
            if left_s > 0:
                self._later(endpoint, min(left_s, linger_s / LINGER_STEPS))
                return None
        endpoint.lingers_until = 0
        return Request(webhook.parcel(waiting), line)

    async def _waiting(self, endpoint: Endpoint, line: Line) -> tuple[str, list[Message]]:
        """What an endpoint wants next, at most a batch of it; or before that, the id of the newest
        entry that was dropped unsent."""
        log, limit, count = self._logs[line.shard], endpoint.webhook.batch, READ
        while True:
            waiting = [*islice(line.buffer, limit)]
            place = log.place_after(line.read_to)
            if place is not None:
                waiting += endpoint.group.waiting(log, place, limit=limit - len(waiting))
            elif len(waiting) < limit and not endpoint.has_read_all(line):
                trimmed, has_more = await self._read(endpoint, line, count)
                if has_more:
                    count = min(count * 4, MOST_READ)
                    continue
                if trimmed and not waiting:
                    return trimmed, []
            limited = endpoint.limited(line, waiting)
            if limited:
                return "", limited
            if endpoint.until:
                # In the range that failed nothing is wanted any more.
                endpoint.until = ""
                continue
            if line.replays and waiting:
                line.move(line.replays.until)
            elif place is not None:
                line.move(log.last_id)
            return "", []

    async def _read(self, endpoint: Endpoint, line: Line, count: int) -> tuple[str, bool]:
        """Read on for an endpoint that is behind the log; whether there was something. Nothing is
        read over a gap, which begins before the entry that is given."""
        events, trimmed = await self._store.stream.read_on(line.shard, line.read_to, count=count)
        if is_behind(line.read_to, trimmed):
            return trimmed, False
        if events:
            wanted = [m for event in events if endpoint.group.matches(m := event.message())]
            line.read(events[-1].entry_id, wanted)
        return "", bool(events)

    async def _send(self, endpoint: Endpoint, part: Part, request: Request) -> bool:
        webhook, parcel = endpoint.webhook, request.parcel
        self._spend(endpoint)
        headers = webhook.request_headers(parcel, now=self._now())
        answer = await post(
            self._client, webhook.url, parcel.body, headers,
            timeout_s=self._settings.webhook_timeout_s,
        )  # fmt: skip
        ack = judged(endpoint, request, answer, settings=self._settings, now=self._now())
        if answer.verdict is Verdict.DELIVERED:
            self._acks.count("webhook_delivered", len(parcel.messages))
        else:
            self._acks.count("webhook_failed", 1)
            shown = {"webhook": endpoint.id, "status": answer.status, "error": answer.error}
            logger.info("not delivered", extra=shown)
        return await self._write(endpoint, part, ack)

    async def _write(self, endpoint: Endpoint, part: Part, ack: Ack) -> bool:
        """Have an ack written, and be as it says; False if there is nothing more to do here."""
        settled = await self._acks.write(part.lease, ack)
        if settled is Settled.WRITTEN:
            endpoint.take(ack)
            if ack.event:
                shown = {"webhook": endpoint.id, "type": str(ack.event["type"])}
                logger.warning("a webhook's state changed", extra=shown)
            if ack.replayed:
                self.reload(endpoint)
            return True
        if settled is Settled.REMOVED:
            self.drop(endpoint)
        return False

    def reload(self, endpoint: Endpoint) -> None:
        """Have its orders read: there may be another replay."""
        self._group.create_task(self._reload(endpoint))

    async def _reload(self, endpoint: Endpoint) -> None:
        try:
            with translated():
                endpoint.note_orders(await self._store.deliveries.state(endpoint.id))
        except Unavailable:
            self._loop.call_later(AFTER_OUTAGE_S, self.reload, endpoint)
        else:
            self._ring(endpoint)

    def _spend(self, endpoint: Endpoint) -> None:
        rate = endpoint.webhook.rate_per_s
        if rate:
            endpoint.full_at = max(endpoint.full_at, self._loop.time()) + 1 / rate
