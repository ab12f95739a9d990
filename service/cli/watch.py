"""`dateline tail`, `status`, `export`: what a running dateline holds and does."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click
import orjson

from service.articles import categories
from service.articles.article import LIVE, Article
from service.articles.event import Event
from service.articles.input import export_fields
from service.cli.output import AS_JSON, say, say_json, show
from service.cli.running import settings_from, with_store
from service.storage import keys
from service.storage.store import Store

TAIL_COUNT, MAX_TAIL_COUNT = 10, 100_000


@click.command()
@click.option("--category", default="", help="Show only this category and those below it.")
@click.option(
    "-n",
    "count",
    type=click.IntRange(0, MAX_TAIL_COUNT),
    default=TAIL_COUNT,
    show_default=True,
    help="Print this many of the newest events first.",
)
@click.option(
    "--follow/--no-follow",
    default=True,
    show_default=True,
    help="Go on printing new events until Ctrl-C.",
)
@AS_JSON
def tail(category: str, count: int, follow: bool, as_json: bool) -> None:
    """Print the events of the stream as they arrive, one a line."""

    async def work(store: Store) -> None:
        path = categories.parse(category).path if category else ""
        async for event, article in _events(store, count=count, follow=follow):
            paths = article.categories
            if path and not categories.is_within(path, paths):
                continue
            if as_json:
                say_json({**event.envelope(), "data": orjson.Fragment(event.data)})
            else:
                kind = event.type.removeprefix("dateline.article.").removesuffix(".v1")
                say(f"{event.time}  {kind:<9}  {', '.join(paths)}  {article.title}")
            sys.stdout.flush()

    try:
        with_store(settings_from(), work)
    except KeyboardInterrupt:
        return


async def _events(
    store: Store, *, count: int, follow: bool
) -> AsyncIterator[tuple[Event, Article]]:
    """Events and their articles, the newest `count` first in their order, then new ones; not what
    another program appended that is not an article."""
    after = {}
    old = []
    for shard in store.event_stream.shards:
        after[shard] = await store.event_stream.last_id(shard)
        old += await store.event_stream.newest(shard, count=count)
    for event in sorted(old, key=lambda event: event.position)[-count:] if count else []:
        if event.article:
            yield event, event.article
    while follow:
        for shard, last in after.items():
            for event in await store.event_stream.read(shard, last, count=100):
                after[shard] = event.entry_id
                if event.article:
                    yield event, event.article


@click.command()
@AS_JSON
def status(as_json: bool) -> None:
    """Show what the archive holds, how far the consumer groups are behind, and what is at fault.

    Of each group: pending events were read but not acknowledged yet, those to read were not read
    yet (empty: this Redis cannot tell).
    """

    async def work(store: Store) -> dict[str, Any]:
        shards = store.event_stream.shards
        last_pass = await store.removals.last_pass()
        return {
            "articles": await store.category_index.count(categories.ALL),
            "categories": len(await store.articles.category_titles()),
            "events": sum([await store.event_stream.length(shard) for shard in shards]),
            "streams": [keys.stream(shard) for shard in shards],
            "groups": [
                {"group": b.group, "pending": b.pending, "to_read": b.lag}
                for b in await store.event_stream.backlogs()
            ],
            "sources": await store.sources.count(),
            "sources_at_category_limit": [
                {"source": name, "created": each.created, "since": each.since}
                for name, each in (await store.category_limit.all()).items()
                if each.refused
            ],
            "webhooks": await store.webhooks.count(),
            "retention": asdict(last_pass) if last_pass else None,
            "erasing": await store.erasures.count(),
            "dead_events": await store.dead_events.count(),
            "faults": [
                {
                    "kind": f.kind,
                    "name": f.name,
                    "count": f.count,
                    "last": f.last,
                    "reason": f.reason,
                }
                for f in await store.faults.all(now=datetime.now(UTC))
            ],
            "counters": dict(sorted((await store.counters()).items())),
        }

    show(with_store(settings_from(), work), as_json=as_json)


@click.command()
@click.option("--live", is_flag=True, help="Leave withdrawn articles out.")
def export(live: bool) -> None:
    """Write every article as NDJSON to stdout; `dateline import` reads it again.

    An archive that does not know an article takes over its first_seen, revision and status; in one
    that knows it, an import of the same changes nothing. Webhooks, sources and the rest are in
    `dateline backup`.

    For example: dateline export > archive.ndjson
    """

    async def work(store: Store) -> None:
        titles = await store.articles.category_titles()
        exported_ids: set[str] = set()
        async for ids in store.articles.all_ids():
            fresh = [
                article_id for article_id in dict.fromkeys(ids) if article_id not in exported_ids
            ]
            exported_ids.update(fresh)
            for article in await store.articles.get(fresh):
                if article and not article.erased and (article.status == LIVE or not live):
                    line = orjson.dumps(export_fields(article, titles))
                    sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()

    with_store(settings_from(), work)
