"""Import: files, folders and URLs, once. What `dateline import` does.

Each article is kept or rejected by itself, and a file that cannot be read is one reject: nothing is
left half-done, and importing again changes nothing.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import orjson

from service.articles.article import Article, Draft, Entry
from service.articles.times import to_ms
from service.errors import DatelineError, InvalidInput, Unavailable
from service.settings import Settings
from service.sources.source import make_source as make_source
from service.storage.store import Store
from workers.ingest.documents import ParseJob, drafts_of, packer
from workers.ingest.fetch import fetch
from workers.ingest.identify import FILE_SOURCE
from workers.ingest.parse import Document, parse
from workers.runtime import Clock

CHUNK = 500
# Of NDJSON that are parsed at a time; under parse.document.MAX_ENTRIES.
LINES = 5_000
Drafts = list[tuple[Entry, Draft]]
_PARAGRAPH = re.compile(r"</p>\s*")


@dataclass(slots=True, kw_only=True)
class Summary:
    """What became of everything."""

    counts: Counter[str] = field(default_factory=Counter)
    """new, updated, unchanged, rejected, sources → how many."""
    rejects: list[dict[str, str]] = field(default_factory=list)
    """where and reason of each reject."""

    def reject(self, where: str, reason: str) -> None:
        """Note one."""
        self.counts["rejected"] += 1
        self.rejects.append({"where": where, "reason": reason})


def expand(targets: Sequence[str]) -> Iterator[str]:
    """URLs as they are, files, and every file in folders, in the order of their names."""
    for target in targets:
        path = Path(target)
        if _is_url(target) or not path.is_dir():
            yield target
        else:
            yield from (
                str(found)
                for found in sorted(path.rglob("*"))
                if found.is_file() and not _is_hidden(found.relative_to(path))
            )


class Importer:
    """Imports into a store."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        client: aiohttp.ClientSession,
        *,
        now: Clock,
        category: str = "",
    ) -> None:
        self._store = store
        self._settings = settings
        self._client = client
        self._now = now
        self._category = category
        self.summary = Summary()

    async def take(self, target: str, *, progress: Callable[[float], None]) -> None:
        """Import one file or URL; `progress` gets the share of it that was done since
        its last call."""
        try:
            body, url, content_type = await self._read(target)
            parts, name = _parts(body), target if url else Path(target).name
            for number, part in enumerate(parts):
                document = await asyncio.to_thread(
                    parse, part, url=url, content_type=content_type, zone=self._settings.timezone
                )
                where = f"{target}, after line {number * LINES}" if number else target
                await self._keep(
                    document, where, name, url, lambda done: progress(done / len(parts))
                )
        except Unavailable:
            raise
        except (DatelineError, OSError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
            self.summary.reject(target, reason)

    async def _read(self, target: str) -> tuple[bytes, str, str]:
        """(bytes, URL or empty, content type or empty)."""
        if _is_url(target):
            fetched = await fetch(self._client, target, self._settings)
            return fetched.body, fetched.url, fetched.content_type
        return await asyncio.to_thread(Path(target).read_bytes), "", ""

    async def _keep(
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
        for link in document.feeds:
            await self._add_source(target, {"url": link.url, "category": link.category})
        job = ParseJob(url=url, added_url=url, category=self._category)
        found = await asyncio.to_thread(list, drafts_of(document, job, name=name))
        for _, exc in found:
            if isinstance(exc, InvalidInput):
                self.summary.reject(target, str(exc))
        drafts = [(entry, draft) for entry, draft in found if isinstance(draft, Draft)]
        if drafts and drafts[0][1].source == FILE_SOURCE:
            drafts = await self._apart(document, drafts, name)
        packed = packer(document)
        for at in range(0, len(drafts), CHUNK):
            chunk = [packed(entry, draft) for entry, draft in drafts[at : at + CHUNK]]
            for receipt in await self._store.articles.append(chunk, now=self._now()):
                self.summary.counts["new" if receipt.status == "created" else receipt.status] += 1
            progress(len(chunk) / len(drafts))

    async def _add_source(self, target: str, fields: dict[str, object]) -> None:
        now = self._now()
        try:
            source = make_source(fields, created=now)
        except DatelineError as exc:
            self.summary.reject(target, str(exc))
            return
        added = await self._store.sources.add(source, due_ms=to_ms(now))
        self.summary.counts["sources" if added else "unchanged"] += 1

    async def _apart(self, document: Document, drafts: Drafts, name: str) -> Drafts:
        """Two pages of one name, category and day that share nothing are two articles, not an
        edit: the second is then known by its title, too."""
        stored = await self._store.articles.get([draft.id for _, draft in drafts])
        if not any(map(_is_another, stored, (draft for _, draft in drafts))):
            return drafts
        job = ParseJob(url="", category=self._category)
        found = drafts_of(document, job, name=f"{name}\0{drafts[0][1].title}")
        return [(entry, draft) for entry, draft in found if isinstance(draft, Draft)]


def _parts(body: bytes) -> list[bytes]:
    """NDJSON in pieces of LINES, for an exported archive has no largest size; others whole."""
    if not body.startswith(b"{") or body.count(b"\n") <= LINES:
        return [body]
    lines = body.splitlines(keepends=True)
    try:
        orjson.loads(lines[0])
    except orjson.JSONDecodeError:
        return [body]
    return [b"".join(lines[at : at + LINES]) for at in range(0, len(lines), LINES)]


def _is_hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_another(stored: Article | None, draft: Draft) -> bool:
    if stored is None or stored.title == draft.title:
        return False
    return _paragraphs(stored.content_html).isdisjoint(_paragraphs(draft.content_html))


def _paragraphs(content: str) -> set[str]:
    return {part.strip() for part in _PARAGRAPH.split(content) if part.strip()}


def _is_url(target: str) -> bool:
    return target.startswith(("http://", "https://"))
