"""Views in Redis. Their indexes have the form of category indexes."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from service.articles.json_text import decode_stored
from service.articles.times import from_rfc3339
from service.feeds.view import View
from service.storage import keys
from service.storage.commands import Client
from service.storage.shards import Shards
from service.storage.stored import decoded, text_of, typed


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexProgress:
    """How far the index of a view is built."""

    examined: int
    """Number of articles."""
    is_done: bool


NOT_BEGUN = IndexProgress(examined=0, is_done=False)


class Views:
    """Saved selections. A counter rises at each change, so that workers notice it at once."""

    def __init__(self, client: Client, *, shards: Shards) -> None:
        self._client = client
        self._shards = shards

    async def put(self, view: View) -> None:
        """Store a view in place of one with the same name; its index is built again."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hset(keys.VIEWS, view.name, orjson.dumps(view.to_public()))
        pipe.hdel(keys.VIEWS_BUILT, view.name)
        pipe.incr(keys.VIEWS_CHANGED)
        await pipe.execute()
        await self._clear(view.path)

    async def remove(self, view: View) -> bool:
        """Delete a view and its index; False if it is unknown."""
        pipe = self._client.pipeline(transaction=True)
        pipe.hdel(keys.VIEWS, view.name)
        pipe.hdel(keys.VIEWS_BUILT, view.name)
        pipe.incr(keys.VIEWS_CHANGED)
        removed = (await pipe.execute())[0]
        await self._clear(view.path)
        return bool(removed)

    async def _clear(self, path: str) -> None:
        for shard in self._shards:
            names = (keys.category(shard, path), keys.versions(shard, path), keys.gone(shard, path))
            await self._client.unlink(*names)

    async def get(self, name: str) -> View | None:
        """The view of this name; None if it is unknown."""
        stored = await self._client.hget(keys.VIEWS, name)
        return decoded(_view, (name.encode(), stored), what=f"view {name}") if stored else None

    async def all(self) -> list[View]:
        """All views, sorted by name."""
        stored = await self._client.hgetall(keys.VIEWS)
        views = [decoded(_view, pair, what=f"view {pair[0]!r}") for pair in sorted(stored.items())]
        return [view for view in views if view]

    async def changes(self) -> int:
        """Number of changes of views so far; equal numbers mean equal views."""
        return int(await self._client.get(keys.VIEWS_CHANGED) or 0)

    async def note_built(self, name: str, *, examined: int, is_done: bool) -> None:
        """Store the progress of a view's index: the number of examined articles."""
        await self._client.hset(
            keys.VIEWS_BUILT, name, orjson.dumps({"examined": examined, "done": is_done})
        )

    async def built(self) -> dict[str, IndexProgress]:
        """View name → progress of its index, for indexes that were begun."""
        stored = await self._client.hgetall(keys.VIEWS_BUILT)
        states = {
            text_of(name): decoded(_progress, value, what=f"index of view {name!r}")
            for name, value in stored.items()
        }
        return {name: state for name, state in states.items() if state}


def _progress(stored: bytes) -> IndexProgress:
    state = orjson.loads(stored)
    return IndexProgress(examined=int(state["examined"]), is_done=bool(state["done"]))


def _view(pair: tuple[bytes, bytes]) -> View:
    name, stored = pair
    view = typed(View.from_json(decode_stored(stored)))
    # Both are relied on by those who build its index.
    if view.name.encode() != name or not from_rfc3339(view.created):
        raise ValueError(f"is named {view.name!r}")
    return view
