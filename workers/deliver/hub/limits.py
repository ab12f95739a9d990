"""What the hub may do to others and to our own line: verifications of one address, bytes of pushes.

All limits are buckets in Redis, which servers and workers share. Requests to the hub have limits by
client and by the callback's host already when they are made; here the addresses count that the host
resolves to, so that many names of one host are one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from service.addresses import network_of
from service.articles.times import to_ms
from service.logs import Throttle
from service.manage.hub import host_bucket
from service.storage.token_buckets import Bucket
from workers.deliver.endpoint import DeliveryContext
from workers.deliver.send import target
from workers.http_client import OutboundClient

logger = logging.getLogger(__name__)

HOUR_S = 3_600
# Taken from the budget at a time: not every push is a round trip.
EGRESS_STEP_BYTES = 1_000_000


class HubLimits:
    """The limits as one worker keeps to them."""

    def __init__(self, context: DeliveryContext, client: OutboundClient) -> None:
        self._context = context
        self._client = client
        self._buckets = context.store.token_buckets
        self._egress_bytes = 0
        """Taken from the budget and not used yet."""
        self._exhausted_until_ms = 0
        self._lock = asyncio.Lock()
        self._throttle = Throttle()

    async def networks_of(self, callback: str) -> tuple[str, ...]:
        """Return the addresses where a callback is, as limits count them; the next request to it
        goes to one of them. None if its host cannot be resolved."""
        addresses = await self._client.addresses_of(target(callback))
        return tuple(dict.fromkeys(map(network_of, addresses)))

    async def verification_wait_s(self, networks: Sequence[str]) -> float:
        """Return 0 if a callback there may be asked to confirm now, else the seconds to wait."""
        settings = self._context.settings
        buckets = [host_bucket(f"address:{network}", settings) for network in networks]
        return await self._buckets.take(buckets, now_ms=self._now_ms)

    async def may_push_whole(self, size_bytes: int) -> bool:
        """Whether a push of so many bytes is within HUB_EGRESS_MAX_BYTES, of which it is taken."""
        if size_bytes > self._context.settings.hub_egress_max_bytes:
            return False
        # One at a time: pushes of many subscribers ask at once.
        async with self._lock:
            if self._egress_bytes < size_bytes:
                more = await self._more_egress(size_bytes)
                self._egress_bytes += more
            if self._egress_bytes < size_bytes:
                return False
            self._egress_bytes -= size_bytes
            return True

    async def _more_egress(self, size_bytes: int) -> int:
        budget, now_ms = self._context.settings.hub_egress_max_bytes, self._now_ms
        step = min(max(size_bytes, EGRESS_STEP_BYTES), budget)
        if not step or now_ms < self._exhausted_until_ms:
            return 0
        bucket = Bucket(name="hub:egress", size=budget, period_s=HOUR_S, cost=step)
        wait_s = await self._buckets.take([bucket], now_ms=now_ms)
        if not wait_s:
            return step
        self._exhausted_until_ms = now_ms + int(wait_s * 1000)
        if self._throttle.is_due():
            logger.warning(
                "pushes of the hub are newest entries only: HUB_EGRESS_MAX_BYTES is used up",
                extra={"budget_bytes": budget, "seconds": int(wait_s)},
            )
        return 0

    @property
    def _now_ms(self) -> int:
        return to_ms(self._context.now())
