"""Commands that manage and watch a running dateline: sources, webhooks, tail, status, export.

The same as the API's handlers do (service/web/manage.py), on the store directly.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import click
import orjson

from service import articles as article_rules
from service import categories, endpoints, webhooks
from service import sources as source_rules
from service.articles import LIVE, Article, to_ms
from service.cli import main, settings_from, with_store
from service.errors import NotFound
from service.sources import Source
from service.storage.store import Store

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
TAIL_COUNT = 10


def show(value: Any, *, as_json: bool) -> None:
    """Print a list of objects or one: JSON, or `name value` lines."""
    if as_json:
        click.echo(orjson.dumps(value).decode())
        return
    items = value if isinstance(value, list) else [value]
    for number, item in enumerate(items):
        if number:
            click.echo()
        for name, field in item.items():
            text = ", ".join(map(str, field)) if isinstance(field, (list, tuple)) else field
            click.echo(f"{name:<14} {'' if text is None else text}".rstrip())


@main.group()
def sources() -> None:
    """What is polled."""


@sources.command("add")
@click.argument("url")
@click.option("--category", default="", help="File its articles here, whatever they say.")
@AS_JSON
def add_source(url: str, category: str, as_json: bool) -> None:
    """Poll a feed or page from now on."""
    now = datetime.now(UTC)

    async def work(store: Store) -> Source:
        source = source_rules.make({"url": url, "category": category}, created=now)
        await store.sources.add(source, due_ms=to_ms(now))
        return source

    show(with_store(settings_from(), work).shown(), as_json=as_json)


@sources.command("list")
@AS_JSON
def list_sources(as_json: bool) -> None:
    """All sources."""

    async def work(store: Store) -> list[dict[str, Any]]:
        return [source.shown() for source in await store.sources.all()]

    show(with_store(settings_from(), work), as_json=as_json)


@sources.command("show")
@click.argument("source_id")
@AS_JSON
def show_source(source_id: str, as_json: bool) -> None:
    """One source and its last poll."""

    async def work(store: Store) -> dict[str, Any]:
        source, poll = await _source(store, source_id), await store.sources.poll(source_id)
        due = article_rules.to_rfc3339(article_rules.from_ms(poll.due_ms)) if poll.due_ms else None
        return {
            **source.shown(),
            "polled": poll.polled,
            "result": poll.result,
            "failures": poll.failures,
            "due": due,
        }

    show(with_store(settings_from(), work), as_json=as_json)


async def _source(store: Store, source_id: str) -> Source:
    source = await store.sources.get(source_id)
    if source is None:
        raise NotFound(f"{source_id}: no such source; `dateline sources list` names them")
    return source


@sources.command("pause")
@click.argument("source_id")
def pause_source(source_id: str) -> None:
    """Poll it no more until it is resumed."""
    _replace(source_id, paused=True, due=False)


@sources.command("resume")
@click.argument("source_id")
def resume_source(source_id: str) -> None:
    """Poll it again, now."""
    _replace(source_id, paused=False, due=True)


@sources.command("refresh")
@click.argument("source_id")
def refresh_source(source_id: str) -> None:
    """Poll it now."""
    _replace(source_id, paused=None, due=True)


def _replace(source_id: str, *, paused: bool | None, due: bool) -> None:
    now_ms = to_ms(datetime.now(UTC))

    async def work(store: Store) -> None:
        source = await _source(store, source_id)
        changed = source if paused is None else source.with_paused(paused)
        await store.sources.replace(changed, due_ms=now_ms if due else None)

    with_store(settings_from(), work)


@sources.command("remove")
@click.argument("source_id")
def remove_source(source_id: str) -> None:
    """Forget a source; its articles stay."""

    async def work(store: Store) -> None:
        await _source(store, source_id)
        await store.sources.remove(source_id)

    with_store(settings_from(), work)


@main.group("webhooks")
def hooks() -> None:
    """Who is told of new articles."""


@hooks.command("add")
@click.argument("url")
@click.option("--category", "paths", multiple=True, help="Only this category; may be repeated.")
@click.option("--type", "types", multiple=True, help="Only this event type; may be repeated.")
@AS_JSON
def add_webhook(url: str, paths: tuple[str, ...], types: tuple[str, ...], as_json: bool) -> None:
    """Tell a URL of everything from now on. The secret is shown this once."""
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        fields = {"url": url, "categories": paths, "types": types}
        return await endpoints.add(store, fields, now=now)

    show(with_store(settings_from(), work), as_json=as_json)


@hooks.command("list")
@AS_JSON
def list_webhooks(as_json: bool) -> None:
    """All webhooks and their states."""
    show(with_store(settings_from(), endpoints.all_shown), as_json=as_json)


@hooks.command("attempts")
@click.argument("webhook_id")
@AS_JSON
def list_attempts(webhook_id: str, as_json: bool) -> None:
    """The newest attempts at delivery, newest first."""

    async def work(store: Store) -> list[dict[str, str]]:
        await endpoints.find(store, webhook_id)
        return await store.deliveries.attempts(webhook_id, limit=endpoints.MAX_ATTEMPTS)

    show(with_store(settings_from(), work), as_json=as_json)


@hooks.command("test")
@click.argument("webhook_id")
def test_webhook(webhook_id: str) -> None:
    """Send a test message; see `dateline webhooks attempts` for what came of it."""

    async def work(store: Store) -> str:
        return await endpoints.request_test(store, webhook_id)

    click.echo(with_store(settings_from(), work))


@hooks.command("remove")
@click.argument("webhook_id")
def remove_webhook(webhook_id: str) -> None:
    """Tell it nothing more."""

    async def work(store: Store) -> None:
        await endpoints.remove(store, webhook_id)

    with_store(settings_from(), work)


@main.command()
@click.option("--category", default="", help="Only this category and those below it.")
@click.option("-n", "count", default=TAIL_COUNT, show_default=True, help="So many old ones first.")
@click.option("--follow/--no-follow", default=True, help="Wait for new ones.")
@AS_JSON
def tail(category: str, count: int, follow: bool, as_json: bool) -> None:
    """Print events of the stream as they come, one a line."""
    path = categories.parse(category).path if category else ""

    async def work(store: Store) -> None:
        async for event, data in _events(store, count=count, follow=follow):
            paths = data["categories"]
            if path and not webhooks.is_within(path, paths):
                continue
            if as_json:
                click.echo(orjson.dumps({**event.envelope(), "data": data}))
            else:
                kind = event.type.split(".")[2]
                click.echo(f"{event.time}  {kind:<9}  {', '.join(paths)}  {data['title']}")
            sys.stdout.flush()

    try:
        with_store(settings_from(), work)
    except KeyboardInterrupt:
        return


async def _events(store: Store, *, count: int, follow: bool) -> AsyncIterator[tuple[Any, Any]]:
    """(event, article as an object), the newest `count` first in their order, then new ones."""
    after = {}
    old = []
    for shard in range(store.stream.shards):
        after[shard] = await store.stream.last_id(shard)
        old += await store.stream.newest(shard, count=count)
    for event in sorted(old, key=lambda event: event.position)[-count:] if count else []:
        if event.type:
            yield event, orjson.loads(event.data)
    while follow:
        for shard, last in after.items():
            for event in await store.stream.read(shard, last, count=100):
                after[shard] = event.entry_id
                if event.type:
                    yield event, orjson.loads(event.data)


@main.command()
@AS_JSON
def status(as_json: bool) -> None:
    """How much there is, and how far the readers of the stream are behind."""

    async def work(store: Store) -> dict[str, Any]:
        shards = range(store.stream.shards)
        return {
            "articles": await store.pages.count(categories.ALL),
            "categories": len(await store.articles.category_titles()),
            "events": sum([await store.stream.length(shard) for shard in shards]),
            "groups": [
                f"{b.group}: {b.pending} pending, {'?' if b.lag is None else b.lag} to read"
                for b in await store.stream.backlogs()
            ],
            "sources": len(await store.sources.all()),
            "webhooks": len(await store.deliveries.all()),
            "counters": [f"{n} {v}" for n, v in sorted((await store.counters()).items())],
        }

    show(with_store(settings_from(), work), as_json=as_json)


@main.command()
def export() -> None:
    """Write every live article as NDJSON, which `dateline import` takes back."""

    async def work(store: Store) -> None:
        titles = await store.articles.category_titles()
        seen: set[str] = set()
        async for ids in store.articles.all_ids():
            fresh = [article_id for article_id in dict.fromkeys(ids) if article_id not in seen]
            seen.update(fresh)
            for article in await store.articles.get(fresh):
                if article and article.status == LIVE:
                    sys.stdout.buffer.write(_exported(article, titles))
        sys.stdout.buffer.flush()

    with_store(settings_from(), work)


def _exported(article: Article, titles: dict[str, str]) -> bytes:
    fields = orjson.loads(article.to_json())
    # Titles, not slugs: their spelling is to come back, too.
    fields["categories"] = [categories.title_path(path, titles) for path in article.categories]
    return orjson.dumps(fields) + b"\n"


def run() -> None:
    """The console script: every command is known once this module is loaded."""
    main(prog_name="dateline")
