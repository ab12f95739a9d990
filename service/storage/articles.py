"""Articles in Redis: append, withdraw, read, index.

One call of `append` is one script call per shard and MAX_BATCH articles: an article and its event
are stored together or not at all, and a call that is sent twice has one effect (append.lua).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from service.articles import times
from service.articles.article import Article, Draft
from service.articles.category_creator import OF_EACH_SOURCE, CategoryCreator
from service.articles.encoded import EncodedArticle, encode, erased_doc
from service.feeds.index_step import IndexStep
from service.storage import keys
from service.storage.aliases import Aliases
from service.storage.category_index import index_keys
from service.storage.category_limit import CategoryLimit
from service.storage.category_titles import merged_titles
from service.storage.client import Script, lua_script
from service.storage.commands import Client
from service.storage.compression import Dictionary, compressed
from service.storage.dictionaries import Dictionaries
from service.storage.removals import mark_of
from service.storage.shards import Shards
from service.storage.stored import text_of
from service.storage.stored_articles import categories_in, decoded_articles

# Redis serves no other client while a script runs: 100 articles take about 5 ms.
MAX_BATCH = 100
MAX_BATCH_BYTES = 4_000_000
SCAN_COUNT = 500
_ARTICLES = "dateline:{*}:article:*"
# Articles of one call of read.lua: half a megabyte.
READ_AT_ONCE = 100
# Of stored documents that the event loop decodes itself: about 15 articles of 4 kB, 1 ms.
DECODED_AT_ONCE_BYTES = 30_000

# As in append.lua: no result, but a reason to send it again.
_PLAINLY = "plainly"

_Answer = tuple[bytes, int, bytes]
"""(status, revision, event id), the reply of append.lua, withdraw.lua and erase.lua."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The result for one article; the API shows it with these field names."""

    id: str
    status: str
    """created | updated | corrected (something else than title, text and categories is stored anew,
    without a new revision) | unchanged | withdrawn | erased; of an append also `erased` and
    `removed`: it was not stored, because it was erased, or removed by retention (with revision 0).
    """
    revision: int
    event_id: str
    """Id of the last event of the article."""


class Articles:
    """All articles: append, withdraw, read, index."""

    def __init__(
        self,
        client: Client,
        *,
        shards: Shards,
        category_limit: CategoryLimit,
        dictionaries: Dictionaries,
    ) -> None:
        self._client = client
        self._shards = shards
        self._dictionaries = dictionaries
        self._aliases = Aliases(client, shards=shards)
        self._category_limit = category_limit
        durable = partial(lua_script, client, "article", "head", "event", is_durable=True)
        self._append: Script[list[_Answer] | None] = durable("append")
        self._withdraw: Script[_Answer | None] = durable("withdraw")
        self._erase: Script[_Answer | None] = durable("erase")
        self._index: Script[int] = lua_script(client, "article", "head", "versions", "index")
        self._read_many: Script[list[bytes | None]] = lua_script(client, "article", "read")

    async def append(
        self,
        drafts: Sequence[Draft | EncodedArticle],
        *,
        now: datetime,
        revive: bool = False,
        readmit: bool = True,
        creator: CategoryCreator = OF_EACH_SOURCE,
        standing: frozenset[str] = frozenset(),
    ) -> list[Receipt]:
        """Store the drafts, and append an event for each new or changed article. An article that
        was erased is never stored again.

        Args:
            revive: whether withdrawn articles become live again.
            readmit: whether articles that retention has removed are stored again, as new ones.
            creator: for whom the categories that do not exist yet count.
            standing: ids of all entries of the document that the drafts are from; none of the
                others is taken for one of them.

        Returns:
            A receipt for each draft, in order. If an exception ends the call, some drafts may be
            stored; the same call can be repeated.
        """
        encoded = [encode(draft) if isinstance(draft, Draft) else draft for draft in drafts]
        encoded = await self.resolved(encoded, standing=standing)
        encoded = await self._category_limit.apply(encoded, creator, now=now)
        receipts: dict[int, Receipt] = {}
        for shard, batch in _batches(encoded, self._shards):
            answers = await self._append_batch(
                shard, [d for _, d in batch], now, revive=revive, readmit=readmit
            )
            receipts.update(zip((i for i, _ in batch), answers, strict=True))
        return [receipts[i] for i in range(len(drafts))]

    async def resolved(
        self, articles: Sequence[EncodedArticle], *, standing: frozenset[str]
    ) -> list[EncodedArticle]:
        """The articles as `append` takes them, in their order: with the ids that they are known
        under, and without the hash of everything if their links are others at each poll."""
        return await self._aliases.resolve(articles, standing)

    async def _append_batch(
        self, shard: int, batch: list[EncodedArticle], now: datetime, *, revive: bool, readmit: bool
    ) -> list[Receipt]:
        dictionary = await self._dictionaries.newest(shard)
        append = partial(self._append_with, shard, now=now, revive=revive, readmit=readmit)
        receipts = await append(batch, dictionary)
        if receipts is None and dictionary:
            # Redis has lost the newest writes, and this process knows what they were.
            await self._dictionaries.put(shard, dictionary)
            receipts = await append(batch, dictionary)
        if receipts is None:
            receipts = await append(batch, None) or []
        plainly = [at for at, receipt in enumerate(receipts) if receipt.status == _PLAINLY]
        if plainly:
            again = await append([batch[at] for at in plainly], None) or []
            for at, receipt in zip(plainly, again, strict=True):
                receipts[at] = receipt
        return receipts

    async def _append_with(
        self,
        shard: int,
        batch: list[EncodedArticle],
        dictionary: Dictionary | None,
        *,
        now: datetime,
        revive: bool,
        readmit: bool,
    ) -> list[Receipt] | None:
        """None if the shard does not have the dictionary."""
        titles = {path: title for encoded in batch for path, title in encoded.titles}
        argv: list[str | bytes | int] = [
            times.to_rfc3339(now), times.to_ms(now), uuid.uuid4().hex, int(revive),
            int(readmit), dictionary.id if dictionary else "", len(titles),
        ]  # fmt: skip
        for pair in titles.items():
            argv.extend(pair)
        key_names = [
            keys.stream(shard), keys.dirty(shard), keys.categories(shard), keys.dictionaries(shard)
        ]  # fmt: skip
        for encoded in batch:
            marks, mark = mark_of(encoded.id, shard)
            key_names += [keys.article(shard, encoded.id), marks]
            # Of entries without a date the first is the newest.
            undated = times.to_rfc3339(now - timedelta(seconds=encoded.position))
            argv += [
                encoded.id, encoded.form, encoded.content_hash, encoded.dated_hash,
                encoded.full_hash, encoded.doc, compressed(encoded.doc, dictionary),
                encoded.published, encoded.updated, undated, encoded.history, mark,
            ]  # fmt: skip
        answers = await self._append(keys=key_names, args=argv)
        if answers is None:
            return None
        return [_receipt(e.id, answer) for e, answer in zip(batch, answers, strict=True)]

    async def withdraw(self, article_id: str, *, now: datetime) -> Receipt | None:
        """Withdraw an article from all feeds; its id stays known. None for an unknown id."""
        shard = self._shard(article_id)
        while True:
            ((doc, head),) = await self._read([article_id], "doc", "head")
            if not doc or not head:
                return None
            plain = await self._dictionaries.read(shard, doc)
            answer = await self._withdraw(
                keys=[keys.stream(shard), keys.dirty(shard), keys.article(shard, article_id)],
                args=[times.to_rfc3339(now), times.to_ms(now), article_id, head, plain],
            )
            if answer:
                return _receipt(article_id, answer)

    async def erase(self, article_id: str, *, now: datetime) -> Receipt | None:
        """Withdraw an article, if it is live, and replace its document by one without text. None
        for an unknown id. The copies of its text elsewhere stay (storage/erasures.py)."""
        shard = self._shard(article_id)
        while True:
            ((doc, head),) = await self._read([article_id], "doc", "head")
            if not doc or not head:
                return None
            await self._dictionaries.load([(shard, doc)])
            paths = categories_in(doc, self._dictionaries.plain)
            answer = await self._erase(
                keys=[keys.stream(shard), keys.dirty(shard), keys.article(shard, article_id)],
                args=[
                    times.to_rfc3339(now), times.to_ms(now), article_id, head,
                    erased_doc(article_id, paths),
                ],
            )  # fmt: skip
            if answer:
                return _receipt(article_id, answer)

    async def get(self, article_ids: Sequence[str]) -> list[Article | None]:
        """The articles in the order of the ids, withdrawn ones included; None for unknown ids."""
        return [pair and pair[1] for pair in await self.get_with_heads(article_ids)]

    async def heads(self, article_ids: Sequence[str]) -> list[bytes]:
        """The `head` of each article as stored (append.lua), empty for unknown ids; equal heads
        mean equal articles."""
        return [head or b"" for (head,) in await self._read(article_ids, "head")]

    async def get_with_heads(
        self, article_ids: Sequence[str]
    ) -> list[tuple[bytes, Article] | None]:
        """(head, article) in the order of the ids; None for unknown ids.

        Many or long articles are read in several round trips, and decoded in a thread: all of them
        at once would block the event loop.
        """
        pairs: list[tuple[bytes, Article] | None] = []
        for at in range(0, len(article_ids), READ_AT_ONCE):
            ids = article_ids[at : at + READ_AT_ONCE]
            stored = await self._read(ids, "doc", "head")
            docs = [doc for doc, _ in stored]
            await self._dictionaries.load(zip(map(self._shard, ids), docs, strict=True))
            decode = partial(decoded_articles, ids, stored, self._dictionaries.plain)
            is_short = sum(len(doc or b"") for doc in docs) <= DECODED_AT_ONCE_BYTES
            pairs += decode() if is_short else await asyncio.to_thread(decode)
        return pairs

    async def indexed(self, article_ids: Sequence[str]) -> list[tuple[bytes, bytes]]:
        """(`idx`, `head`) of each article: its index entries (index.lua) and its head as stored
        JSON, each empty if it does not exist."""
        stored = await self._read(article_ids, "idx", "head")
        return [(idx or b"", head or b"") for idx, head in stored]

    async def index(self, steps: Sequence[IndexStep]) -> list[bool]:
        """Apply index steps; False for those whose `before` or version does not hold any more.

        Idempotent.
        """
        if not steps:
            return []
        pipe = self._client.pipeline(transaction=False)
        self._index.load_in(pipe)
        for step in steps:
            shard = self._shard(step.article_id)
            key_names = [keys.article(shard, step.article_id), keys.dirty(shard)]
            argv: list[str | bytes | int] = [
                step.before, step.after, step.article_id, step.version, step.stamp_ms,
                keys.GONE_MAX, step.content_hash, keys.PAGE_CHANGES_MAX,
            ]  # fmt: skip
            for change in step.changes:
                key_names += index_keys(shard, change.category)
                argv += [
                    "" if change.score is None else change.score,
                    "" if change.withdrawn is None else change.withdrawn,
                    " ".join(change.periods),
                    change.category,
                ]
            key_names.append(keys.page_changes(shard))
            self._index.run_in(pipe, keys=key_names, args=argv)
        _, *done = await pipe.execute()
        return [bool(is_done) for is_done in done]

    async def dirty(self, *, before: datetime, limit: int = 500) -> list[str]:
        """Ids of articles whose index is out of date since before this time, oldest first."""
        dirty_ids: list[str] = []
        for shard in self._shards:
            ids = await self._client.zrangebyscore(
                keys.dirty(shard), "-inf", times.to_ms(before), start=0, num=limit
            )
            dirty_ids += [article_id.decode() for article_id in ids]
        return dirty_ids

    async def forget_dirty(self, article_ids: Sequence[str]) -> None:
        """Remove unknown ids from the set of articles whose index is behind."""
        pipe = self._client.pipeline(transaction=False)
        for article_id in article_ids:
            pipe.zrem(keys.dirty(self._shard(article_id)), article_id)
        await pipe.execute()

    async def all_ids(self) -> AsyncIterator[list[str]]:
        """Ids of all articles in chunks, in no order; an id may occur twice."""
        chunk: list[str] = []
        # Once for all shards: a scan looks at every key of the server.
        async for key in self._client.scan_iter(match=_ARTICLES, count=SCAN_COUNT):
            chunk.append(key.decode().rpartition(":")[2])
            if len(chunk) >= SCAN_COUNT:
                yield chunk
                chunk = []
        if chunk:
            yield chunk

    async def titles_of(self, paths: Sequence[str]) -> dict[str, str]:
        """Path → title, for the paths that exist."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipe.hmget(keys.categories(shard), paths)
        merged: dict[str, str] = {}
        replies: list[list[bytes | None]] = await pipe.execute()
        for titles in reversed(replies):
            pairs = zip(paths, titles, strict=True)
            merged.update({path: text_of(title) for path, title in pairs if title})
        return merged

    async def category_titles(self) -> dict[str, str]:
        """Path → title, for every category that ever had an article."""
        pipe = self._client.pipeline(transaction=False)
        for shard in self._shards:
            pipe.hgetall(keys.categories(shard))
        replies: list[dict[bytes, bytes]] = await pipe.execute()
        return await asyncio.to_thread(merged_titles, replies)

    async def category_counts(self) -> tuple[int, ...]:
        """For each shard the number of its categories; equal counts mean equal titles, because
        categories are only ever added."""
        return tuple([await self._client.hlen(keys.categories(shard)) for shard in self._shards])

    async def _read(self, article_ids: Sequence[str], *fields: str) -> list[list[bytes | None]]:
        by_shard: dict[int, list[int]] = {}
        for index, article_id in enumerate(article_ids):
            by_shard.setdefault(self._shard(article_id), []).append(index)
        pipe = self._client.pipeline(transaction=False)
        self._read_many.load_in(pipe)
        chunks: list[list[int]] = []
        for shard, indexes in by_shard.items():
            for at in range(0, len(indexes), READ_AT_ONCE):
                chunk = indexes[at : at + READ_AT_ONCE]
                names = [keys.article(shard, article_ids[index]) for index in chunk]
                self._read_many.run_in(pipe, keys=names, args=fields)
                chunks.append(chunk)
        stored: list[list[bytes | None]] = [[] for _ in article_ids]
        if chunks:
            size = len(fields)
            _, *replies = await pipe.execute()
            for chunk, values in zip(chunks, replies, strict=True):
                for number, index in enumerate(chunk):
                    stored[index] = values[number * size : (number + 1) * size]
        return stored

    def _shard(self, name: str) -> int:
        return self._shards.of(name)


def _batches(
    drafts: Sequence[EncodedArticle], shards: Shards
) -> Iterator[tuple[int, list[tuple[int, EncodedArticle]]]]:
    """Yield (shard, [(index, draft), …]): limited batches in which each article occurs once."""
    by_shard: dict[int, list[tuple[int, EncodedArticle]]] = {}
    for index, draft in enumerate(drafts):
        by_shard.setdefault(shards.of(draft.id), []).append((index, draft))
    for shard, indexed in by_shard.items():
        batch: list[tuple[int, EncodedArticle]] = []
        ids: set[str] = set()
        size = 0
        for index, draft in indexed:
            full = len(batch) == MAX_BATCH or size > MAX_BATCH_BYTES
            if full or draft.id in ids:
                yield shard, batch
                batch, ids, size = [], set(), 0
            batch.append((index, draft))
            ids.add(draft.id)
            size += len(draft.doc)
        yield shard, batch


def _receipt(article_id: str, answer: _Answer) -> Receipt:
    status, revision, event_id = answer
    return Receipt(
        id=article_id, status=status.decode(), revision=revision, event_id=event_id.decode()
    )
