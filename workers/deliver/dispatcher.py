"""What happens to an endpoint from being woken to its ack.

    wake → a place in its lane → its next step: a request, judged → ack → again
         ↖ a timer: retry, rate limit, linger                         │
         ↖ an event that it wants, an order of API or CLI ← asleep ←──┘

Each endpoint has at most one task, so its order needs no lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection, Mapping
from functools import partial

import aiohttp

from service.errors import Unavailable
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
from service.storage.webhooks import Ack, Settled
from service.webhooks.retry import Verdict
from workers.deliver.ack_writer import AckWriter
from workers.deliver.endpoint import Partition, Request, lease_of
from workers.deliver.send import send
from workers.deliver.slots import Sender, Slots
from workers.http_client import CONNECT_TIMEOUT_S

logger = logging.getLogger(__name__)
AFTER_BUG_S = 30.0
AFTER_OUTAGE_S = 1.0


class Dispatcher:
    """Moves endpoints, whatever they are sent."""

    def __init__(
        self,
        settings: Settings,
        client: aiohttp.ClientSession,
        group: asyncio.TaskGroup,
        acks: AckWriter,
        parts: Mapping[str, Partition],
    ) -> None:
        self._limits = aiohttp.ClientTimeout(
            total=settings.webhook_timeout_s, sock_connect=CONNECT_TIMEOUT_S
        )
        self.client = client
        self._group = group
        self._acks = acks
        self._parts = parts
        self._loop = asyncio.get_running_loop()
        self.lanes = Slots()
        self._parked: set[Sender] = set()
        self.is_ending = False

    @property
    def parts(self) -> Collection[Partition]:
        """Of this worker."""
        return self._parts.values()

    def part_of(self, endpoint_id: str) -> Partition | None:
        """Where an endpoint belongs, if this worker has that."""
        return self._parts.get(lease_of(endpoint_id))

    @property
    def time(self) -> float:
        """The loop's clock."""
        return self._loop.time()

    def wake(self, endpoint: Sender) -> None:
        """There may be something to do."""
        if endpoint.is_gone or endpoint.is_queued:
            return
        if endpoint.task:
            endpoint.is_woken = True
            return
        if endpoint.timer:
            endpoint.timer.cancel()
            endpoint.timer = None
        endpoint.rest()
        self.lanes.join(endpoint)

    def pump(self) -> None:
        """Give free places to those who wait."""
        while not self.is_ending and (endpoint := self.lanes.next(self._loop.time())):
            endpoint.task = self._group.create_task(self._serve(endpoint))
            endpoint.task.add_done_callback(partial(self._ended, endpoint))

    def _ended(self, endpoint: Sender, task: asyncio.Task[None]) -> None:
        """A task that is cancelled before its first step cleans up nothing."""
        if endpoint.task is task:
            self.lanes.leave(endpoint)
            endpoint.task = None

    def ring(self, endpoint: Sender) -> None:
        """Wake one, at once if there is a place."""
        self.wake(endpoint)
        self.pump()

    def later(self, endpoint: Sender, delay_s: float) -> None:
        """Wake it then, if nothing does before."""
        if not endpoint.is_gone:
            endpoint.timer = self._loop.call_later(delay_s, self.ring, endpoint)

    def unpark(self) -> None:
        """Leases have been renewed."""
        parked, self._parked = self._parked, set()
        for endpoint in parked:
            self.wake(endpoint)
        self.pump()

    def drop(self, endpoint: Sender) -> None:
        """It was removed, or is another worker's."""
        endpoint.is_gone = True
        endpoint.rest()
        self._parked.discard(endpoint)
        if endpoint.timer:
            endpoint.timer.cancel()

    async def _serve(self, endpoint: Sender | None) -> None:
        """A step of one endpoint after another, while somebody waits: a task for each is dear."""
        task = asyncio.current_task()
        try:
            while endpoint:
                endpoint.task = task
                await self._drive(endpoint)
                endpoint = None if self.is_ending else self.lanes.next(self._loop.time())
        finally:
            self.pump()

    async def _drive(self, endpoint: Sender) -> None:
        """One step of an endpoint; the border at which our own faults stop."""
        goes_on = False
        try:
            with redis_errors_as_unavailable():
                goes_on = await self._step(endpoint)
        except Unavailable:
            self.later(endpoint, AFTER_OUTAGE_S)
        except Exception:
            logger.exception("a delivery failed", extra={"endpoint": endpoint.id})
            self.later(endpoint, AFTER_BUG_S)
        finally:
            self.lanes.leave(endpoint)
            endpoint.task = None
        if goes_on:
            self.wake(endpoint)

    async def _step(self, endpoint: Sender) -> bool:
        """Do what is next; False if there is nothing now."""
        endpoint.is_woken = False
        part = self.part_of(endpoint.id)
        if part is None or part.leaves_since:
            return False
        next_one = await endpoint.next()
        if next_one is None:
            return endpoint.is_woken
        if self._loop.time() >= part.valid_until:
            # Another worker may have it by now: nothing is sent that could not be settled.
            self._parked.add(endpoint)
            return False
        if isinstance(next_one, Ack):
            return await self._write(endpoint, part, next_one)
        return await self._send(endpoint, part, next_one)

    async def _send(self, endpoint: Sender, part: Partition, request: Request) -> bool:
        answer = await send(
            self.client, request.url, request.body, request.headers, limits=self._limits
        )
        ack = request.judged(answer)
        if answer.verdict is Verdict.DELIVERED:
            self._acks.count("webhook_delivered", request.delivers)
        else:
            self._acks.count("webhook_failed", 1)
            shown = {"endpoint": endpoint.id, "status": answer.status, "error": answer.error}
            logger.info("not delivered", extra=shown)
        return await self._write(endpoint, part, ack) if ack else True

    async def _write(self, endpoint: Sender, part: Partition, ack: Ack) -> bool:
        """Have an ack written, and be as it says; False if there is nothing more to do here."""
        settled = await self._acks.write(part.lease, ack)
        if settled is Settled.WRITTEN:
            if ack.event:
                shown = {"endpoint": endpoint.id, "type": str(ack.event["type"])}
                logger.warning("an endpoint's state changed", extra=shown)
            await endpoint.take(ack)
            return not endpoint.is_gone
        if settled is Settled.REMOVED:
            self.drop(endpoint)
        else:
            # Whoever has it by now goes on; if we have it again, so do we.
            self._parked.add(endpoint)
        return False
