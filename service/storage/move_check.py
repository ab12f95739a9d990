"""Compare an archive with its copy in other shards, article by article."""

from __future__ import annotations

from collections.abc import Sequence

from service.articles.article import Article
from service.storage import keys
from service.storage.store import Store

_REGISTRIES = (keys.VIEWS, keys.PRIVATE_FEEDS, keys.TOKENS, keys.SUBSCRIBERS)


async def differences(source: Store, copy: Store) -> list[str]:
    """What the copy has not as the source has it, a line each; nothing may write to either."""
    lines: list[str] = []
    async for ids in source.articles.all_ids():
        lines += await _of_articles(source, copy, list(dict.fromkeys(ids)))
    for what, here, there in (
        ("events", await _events(source), await _events(copy)),
        ("webhooks", await source.webhooks.count(), await copy.webhooks.count()),
        ("sources", await source.sources.count(), await copy.sources.count()),
        (
            "subscriptions at hubs",
            await source.our_subscriptions.count(),
            await copy.our_subscriptions.count(),
        ),
    ):
        if here != there:
            lines.append(f"{there} {what} instead of {here}")
    for name in _REGISTRIES:
        here, there = await source.client.hlen(name), await copy.client.hlen(name)
        if here != there:
            lines.append(f"{there} fields of {name} instead of {here}")
    return lines


async def _of_articles(source: Store, copy: Store, ids: Sequence[str]) -> list[str]:
    """The articles whose heads are others, unless only their mark as a duplicate is another: a
    restore removes marks whose original is missing."""
    pairs = zip(ids, await source.articles.heads(ids), await copy.articles.heads(ids), strict=True)
    unequal = [article_id for article_id, here, there in pairs if here != there]
    before, after = await source.articles.get(unequal), await copy.articles.get(unequal)
    return [
        f"article {article_id} is another"
        for article_id, here, there in zip(unequal, before, after, strict=True)
        if _said_of(here) != _said_of(there)
    ]


def _said_of(article: Article | None) -> tuple[object, ...]:
    return (article.revision, article.content_hash, article.status) if article else ()


async def _events(store: Store) -> int:
    stream = store.event_stream
    return sum([await stream.length(shard) for shard in stream.shards])
