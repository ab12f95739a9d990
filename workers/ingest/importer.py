"""Import: read files, folders and URLs once, for `dateline import`.

Each article is appended or rejected by itself, and a file that cannot be read is one reject. An
import that breaks off can be repeated: importing again changes nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from pathlib import Path

import orjson

from service.articles.article import Article, Draft, Entry
from service.articles.category_creator import OPERATOR, CategoryCreator, free_paths
from service.articles.encoded import EncodedArticle
from service.articles.json_text import decode_json
from service.articles.text import without_forbidden
from service.errors import DatelineError, FetchFailed, InvalidInput, Unavailable
from service.manage import sources
from service.settings import Settings
from service.storage.articles import Receipt
from service.storage.store import Store
from workers.http_client import OutboundClient, typed_by_operator
from workers.ingest.documents import ParseJob, drafts_of, encoder
from workers.ingest.fetch import fetch
from workers.ingest.identify import FILE_SOURCE
from workers.ingest.parse import Document, parse
from workers.runtime import Clock

CHUNK = 500
# Lines of NDJSON that are parsed at a time; under parse.document.MAX_ENTRIES.
LINES = 5_000
Drafts = list[tuple[Entry, Draft]]
_PARAGRAPH = re.compile(r"</p>\s*")


@dataclass(slots=True, kw_only=True)
class Summary:
    """What an import has done so far."""

    counts: Counter[str] = field(default_factory=Counter)
    """new, updated, corrected, unchanged, rejected, sources → how many."""
    rejects: list[dict[str, str]] = field(default_factory=list)
    """where and reason of each reject."""

    def reject(self, where: str, reason: str) -> None:
        """Count one reject and note where and why."""
        self.counts["rejected"] += 1
        self.rejects.append({"where": where, "reason": reason})


def expand(targets: Sequence[str], settings: Settings) -> Iterator[str]:
    """URLs and files as they are; of a folder every file, sorted by path, but hidden ones and those
    that dateline itself keeps.

    Raises:
        InvalidInput: a target is empty, or one of dateline's own files.
    """
    for target in targets:
        path = Path(target)
        if not target.strip():
            raise InvalidInput("path", target, "is empty; the folder you are in is named `.`")
        if settings.is_own_file(path):
            raise InvalidInput("path", target, "is dateline's own, and may hold secrets")
        if _is_url(target) or not path.is_dir():
            yield target
        else:
            yield from (
                str(file)
                for file in sorted(path.rglob("*"))
                if file.is_file()
                and not _is_hidden(file.relative_to(path))
                and not settings.is_own_file(file)
            )


class Importer:
    """Imports files and URLs into a store, and sums up what it did."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        client: OutboundClient,
        *,
        now: Clock,
        category: str = "",
    ) -> None:
        self._store = store
        self._settings = settings
        self._client = client
        self._now = now
        self._categories = (category,) if category else ()
        self._free_categories = free_paths([category])
        self.summary = Summary()

    async def take(self, target: str, *, progress: Callable[[float], None]) -> None:
        """Import one file or URL. What cannot be read becomes a reject in the summary.

        Args:
            progress: is called with the share of the target that was done since its last call.

        Raises:
            Unavailable: Redis cannot be reached.
        """
        try:
            body, url, content_type = await self._read(target)
            pieces, name = _pieces(body), target if url else Path(target).name
            for number, piece in enumerate(pieces):
                document = await asyncio.to_thread(
                    parse, piece, url=url, content_type=content_type, zone=self._settings.timezone
                )
                where = f"{target}, after line {number * LINES}" if number else target
                await self._append(
                    document, where, name, url, lambda done: progress(done / len(pieces))
                )
        except Unavailable:
            raise
        except FetchFailed as exc:
            self.summary.reject(target, exc.reason if exc.url == target else str(exc))
        except (DatelineError, OSError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            self.summary.reject(target, reason)

    async def _read(self, target: str) -> tuple[bytes, str, str]:
        """(bytes, URL or empty, content type or empty)."""
        if _is_url(target):
            fetched = await fetch(
                self._client, target, self._settings, provenance=typed_by_operator(target)
            )
            return fetched.body, fetched.url, fetched.content_type
        return await asyncio.to_thread(Path(target).read_bytes), "", ""

    async def _append(
        self,
        document: Document,
        target: str,
        name: str,
        url: str,
        progress: Callable[[float], None],
    ) -> None:
        for reject in document.rejects:
            self.summary.reject(f"{target}, {reject.where}", reject.reason)
        if not document.entries and document.alternates:
            named = ", ".join(link.url for link in document.alternates[:3])
            self.summary.reject(target, f"has no article, but names feeds: {named}")
        # A list that was fetched is its publisher's: only its own site is the operator's.
        is_typed = typed_by_operator(name).covers if url else (lambda _: True)
        for answer in await sources.add_links(
            self._store,
            document.feeds,
            now=self._now(),
            is_typed=is_typed,
            with_settings=not url,
            progress=progress,
        ):
            if answer["status"] == "rejected":
                self.summary.reject(target, answer["error"])
                continue
            is_new = answer["status"] == "created"
            self.summary.counts["sources" if is_new else "unchanged"] += 1
        job = ParseJob(url=url, added_url=url, categories=self._categories)
        results = await asyncio.to_thread(list, drafts_of(document, job, name=name))
        for _, exc in results:
            if isinstance(exc, InvalidInput):
                self.summary.reject(target, str(exc))
        drafts = [(entry, draft) for entry, draft in results if isinstance(draft, Draft)]
        if drafts and drafts[0][1].source == FILE_SOURCE:
            drafts = await self._apart(document, drafts, name)
        encoded = encoder(document, polled_from=url)
        standing = frozenset(draft.id for _, draft in drafts)
        # Documents that do not name their origin share one source: each file counts for itself.
        counted_for = "" if url else f"{FILE_SOURCE}:{without_forbidden(name)}"
        theirs = CategoryCreator(name=counted_for, free=self._free_categories)
        for at in range(0, len(drafts), CHUNK):
            now = self._now()
            chunk = drafts[at : at + CHUNK]
            for is_exported, group in groupby(chunk, lambda pair: bool(pair[0].source and not url)):
                # An export names categories that an archive of the operator's had already.
                creator = OPERATOR if is_exported else theirs
                articles = [
                    encoded(entry, draft).with_history(entry, now=now) for entry, draft in group
                ]
                await self._append_articles(articles, creator, target, now, standing)
            progress(len(chunk) / len(drafts))

    async def _append_articles(
        self, articles: Sequence[EncodedArticle], creator: CategoryCreator, target: str,
        now: datetime, standing: frozenset[str],
    ) -> None:  # fmt: skip
        for receipt in await self._store.articles.append(
            articles, now=now, creator=creator, standing=standing
        ):
            self._count(receipt, target)

    def _count(self, receipt: Receipt, target: str) -> None:
        if receipt.status == "erased":
            self.summary.reject(target, f"{receipt.id} was erased, and is not taken in again")
        else:
            self.summary.counts["new" if receipt.status == "created" else receipt.status] += 1

    async def _apart(self, document: Document, drafts: Drafts, name: str) -> Drafts:
        """The drafts; with other ids if articles with these ids are stored that are not earlier
        versions: two pages of one name, category and day that share no paragraph are two articles,
        and the title then becomes part of the second one's identity."""
        stored = await self._store.articles.get([draft.id for _, draft in drafts])
        if not any(map(_is_another, stored, (draft for _, draft in drafts))):
            return drafts
        job = ParseJob(url="", categories=self._categories)
        results = drafts_of(document, job, name=f"{name}\0{drafts[0][1].title}")
        return [(entry, draft) for entry, draft in results if isinstance(draft, Draft)]


def _pieces(body: bytes) -> list[bytes]:
    """NDJSON in pieces of LINES, because an export may be of any size; other documents whole."""
    if not body.startswith(b"{") or body.count(b"\n") <= LINES:
        return [body]
    lines = body.splitlines(keepends=True)
    try:
        decode_json(lines[0])
    except orjson.JSONDecodeError:
        return [body]
    return [b"".join(lines[at : at + LINES]) for at in range(0, len(lines), LINES)]


def _is_hidden(path: Path) -> bool:
    return any(name.startswith(".") for name in path.parts)


def _is_another(stored: Article | None, draft: Draft) -> bool:
    if stored is None or stored.erased or stored.title == draft.title:
        return False
    return _paragraphs(stored.content_html).isdisjoint(_paragraphs(draft.content_html))


def _paragraphs(content: str) -> set[str]:
    return {text.strip() for text in _PARAGRAPH.split(content) if text.strip()}


def _is_url(target: str) -> bool:
    return target.lower().startswith(("http://", "https://"))
