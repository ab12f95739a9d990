"""Full texts: the pages of new articles whose feed cuts their texts.

    teasers → which pages are wanted → fetch → text of the page → article with it → append

A new article waits for its page, so that it is published once: HOLD_S at most for all of one poll.
What has no page by then is published with the text of the feed, and its page is fetched at the next
poll. A page is fetched once for each revision of its entry, whatever guid or link the entry has by
then; it takes a turn of its host among the polls of all workers. After MAX_TRIES failures the text
of the feed stands. What a rule drops for the text of its page is dropped.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Any

import orjson

from service.articles.article import Article
from service.articles.encoded import EncodedArticle
from service.articles.times import to_ms
from service.errors import FetchFailed, InvalidInput, ParseFailed
from service.http import checked_url, host_of
from service.settings import Settings
from service.sources.source import Source
from service.storage.page_marks import FULL, REFUSED, TEASER, WAITING, PageMark
from service.storage.store import Store
from workers.http_client import OutboundClient, typed_by_operator
from workers.ingest.fetch import Fetched, OnLarge, Refused, fetch
from workers.ingest.intake import AppendedDocument, Intake
from workers.runtime import Clock

logger = logging.getLogger(__name__)

HOLD_S = 20.0
PAGE_TIMEOUT_S = 10.0
MAX_TRIES = 3
# Pages that one poll fetches: a feed of 10,000 entries must not direct an attack on somebody.
MAX_PAGES = 60
# Longest time for all pages of one poll, and for one page.
MAX_CHARS, PAGE_MAX_BYTES = 10_000_000, 5_000_000
# A host whose pages fail like this is left alone until the next poll.
MAX_FAILURES_IN_A_ROW = 3
# A stored text that is so much longer than the feed's is that of a page.
LONGER = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedTexts:
    """What became of the teasers of one document, which were appended."""

    counts: Counter[str] = field(default_factory=Counter)
    """Status of the receipt → number of articles."""
    dropped: int = 0
    """Number of articles that a rule dropped for the text of their pages."""
    waiting: bool = False
    """Whether pages are still to be fetched."""
    note: str = ""
    """For operators; empty if no page was wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Teaser:
    """An article whose text is cut."""

    article: EncodedArticle
    """The draft of its entry."""
    id: str
    """Of the article that it is: another one than that of its entry if the guid or link changed."""
    has_own_link: bool
    """False if the link of its entry is another one at each poll."""
    mark: PageMark | None
    stored: Article | None


@dataclass(slots=True, kw_only=True)
class _Work:
    """The teasers of one document on their way."""

    rules: bytes
    """The rules of the source."""
    marks: dict[str, PageMark] = field(default_factory=dict)
    """Id of the article → its mark after the work."""
    append: list[EncodedArticle] = field(default_factory=list)
    pages: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Id of the entry → URL and text of the page."""
    wanted: list[_Teaser] = field(default_factory=list)
    dropped: int = 0
    failures: list[str] = field(default_factory=list)
    waiting: int = 0
    """Pages that are to be fetched at the next poll."""

    def hash_under_rules(self, article: EncodedArticle) -> str:
        """Hash of an entry and of the rules, of which one drops it for the text of its page."""
        return blake2b(article.content_hash.encode() + self.rules, digest_size=8).hexdigest()


class FullTexts:
    """Completes teasers by the texts of their pages, and appends them."""

    def __init__(
        self, store: Store, settings: Settings, client: OutboundClient, intake: Intake, *,
        now: Clock,
    ) -> None:  # fmt: skip
        self._store = store
        self._settings = settings
        self._client = client
        self._intake = intake
        self._now = now

    async def complete(
        self, source: Source, fetched: Fetched, appended: AppendedDocument, *, on_large: OnLarge
    ) -> CompletedTexts:
        """Append the teasers of a document, those that are new with the texts of their pages.

        Args:
            on_large: see `fetch`; for the document and one page at a time.

        Raises:
            Unavailable: Redis cannot be reached; the document is read again.
        """
        if not appended.teasers:
            return CompletedTexts()
        standing = frozenset(appended.report.ids)
        teasers = await self._teasers(source, appended.teasers, standing)
        work = _Work(rules=orjson.dumps(source.rules))
        for teaser in teasers:
            _sort(work, teaser)
        tried = await self._fetch_pages(source, work, on_large)
        for teaser in work.wanted:
            if teaser.article.id not in work.pages:
                _give_up(work, teaser, is_tried=teaser.article.id in tried)
        articles = await self._with_pages(source, fetched, work, teasers)
        receipts = await self._intake.append(source, appended.report, articles)
        counts = Counter(receipt.status for receipt in receipts)
        counts["unchanged"] += len(teasers) - len(articles) - work.dropped
        of_entry = {teaser.article.id: teaser for teaser in teasers}
        for article, receipt in zip(articles, receipts, strict=True):
            if receipt.status == "removed":
                teaser = of_entry[article.id]
                work.marks[teaser.id] = _mark(teaser.article, REFUSED)
        await self._store.page_marks.put(source, work.marks, present=appended.report.ids)
        return CompletedTexts(
            counts=counts, dropped=work.dropped, waiting=bool(work.waiting), note=_note(work)
        )

    async def _teasers(
        self, source: Source, articles: Sequence[EncodedArticle], standing: frozenset[str]
    ) -> list[_Teaser]:
        """Articles whose texts are cut, with what is known of them."""
        resolved = await self._store.articles.resolved(articles, standing=standing)
        ids = [article.id for article in resolved]
        marks = await self._store.page_marks.get(source, ids)
        stored = await self._store.articles.get(ids)
        return [
            _Teaser(
                article=article,
                id=known.id,
                has_own_link=bool(known.full_hash),
                mark=marks.get(known.id),
                stored=before,
            )
            for article, known, before in zip(articles, resolved, stored, strict=True)
        ]

    async def _fetch_pages(self, source: Source, work: _Work, on_large: OnLarge) -> set[str]:
        """Fetch the wanted pages within HOLD_S; the ids of the articles that were tried."""
        tried: set[str] = set()
        in_a_row: Counter[str] = Counter()
        hosts: set[str] = set()
        try:
            async with asyncio.timeout(HOLD_S):
                for article in [teaser.article for teaser in work.wanted[:MAX_PAGES]]:
                    if sum(len(text) for _, text in work.pages.values()) > MAX_CHARS:
                        break
                    url = _url_of(article)
                    host = host_of(url)
                    if in_a_row[host] >= MAX_FAILURES_IN_A_ROW:
                        tried.add(article.id)
                        continue
                    hosts.add(host)
                    await self._wait_for_turn(host)
                    tried.add(article.id)
                    try:
                        text = await self._text_of(source, url, on_large)
                    except (FetchFailed, ParseFailed) as exc:
                        # A host that cannot be reached would cost each of its pages a timeout.
                        is_answer = isinstance(exc, Refused | ParseFailed)
                        in_a_row[host] += 1 if is_answer else MAX_FAILURES_IN_A_ROW
                        reason = exc.reason if isinstance(exc, FetchFailed) else str(exc)
                        work.failures.append(f"{url}: {reason}")
                        extra = {"source": source.url, "url": url, "reason": reason}
                        logger.info("a page has no text", extra=extra)
                    else:
                        in_a_row[host] = 0
                        work.pages[article.id] = (url, text)
        except TimeoutError:
            logger.info("articles wait no longer for their pages", extra={"source": source.url})
        for host in hosts - {source.host}:
            await self._store.claims.end_turns(host, now_ms=to_ms(self._now()))
        return tried

    async def _wait_for_turn(self, host: str) -> None:
        spacing_ms = int(self._settings.poll_spacing_s * 1000)
        wait_ms = await self._store.claims.turn(
            host, now_ms=to_ms(self._now()), spacing_ms=spacing_ms
        )
        await asyncio.sleep(wait_ms / 1000)

    async def _text_of(self, source: Source, url: str, on_large: OnLarge) -> str:
        """Return the text of an article's page. Raises FetchFailed and ParseFailed."""
        try:
            checked_url(url)
        except InvalidInput as exc:
            raise FetchFailed(url, exc.reason) from exc
        # On another host it has none of the source's secrets, and is a stranger's.
        there = source.moved(url, "")
        settings = self._settings
        bounds = {
            "fetch_timeout_s": min(PAGE_TIMEOUT_S, settings.fetch_timeout_s),
            "fetch_max_bytes": min(PAGE_MAX_BYTES, settings.fetch_max_bytes),
        }
        page = await fetch(
            self._client,
            url,
            settings.model_copy(update=bounds),
            provenance=typed_by_operator(source.operator_url),
            private=there.private_headers,
            transport=there.transport,
            on_large=on_large,
        )
        return await self._intake.text_of_page(source, page)

    async def _with_pages(
        self, source: Source, fetched: Fetched, work: _Work, teasers: Sequence[_Teaser]
    ) -> list[EncodedArticle]:
        """The articles to be appended, in the order of the document."""
        composed: dict[str, EncodedArticle] = {}
        dropped: frozenset[str] = frozenset()
        if work.pages:
            composed, dropped = await self._intake.with_page_texts(source, fetched, work.pages)
        chosen = {article.id: article for article in work.append}
        for teaser in teasers:
            article = teaser.article
            if article.id in dropped:
                mark = replace(_mark(article, REFUSED), content_hash=work.hash_under_rules(article))
                work.marks[teaser.id] = mark
                work.dropped += 1
            elif article.id in work.pages:
                chosen[article.id] = composed.get(article.id, article)
                is_full = chosen[article.id].content_hash != article.content_hash
                work.marks[teaser.id] = _mark(article, FULL if is_full else TEASER)
        ids = [teaser.article.id for teaser in teasers]
        return [chosen[article_id] for article_id in ids if article_id in chosen]


def _sort(work: _Work, teaser: _Teaser) -> None:
    """Decide what becomes of one teaser: append it, leave it, fetch its page, or compose it with
    the text that is stored."""
    article, mark, stored = teaser.article, teaser.mark, teaser.stored
    refused = mark.content_hash if mark and mark.state == REFUSED else ""
    if refused == work.hash_under_rules(article):
        work.dropped += 1
    elif stored is None and refused == article.content_hash:
        # Retention has removed it, which storage says again.
        work.append.append(article)
    elif stored is None:
        work.wanted.append(teaser)
    elif mark is None:
        # It was there before pages were fetched, or the marks are lost.
        if len(stored.content_html) > LONGER * len(_fields(article)["content_html"]):
            work.marks[teaser.id] = _mark(article, FULL)
        else:
            work.marks[teaser.id] = _mark(article, TEASER)
            work.append.append(article)
    elif mark.state == WAITING or mark.content_hash != article.content_hash:
        work.wanted.append(teaser)
    elif mark.state == TEASER:
        work.append.append(article)
        work.marks[teaser.id] = _mark(article, TEASER)
    elif mark.full_hash != article.full_hash and teaser.has_own_link:
        # Its file or its link was corrected: its text is that of the same page.
        work.pages[article.id] = (stored.url, stored.content_html)


def _give_up(work: _Work, teaser: _Teaser, *, is_tried: bool) -> None:
    """Decide what becomes of a teaser whose page could not be fetched."""
    article, mark = teaser.article, teaser.mark
    tries = (mark.tries if mark else 0) + is_tried
    if mark and mark.state == FULL and tries < MAX_TRIES and teaser.stored:
        # A text of the page is stored: the feed's would be less. The entry's hashes stay those of
        # before, so that the page is wanted again.
        work.marks[teaser.id] = replace(mark, tries=tries)
        work.waiting += 1
        return
    state = TEASER if tries >= MAX_TRIES else WAITING
    work.waiting += state == WAITING
    work.marks[teaser.id] = replace(_mark(article, state), tries=tries)
    work.append.append(article)


def _mark(article: EncodedArticle, state: str) -> PageMark:
    return PageMark(state, article.content_hash, article.full_hash)


def _fields(article: EncodedArticle) -> dict[str, Any]:
    fields: dict[str, Any] = orjson.loads(article.doc)
    return fields


def _url_of(article: EncodedArticle) -> str:
    url: str = _fields(article)["url"]
    return url


def _note(work: _Work) -> str:
    if not work.wanted:
        return ""
    fetched = [teaser for teaser in work.wanted if teaser.article.id in work.pages]
    full = sum(work.marks[teaser.id].state == FULL for teaser in fetched)
    note = f"{len(work.wanted)} pages wanted, {len(fetched)} fetched, {full} texts longer"
    note += f", {work.waiting} waiting" if work.waiting else ""
    return f"{note} ({work.failures[0][:300]})" if work.failures else note
