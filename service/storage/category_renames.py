"""Categories whose slug is another one by the rules of this version: renamed once, in all that is
stored, as a step of the layout; and what a former path is called now.

    articles   their document, their head (`hidden_in`) and `idx`, each if it is still what was read
    indexes    articles, versions and withdrawn articles of the category
    settings   webhooks and tokens get the new path beside the former one, views and private feeds
               instead of it
    titles     last, with the former paths: until then a step that was cut begins anew

The content hash stays that of the former path: an article that its feed offers again is `updated`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC
from typing import Any

import orjson

from service.articles import categories
from service.articles.json_text import decode_stored
from service.errors import InvalidInput
from service.feeds.query import parse_query
from service.storage import keys
from service.storage.category_index import index_keys
from service.storage.client import Script, lua_script, lua_text
from service.storage.commands import Client
from service.storage.compression import compressed, plain
from service.storage.shards import ONE, shards_of
from service.storage.stored import text_of

logger = logging.getLogger(__name__)

AT_ONCE = 200
_TRIES = 5
_REPLACE = """
-- KEYS 1 article  ARGV 1-3 doc, head and idx as they were read ('' if missing)  4-6 to be stored
-- Returns 1; 0 if the article has changed since.
local stored = {load_article(KEYS[1])}
for i = 1, 3 do
  if (stored[i] or '') ~= ARGV[i] then return 0 end
end
save_article(KEYS[1], ARGV[4], ARGV[5], ARGV[6])
return 1
"""
# Hashes of settings as JSON; those of the second kind have no `categories`, but one `category`.
_SETTINGS = (keys.FORMER_ENDPOINTS, keys.TOKENS, keys.VIEWS, keys.PRIVATE_FEEDS, keys.sources(0))


class CategoryRenames:
    """Former paths of categories."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def of(self, path: str) -> str:
        """What a category is called now that had this path; empty if none had."""
        return text_of(await self._client.hget(keys.CATEGORIES_RENAMED, path) or b"")


async def rename_categories(client: Client) -> None:
    """Rename the categories whose titles have another slug now. Can be repeated."""
    shards = await shards_of(client) or ONE
    titles: dict[str, str] = {}
    for shard in reversed(shards.tags):
        stored = await client.hgetall(keys.categories(shard))
        titles.update((text_of(path), text_of(title)) for path, title in stored.items())
    renames = categories.renamed(titles)
    if not renames:
        return
    logger.info("categories get other slugs", extra={"categories": renames})
    move: Script[int] = lua_script(client, "versions", "rename_category")
    now_ms = str(int(time.time() * 1000))
    for shard in shards:
        await _rename_articles(client, shard, renames)
        for path, present in renames.items():
            await move(keys=[*index_keys(shard, path), *index_keys(shard, present)], args=[now_ms])
    for name in _SETTINGS:
        await _rename_settings(client, name, renames)
    # A former path may be that of a category again, later.
    for path, present in renames.items():
        await client.hset(keys.CATEGORIES_RENAMED, path, present)
    for shard in shards:
        stored = await client.hgetall(keys.categories(shard))
        for path, present in renames.items():
            if path.encode() in stored:
                await client.hsetnx(keys.categories(shard), present, stored[path.encode()])
                await client.hdel(keys.categories(shard), path)


async def _rename_articles(client: Client, shard: int, renames: Mapping[str, str]) -> None:
    names: list[str] = []
    async for key in client.scan_iter(match=f"{keys.article(shard, '')}*", count=1_000):
        names.append(key.decode())
        if len(names) == AT_ONCE:
            await _rename_batch(client, names, renames)
            names = []
    await _rename_batch(client, names, renames)


async def _rename_batch(client: Client, names: Sequence[str], renames: Mapping[str, str]) -> None:
    """Rename in these articles; those that change meanwhile are read again."""
    exchange: Script[int] = Script(client, lua_text("article") + _REPLACE)
    read: Script[list[bytes | None]] = lua_script(client, "article", "read")
    for _ in range(_TRIES):
        if not names:
            return
        stored = await read(keys=names, args=("doc", "head", "idx"))
        left = []
        for at, name in enumerate(names):
            before = [value or b"" for value in stored[3 * at : 3 * at + 3]]
            after = [_doc(before[0], renames), _head(before[1], renames), _idx(before[2], renames)]
            if after != before and not await exchange(keys=[name], args=[*before, *after]):
                left.append(name)
        names = left


def _doc(stored: bytes, renames: Mapping[str, str]) -> bytes:
    try:
        fields = decode_stored(plain(stored))
        paths = _replaced(fields["categories"], renames)
    except (ValueError, TypeError, KeyError):
        return stored  # A hand made it unreadable; so it stays.
    if paths == fields["categories"]:
        return stored
    return compressed(orjson.dumps({**fields, "categories": paths}))


def _head(stored: bytes, renames: Mapping[str, str]) -> bytes:
    try:
        fields = orjson.loads(stored)
        hidden = fields.get("hidden_in")
    except (ValueError, AttributeError):
        return stored
    paths = _replaced(hidden, renames) if isinstance(hidden, list) else hidden
    return stored if paths == hidden else orjson.dumps({**fields, "hidden_in": paths})


def _idx(stored: bytes, renames: Mapping[str, str]) -> bytes:
    revision, *rest = stored.decode("utf-8", "replace").split(" ")
    paths = _replaced(rest[1:], renames)
    return stored if paths == rest[1:] else " ".join([revision, rest[0], *paths]).encode()


def _replaced(paths: Sequence[str], renames: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(renames.get(path, path) for path in paths))


async def _rename_settings(client: Client, name: str, renames: Mapping[str, str]) -> None:
    stored: dict[bytes, bytes] = await client.hgetall(name)
    for field, value in stored.items():
        try:
            fields = decode_stored(value)
        except ValueError:
            continue
        after = _settings(fields, renames) if isinstance(fields, dict) else fields
        if after != fields:
            await client.hset(name, field.decode(), orjson.dumps(after))
    if stored and name == keys.VIEWS:
        await client.execute_command("INCR", keys.VIEWS_CHANGED)


def _settings(fields: dict[str, Any], renames: Mapping[str, str]) -> dict[str, Any]:
    after = dict(fields)
    match fields.get("categories"):
        case list(paths):
            # The former path too: another category may have it now, whose articles came before.
            named = [path for path in paths if isinstance(path, str)]
            after["categories"] = [*paths, *(renames[p] for p in named if p in renames)]
    match fields.get("category"):
        case str(path):
            after["category"] = renames.get(path, path)
    match fields.get("query"):
        case str(query):
            after["query"] = _query(query, renames)
    match fields.get("selection"):
        case dict(selection):
            after["selection"] = _settings(selection, renames)
    return after


def _query(text: str, renames: Mapping[str, str]) -> str:
    try:
        query = parse_query(text, zone=UTC)
    except InvalidInput:
        return text
    filter = query.filter
    more = {
        name: tuple(sorted({*values, *(renames[path] for path in values if path in renames)}))
        for name, values in (("any", filter.any), ("none", filter.none))
    }
    every = tuple(sorted(_replaced(filter.all, renames)))
    after = replace(filter, any=more["any"], none=more["none"], all=every)
    return text if after == filter else str(replace(query, filter=after))
