"""Erase articles: nothing but a tombstone remains. For API and CLI, and the second pass of workers.

    order → tombstone and its event → everything else that has the text → announce
                          └ after a while, an aggregate worker does it all again, and ends the order

Each step can be repeated. The second pass finds what a process wrote meanwhile that still had the
text in memory, and completes an erasure that was cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.articles.aliases import canonical
from service.articles.article import Article
from service.errors import InvalidInput, NotFound
from service.storage.articles import Receipt
from service.storage.erasures import Scrubbed
from service.storage.faults import each_alone
from service.storage.store import Store

_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Erasure:
    """What was erased; API and CLI show it with these names."""

    articles: Sequence[Receipt]
    deleted: Scrubbed
    copies: Sequence[str]
    """Ids of the same articles of other sources, which are articles of their own and stay."""


def article_id_of(text: str) -> str:
    """The id in what a client typed: the id itself, `urn:uuid:…`, or the article's URL.

    Raises:
        InvalidInput: no id is in it.
    """
    name = re.split(r"[/:]", text.strip().lower().rstrip("/"))[-1].removesuffix(".json")
    if not _ID.fullmatch(name):
        raise InvalidInput("id", text, "is not the id of an article")
    return name


async def find(store: Store, article_ids: Sequence[str]) -> list[Article | None]:
    """The articles to be erased in their order; None for one that retention has removed,
    or whose document cannot be read.

    Raises:
        NotFound: names the ids that are not known.
    """
    articles = await store.articles.get(article_ids)
    heads = await store.articles.heads(article_ids)
    unknown = [
        article_id
        for article_id, article, head in zip(article_ids, articles, heads, strict=True)
        if not article and not head and not await store.removals.contains(article_id)
    ]
    if unknown:
        raise NotFound(f"{', '.join(unknown)}: no such article")
    return articles


async def erase(store: Store, article_ids: Sequence[str], *, now: datetime) -> Erasure:
    """Erase articles, withdrawn ones and those that retention has removed included. Idempotent.

    Raises:
        NotFound: some ids are not known; nothing was erased.
        InvalidInput: the ids are too many.
    """
    if len(article_ids) > MAX_AT_ONCE:
        raise InvalidInput("id", len(article_ids), f"at most {MAX_AT_ONCE} articles at once")
    article_ids = list(dict.fromkeys(article_ids))
    await find(store, article_ids)
    await store.erasures.order(article_ids, now=now)
    return await _erase(store, article_ids, now=now)


async def finish(store: Store, *, now: datetime, before: datetime) -> int:
    """Do what was ordered before this time once more, and end these orders; their number.

    An article that cannot be erased is reported, and its order stays.
    """
    article_ids = await store.erasures.ordered(before=before)
    failed: dict[str, Exception] = {}

    async def work(some: Sequence[str]) -> None:
        await _erase(store, some, now=now)

    async def fail(article_id: str, exc: Exception) -> None:
        failed[article_id] = exc

    for at in range(0, len(article_ids), MAX_AT_ONCE):
        await each_alone(article_ids[at : at + MAX_AT_ONCE], work, fail)
    for article_id, exc in failed.items():
        await store.faults.report("article", article_id, exc, now=now)
    done = [article_id for article_id in article_ids if article_id not in failed]
    if done and len(done) == await store.erasures.count():
        # Once, after the last of many orders: it writes the whole archive.
        await store.erasures.rewrite_log()
    if done:
        await store.erasures.end(done, before=before)
    return len(done)


async def _erase(store: Store, article_ids: Sequence[str], *, now: datetime) -> Erasure:
    articles = [article for article in await store.articles.get(article_ids) if article]
    urls = [(article.id, canonical(article.url), "") for article in articles if article.url]
    await store.duplicates.leave(urls)
    copies = await _copies(store, articles)
    receipts = [await _tombstone(store, article_id, now) for article_id in article_ids]
    if count := sum(receipt.status == "erased" for receipt in receipts):
        await store.count({"articles_erased": count})
    since = min((article.first_seen for article in articles), default=None)
    is_any_older = len(articles) < len(article_ids)
    deleted = await store.erasures.scrub(article_ids, since=None if is_any_older else since)
    await store.faults.erase_texts()
    await store.sources.erase_texts()
    for source_id in await store.our_subscriptions.drop_pushes():
        await store.sources.wake(source_id, due_ms=0)
    await store.erasures.announce(article_ids)
    return Erasure(articles=receipts, deleted=deleted, copies=copies)


async def _tombstone(store: Store, article_id: str, now: datetime) -> Receipt:
    receipt = await store.articles.erase(article_id, now=now)
    if receipt is None:
        # Of an article that retention has removed, only its mark is left to change.
        await store.removals.erase(article_id)
        receipt = Receipt(id=article_id, status="erased", revision=0, event_id="")
    return receipt


async def _copies(store: Store, articles: Sequence[Article]) -> list[str]:
    """Ids of what other sources published of the same, and this archive still shows the text of."""
    erased = {article.id for article in articles}
    ids: dict[str, None] = {}
    twins_of = await store.duplicates.twins_of([article.id for article in articles])
    for article in articles:
        ids.update(dict.fromkeys(twins_of.get(article.id, ())))
        ids.update({article.duplicate_of: None} if article.duplicate_of else {})
    others = [article_id for article_id in ids if article_id not in erased]
    copies = await store.articles.get(others)
    return [article.id for article in copies if article and not article.erased]
