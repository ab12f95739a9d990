"""Ranks in categories: which article is the nth newest, however many shards have them."""

from __future__ import annotations

from service.storage import keys
from service.storage.category_index import merged
from service.storage.commands import Client
from service.storage.shards import Shards


class CategoryRanks:
    """Finds articles by their place in a category."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards

    async def nth_newest(self, category: str, number: int) -> tuple[float, str] | None:
        """Publication time in ms and id of the nth live article of a category, in the order of
        feeds; None if there are fewer.

        The time is found by halving, so it costs some 45 round trips, whatever the number.
        """
        if await self._count_from(category, 0) < number:
            return None
        low_ms, high_ms = await self._ends(category)
        while low_ms < high_ms:
            middle_ms = (low_ms + high_ms + 1) // 2
            if await self._count_from(category, middle_ms) >= number:
                low_ms = middle_ms
            else:
                high_ms = middle_ms - 1
        missing = number - await self._count_from(category, low_ms + 1)
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipe.zrevrangebyscore(
                keys.category(shard, category), low_ms, low_ms, start=0, num=missing,
                withscores=True,
            )  # fmt: skip
        equal = merged(await pipe.execute())
        if len(equal) < missing:
            return None  # Articles left the category meanwhile.
        member, score = equal[missing - 1]
        return score, member.decode()

    async def _ends(self, category: str) -> tuple[int, int]:
        """Return the times of the oldest and the newest article of a category in ms."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            name = keys.category(shard, category)
            pipe.zrangebyscore(name, "-inf", "+inf", start=0, num=1, withscores=True)
            pipe.zrevrangebyscore(name, "+inf", "-inf", start=0, num=1, withscores=True)
        scores = [int(score) for pairs in await pipe.execute() for _, score in pairs]
        return min(scores, default=0), max(scores, default=0)

    async def _count_from(self, category: str, ms: int) -> int:
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipe.zcount(keys.category(shard, category), ms, "+inf")
        return sum(await pipe.execute())
