"""Retention: which articles of an archive a policy does not keep, and their removal.

Every article is looked at: the indexes have neither those that are withdrawn nor the hidden copies
of other sources. Heads are read first, a fifth of a kilobyte each, and documents only of articles
that are older than some rule's floor.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from service.articles import times
from service.articles.aliases import canonical
from service.articles.article import Article
from service.articles.head import decode_head
from service.articles.retention import Floor, RetentionPolicy
from service.feeds.index_step import IndexStep, removal_step
from service.storage.duplicates import Mark
from service.storage.store import Store
from service.storage.stored import decoded

# Articles that one pipeline of scripts removes, 50 us each.
REMOVED_AT_ONCE = 50
MAX_EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Expired:
    """An article that no category keeps, as it was read."""

    article: Article
    idx: bytes
    """What the indexes contain of it (index.lua)."""
    head: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some articles that were looked at."""

    examined: int
    expired: Sequence[Expired]


async def floors_of(store: Store, policy: RetentionPolicy, *, now: datetime) -> dict[str, Floor]:
    """Path of each rule → its floor now."""
    floors: dict[str, Floor] = {}
    for rule in policy.rules:
        oldest = None
        if rule.max_articles is not None:
            oldest = await store.category_ranks.nth_newest(rule.path, rule.max_articles)
        floors[rule.path] = rule.floor(oldest, now=now)
    return floors


async def expired(store: Store, policy: RetentionPolicy, *, now: datetime) -> AsyncIterator[Chunk]:
    """Look at every article, some hundred at a time. An article may be looked at twice."""
    floors = await floors_of(store, policy, now=now)
    highest = max(floors.values(), default=(float("-inf"), ""))
    async for ids in store.articles.all_ids():
        # In the order of feeds, an article that is not older than any floor is kept.
        stored = zip(ids, await store.articles.indexed(ids), strict=True)
        old = {i: (idx, head) for i, (idx, head) in stored if _is_below(i, head, highest)}
        pairs = await store.articles.get_with_heads(list(old))
        expired_articles = [
            Expired(article=article, idx=idx, head=head)
            for (idx, head), pair in zip(old.values(), pairs, strict=True)
            if pair and pair[0] == head and _is_expired(article := pair[1], policy, floors)
        ]
        yield Chunk(examined=len(ids), expired=expired_articles)


def _is_below(article_id: str, head: bytes, floor: Floor) -> bool:
    ms = decoded(_published_ms, head, what=f"head of article {article_id}") if head else None
    return ms is not None and (ms, article_id) < floor


def _published_ms(head: bytes) -> int:
    return times.to_ms(times.from_rfc3339(decode_head(head)["published"]))


def _is_expired(article: Article, policy: RetentionPolicy, floors: Mapping[str, Floor]) -> bool:
    # A tombstone keeps an erased article from coming back, and has no text.
    place = float(times.to_ms(article.published)), article.id
    return not article.erased and policy.is_expired(floors, place, article.categories)


async def remove(
    store: Store, articles: Sequence[Expired], *, now: datetime, zone: tzinfo,
    all_views: Collection[str],
) -> list[IndexStep]:  # fmt: skip
    """Remove articles wholly; the steps that were taken, one for each that had not changed.

    Copies that an article has hidden are shown again, before it goes: they may be kept for longer.
    """
    taken_steps: list[IndexStep] = []
    for at in range(0, len(articles), REMOVED_AT_ONCE):
        part = articles[at : at + REMOVED_AT_ONCE]
        await _show_copies(store, [each.article.id for each in part])
        steps = [
            (
                removal_step(
                    each.article, each.idx, stamp_ms=times.to_ms(now), zone=zone,
                    all_views=all_views,
                ),
                each.head,
            )
            for each in part
        ]  # fmt: skip
        removed = await store.removals.remove(steps, now=now)
        removed_articles = [
            each.article for each, is_done in zip(part, removed, strict=True) if is_done
        ]
        await store.duplicates.leave(
            [(a.id, canonical(a.url) if a.url else "", a.duplicate_of) for a in removed_articles]
        )
        taken_steps += [step for (step, _), is_done in zip(steps, removed, strict=True) if is_done]
    return taken_steps


async def _show_copies(store: Store, article_ids: Sequence[str]) -> None:
    twins_of = await store.duplicates.twins_of(article_ids)
    ids = dict.fromkeys(twin for twins in twins_of.values() for twin in twins)
    copies = [copy for copy in await store.articles.get(list(ids)) if copy]
    await store.duplicates.mark_all(
        [Mark(article_id=copy.id) for copy in copies if copy.duplicate_of in twins_of]
    )
    await store.duplicates.forget_twins(twins_of)


@dataclass(slots=True, kw_only=True)
class Loss:
    """What a policy would remove from one category."""

    count: int = 0
    oldest: str = ""
    """Date of the oldest article, RFC 3339; `newest` likewise."""
    newest: str = ""
    examples: list[str] = field(default_factory=list)
    """Day, id and title of the first that were seen."""

    def add(self, article: Article) -> None:
        """Count one more article."""
        published = times.to_rfc3339(article.published)
        self.count += 1
        self.oldest = min(self.oldest or published, published)
        self.newest = max(self.newest, published)
        if len(self.examples) < MAX_EXAMPLES:
            self.examples.append(f"{published[:10]} {article.id} {article.title}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a policy would remove now."""

    policy: str
    examined: int
    removed: int
    categories: Mapping[str, Loss]
    """Category path → its loss; `none` for articles without a category."""


async def preview(store: Store, policy: RetentionPolicy, *, now: datetime) -> Preview:
    """Look at every article and remove nothing."""
    losses: dict[str, Loss] = {}
    seen: set[str] = set()
    examined = 0
    async for chunk in expired(store, policy, now=now):
        examined += chunk.examined
        for each in chunk.expired:
            if each.article.id not in seen:
                seen.add(each.article.id)
                for path in each.article.categories or ("none",):
                    losses.setdefault(path, Loss()).add(each.article)
    return Preview(
        policy=str(policy), examined=examined, removed=len(seen),
        categories=dict(sorted(losses.items())),
    )  # fmt: skip
