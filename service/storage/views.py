"""Views and private feeds in Redis, and the indexes of views, which are those of categories."""

from __future__ import annotations

from typing import Any

import orjson

from service.feeds.private_feed import PrivateFeed
from service.feeds.view import View
from service.storage import keys
from service.storage.connecting import Client


class Views:
    """Saved selections. A number rises at each change, so that workers see it at once."""

    def __init__(self, client: Client, *, shards: int) -> None:
        self._client = client
        self._shards = shards

    async def put(self, view: View) -> None:
        """Keep a view, in the place of one of its name; it is to be indexed from nothing."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(keys.VIEWS, view.name, orjson.dumps(view.shown()))
        pipe.hdel(keys.VIEWS_BUILT, view.name)
        pipe.incr(keys.VIEWS_CHANGED)
        await pipe.execute()
        await self._clear(view.path)

    async def remove(self, view: View) -> bool:
        """Forget a view and its index; whether there was one."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hdel(keys.VIEWS, view.name)
        pipe.hdel(keys.VIEWS_BUILT, view.name)
        pipe.incr(keys.VIEWS_CHANGED)
        removed = (await pipe.execute())[0]
        await self._clear(view.path)
        return bool(removed)

    async def _clear(self, path: str) -> None:
        for shard in range(self._shards):
            names = (keys.category(shard, path), keys.versions(shard, path), keys.gone(shard, path))
            await self._client.unlink(*names)

    async def get(self, name: str) -> View | None:
        """The view of this name."""
        found = await self._client.hget(keys.VIEWS, name)
        return View.kept(orjson.loads(found)) if found else None

    async def all(self) -> list[View]:
        """All of them, by name."""
        found = await self._client.hgetall(keys.VIEWS)
        return [View.kept(orjson.loads(found[name])) for name in sorted(found)]

    async def changes(self) -> int:
        """How often views were changed; equal numbers mean equal views."""
        return int(await self._client.get(keys.VIEWS_CHANGED) or 0)

    async def note_built(self, name: str, *, examined: int, is_done: bool) -> None:
        """How far the index of a view has come."""
        await self._client.hset(
            keys.VIEWS_BUILT, name, orjson.dumps({"examined": examined, "done": is_done})
        )

    async def built(self) -> dict[str, dict[str, Any]]:
        """View name → `examined` articles, `done`; of those that were begun."""
        found = await self._client.hgetall(keys.VIEWS_BUILT)
        return {name.decode(): orjson.loads(state) for name, state in found.items()}

    async def add_private(self, feed: PrivateFeed) -> None:
        """Keep a private feed, under the hash of its token."""
        fields = {**feed.shown(), "category": feed.category}
        fields.pop("view", None)
        await self._client.hset(keys.PRIVATE_FEEDS, feed.token_hash, orjson.dumps(fields))

    async def private(self, token_hash: str) -> PrivateFeed | None:
        """The private feed of a token."""
        found = await self._client.hget(keys.PRIVATE_FEEDS, token_hash)
        return PrivateFeed(token_hash=token_hash, **orjson.loads(found)) if found else None

    async def all_private(self) -> list[PrivateFeed]:
        """All of them, oldest first."""
        found = await self._client.hgetall(keys.PRIVATE_FEEDS)
        feeds = [PrivateFeed(token_hash=k.decode(), **orjson.loads(v)) for k, v in found.items()]
        return sorted(feeds, key=lambda feed: feed.created)

    async def revoke(self, feed: PrivateFeed) -> None:
        """From now on its address leads nowhere."""
        await self._client.hdel(keys.PRIVATE_FEEDS, feed.token_hash)
