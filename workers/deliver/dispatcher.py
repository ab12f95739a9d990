"""What happens to an endpoint from being woken to its ack.

    wake → slot → its next step: send → judge → write the ack → again
      ↖ a timer: retry, rate limit, linger                        │
      ↖ an event that it wants, an order of API or CLI ← waits ←──┘

Each endpoint has at most one task, so its order needs no lock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial

import aiohttp

from service.errors import Unavailable
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
from service.storage.webhooks import Ack, Settled
from service.webhooks.retry import Answer, Verdict
from workers.deliver.ack_writer import AckWriter
from workers.deliver.endpoint import Endpoint, Partition, Request, lease_of
from workers.deliver.send import send
from workers.deliver.slots import Slots
from workers.http_client import CONNECT_TIMEOUT_S, OutboundClient

logger = logging.getLogger(__name__)
AFTER_BUG_S = 30.0
AFTER_OUTAGE_S = 1.0


class Dispatcher:
    """Runs the steps of endpoints of every kind; it implements `Scheduler`."""

    def __init__(
        self,
        settings: Settings,
        client: OutboundClient,
        group: asyncio.TaskGroup,
        acks: AckWriter,
        partitions: Mapping[str, Partition],
        report: Callable[[str, Exception], Awaitable[None]],
        clear: Callable[[str], Awaitable[None]],
    ) -> None:
        self._limits = aiohttp.ClientTimeout(
            total=settings.webhook_timeout_s, sock_connect=CONNECT_TIMEOUT_S
        )
        self._client = client
        self._group = group
        self._acks = acks
        self._partitions = partitions
        self._report = report
        self._clear = clear
        self._loop = asyncio.get_running_loop()
        self.slots = Slots()
        self._parked: set[Endpoint] = set()
        self.is_ending = False
        """Set by the worker when it stops: no step starts any more."""

    @property
    def partitions(self) -> Collection[Partition]:
        """The partitions that this worker holds."""
        return self._partitions.values()

    def partition_of(self, endpoint_id: str) -> Partition | None:
        """Return the partition of an endpoint; None if this worker does not hold it."""
        return self._partitions.get(lease_of(endpoint_id))

    @property
    def time(self) -> float:
        """The event loop's clock, in seconds."""
        return self._loop.time()

    def wake(self, endpoint: Endpoint) -> None:
        """Queue an endpoint for a slot; one with a step in progress runs another after it."""
        turn = endpoint.turn
        if turn.is_gone or turn.is_queued:
            return
        if turn.task:
            turn.is_woken = True
            return
        if turn.timer:
            turn.timer.cancel()
            turn.timer = None
        endpoint.stop_waiting()
        self.slots.join(endpoint)

    def pump(self) -> None:
        """Give free slots to the endpoints that wait for one."""
        while not self.is_ending and (endpoint := self.slots.next(self._loop.time())):
            endpoint.turn.task = self._group.create_task(self._serve(endpoint))
            endpoint.turn.task.add_done_callback(partial(self._ended, endpoint))

    def _ended(self, endpoint: Endpoint, task: asyncio.Task[None]) -> None:
        """Clean up after a task that was cancelled before its first step."""
        if endpoint.turn.task is task:
            self.slots.leave(endpoint)
            endpoint.turn.task = None

    def ring(self, endpoint: Endpoint) -> None:
        """Wake an endpoint and start it at once if a slot is free."""
        self.wake(endpoint)
        self.pump()

    def later(self, endpoint: Endpoint, delay_s: float) -> None:
        """Wake an endpoint after a delay, unless something wakes it before."""
        if not endpoint.turn.is_gone:
            endpoint.turn.timer = self._loop.call_later(delay_s, self.ring, endpoint)

    def unpark(self) -> None:
        """Wake the endpoints that waited for their lease to be renewed."""
        parked, self._parked = self._parked, set()
        for endpoint in parked:
            self.wake(endpoint)
        self.pump()

    def drop(self, endpoint: Endpoint) -> None:
        """Serve an endpoint no longer: it was removed, or another worker has it."""
        endpoint.turn.is_gone = True
        endpoint.stop_waiting()
        self._parked.discard(endpoint)
        if endpoint.turn.timer:
            endpoint.turn.timer.cancel()

    async def _serve(self, endpoint: Endpoint | None) -> None:
        """Run one step of one endpoint after another while any waits: a task each is expensive."""
        task = asyncio.current_task()
        try:
            while endpoint:
                endpoint.turn.task = task
                await self._drive(endpoint)
                endpoint = None if self.is_ending else self.slots.next(self._loop.time())
        finally:
            self.pump()

    async def _drive(self, endpoint: Endpoint) -> None:
        """Run one step of an endpoint; the border at which faults of our own code stop."""
        goes_on = False
        try:
            with redis_errors_as_unavailable():
                goes_on = await self._step(endpoint)
            await self._clear(endpoint.id)
        except Unavailable:
            self.later(endpoint, AFTER_OUTAGE_S)
        except Exception as exc:  # noqa: BLE001 -- reported
            await self._report(endpoint.id, exc)
            self.later(endpoint, AFTER_BUG_S)
        finally:
            self.slots.leave(endpoint)
            endpoint.turn.task = None
        if goes_on:
            self.wake(endpoint)

    async def _step(self, endpoint: Endpoint) -> bool:
        """Send, judge, and write the ack; False if the endpoint has nothing more to do now."""
        endpoint.turn.is_woken = False
        partition = self.partition_of(endpoint.id)
        if partition is None or partition.leaves_since:
            return False
        action = await endpoint.next()
        if action is None:
            return endpoint.turn.is_woken
        if self._loop.time() >= partition.valid_until:
            # Another worker may have it by now: nothing is sent that could not be settled.
            self._parked.add(endpoint)
            return False
        if isinstance(action, Request):
            answer = await self._send(endpoint, action)
            ack = action.judge(answer)
        else:
            ack = action
        return await self._write(endpoint, partition, ack) if ack else True

    async def _send(self, endpoint: Endpoint, request: Request) -> Answer:
        """Send a request, count its outcome, and log a failure."""
        answer = await send(
            self._client, request.url, request.body, request.headers,
            provenance=request.provenance, limits=self._limits,
        )  # fmt: skip
        if answer.verdict is Verdict.DELIVERED:
            self._acks.count("webhook_delivered", request.events)
        else:
            self._acks.count("webhook_failed", 1)
            details = {"endpoint": endpoint.id, "status": answer.status, "error": answer.error}
            logger.info("not delivered", extra=details)
        return answer

    async def _write(self, endpoint: Endpoint, partition: Partition, ack: Ack) -> bool:
        """Have an ack written, then apply it; False if this worker is done with the endpoint."""
        settled = await self._acks.write(partition.lease, ack)
        if settled is Settled.WRITTEN:
            if ack.event:
                details = {"endpoint": endpoint.id, "type": str(ack.event["type"])}
                logger.warning("an endpoint's state changed", extra=details)
            await endpoint.apply_ack(ack)
            return not endpoint.turn.is_gone
        if settled is Settled.REMOVED:
            self.drop(endpoint)
        else:
            # The worker that has the lease now continues; if this one gets it again, it does.
            self._parked.add(endpoint)
        return False
