"""Private feeds in Redis, each under the hash of its token."""

from __future__ import annotations

import orjson

from service.articles.json_text import decode_stored
from service.feeds.private_feed import PrivateFeed
from service.storage import keys
from service.storage.commands import Client
from service.storage.stored import decoded, typed


class PrivateFeeds:
    """Private feeds, each with a URL for one subscriber."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def add(self, feed: PrivateFeed) -> None:
        """Store a private feed under the hash of its token."""
        fields = {**feed.to_public(), "category": feed.category}
        fields.pop("view", None)
        await self._client.hset(keys.PRIVATE_FEEDS, feed.token_hash, orjson.dumps(fields))

    async def get(self, token_hash: str) -> PrivateFeed | None:
        """The private feed of a token; None if it was revoked or never existed."""
        stored = await self._client.hget(keys.PRIVATE_FEEDS, token_hash)
        if stored is None:
            return None
        return decoded(_private_feed, (token_hash.encode(), stored), what="private feed")

    async def all(self) -> list[PrivateFeed]:
        """All private feeds, oldest first."""
        stored = await self._client.hgetall(keys.PRIVATE_FEEDS)
        feeds = [
            decoded(_private_feed, pair, what=f"private feed {pair[0]!r}")
            for pair in stored.items()
        ]
        return sorted((feed for feed in feeds if feed), key=lambda feed: feed.created)

    async def revoke(self, feed: PrivateFeed) -> None:
        """Delete a private feed: its URLs answer 404 from now on."""
        await self._client.hdel(keys.PRIVATE_FEEDS, feed.token_hash)


def _private_feed(pair: tuple[bytes, bytes]) -> PrivateFeed:
    token_hash, fields = pair
    return typed(PrivateFeed(token_hash=token_hash.decode(), **decode_stored(fields)))
