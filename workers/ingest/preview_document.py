"""Preview of a document: the articles that it would bring, the raw values beside what was read of
them, and the reasons of those that it would not bring. Pure; parser processes run it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from zoneinfo import ZoneInfo

from service.articles.article import Draft, Entry
from service.articles.text import normalized
from service.articles.times import to_rfc3339
from service.errors import InvalidInput, ParseFailed
from workers.ingest.apply_rules import RuledEntry
from workers.ingest.documents import (
    ParseJob,
    identities_in,
    parsed,
    report_of,
    ruled_drafts_of,
)
from workers.ingest.parse import Document, raw_items
from workers.ingest.parse.guess import guess
from workers.ingest.parse_report import ParseReport

MAX_CHARS = 500
"""Longest value that is shown."""
ARTICLE, DROPPED, REJECTED = "article", "dropped", "rejected"


def preview_document(job: ParseJob, body: bytes) -> tuple[ParseReport, dict[str, Any]]:
    """What the document is, and its preview: `counts`, `items`, `selected`,
    and `proposals` of selectors if they are asked for."""
    try:
        document = parsed(job, body)
    except ParseFailed as exc:
        return ParseReport(error=str(exc)), _preview([], job, []) | _proposals(job, body)
    identities = identities_in(document, job, name=job.added_url)
    report = report_of(document, job)
    raw: list[dict[str, list[str]]] = []
    if job.select:
        raw = raw_items(body, select=job.select, url=job.url, content_type=job.content_type)
    items = [] if report.error else list(_items(document, job, identities, raw))
    return report, _preview(items, job, raw) | _proposals(job, body)


def _proposals(job: ParseJob, body: bytes) -> dict[str, Any]:
    """Selectors for the document, if they are asked for."""
    if not job.is_guess:
        return {}
    proposals = guess(body, url=job.url, content_type=job.content_type, zone=ZoneInfo(job.zone))
    return {
        "proposals": [
            {"select": each.select, "items": each.items, "titles": list(map(_shown, each.titles))}
            for each in proposals
        ]
    }


def _preview(
    items: list[dict[str, Any]], job: ParseJob, raw: list[dict[str, list[str]]]
) -> dict[str, Any]:
    statuses = [item["status"] for item in items]
    return {
        "counts": {name: statuses.count(name) for name in (ARTICLE, DROPPED, REJECTED)},
        "selected": {
            name: sum(bool(values[name]) for values in raw) for name in (raw[0] if raw else ())
        },
        "items": items[: job.preview],
    }


def _items(
    document: Document, job: ParseJob, identities: Sequence[tuple[str, str]],
    raw: list[dict[str, list[str]]],
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Each item in the order of the document. A reject of the parser stands where it was, if that
    has a number, else at the end."""
    rejects = {reject.where: reject.reason for reject in document.rejects}
    number = 0
    for entry, ruled, draft in ruled_drafts_of(document.entries, job, identities):
        number += 1
        while f"item {number}" in rejects:
            yield _rejected(number, rejects.pop(f"item {number}"), raw)
            number += 1
        yield _item(number, entry, ruled, draft, raw)
    for where, reason in rejects.items():
        number += 1
        known = int(where[5:]) if where.startswith("item ") and where[5:].isdecimal() else 0
        yield _rejected(known or number, reason, raw)


def _rejected(number: int, reason: str, raw: list[dict[str, list[str]]]) -> dict[str, Any]:
    shown = _raw_of(number, raw)
    return {
        "number": number, "status": REJECTED, "reason": reason, "raw": shown, "article": None,
        "rules": [],
    }  # fmt: skip


def _raw_of(number: int, raw: list[dict[str, list[str]]]) -> dict[str, Any]:
    values = raw[number - 1] if number <= len(raw) else {}
    return {name: list(map(_shown, texts)) for name, texts in values.items()}


def _item(
    number: int, entry: Entry, ruled: RuledEntry, draft: Draft | InvalidInput | None,
    raw: list[dict[str, list[str]]],
) -> dict[str, Any]:  # fmt: skip
    item: dict[str, Any] = {"number": number, "status": ARTICLE, "reason": ""}
    if draft is None:
        item |= {"status": DROPPED, "reason": ruled.steps[-1].removesuffix(": dropped it")}
    elif isinstance(draft, InvalidInput):
        item |= {"status": REJECTED, "reason": str(draft)}
    elif entry.raw_published and entry.published is None:
        item["reason"] = "its date is not understood: it is dated when it is first seen"
    item["raw"] = _raw_of(number, raw) or _raw_of_entry(entry)
    item["rules"] = list(ruled.steps)
    item["article"] = _article(draft) if isinstance(draft, Draft) else None
    return item


def _raw_of_entry(entry: Entry) -> dict[str, Any]:
    """What a format says, without what it leaves out."""
    values: dict[str, Any] = {
        "guid": _shown(entry.guid),
        "link": _shown(entry.url),
        "title": _shown(entry.title),
        "date": _shown(entry.raw_published),
        "content": _shown(entry.content_html or entry.summary),
        "author": list(map(_shown, entry.authors)),
        "category": list(map(_shown, entry.categories)),
        "image": _shown(entry.image),
    }
    return {name: value for name, value in values.items() if value}


def _article(draft: Draft) -> dict[str, Any]:
    return {
        "id": draft.id,
        "url": draft.url,
        "title": draft.title,
        "published": to_rfc3339(draft.published) if draft.published else None,
        "summary": draft.summary,
        "content_html": _shown(draft.content_html),
        "authors": draft.authors,
        "categories": ["/".join(category.titles) for category in draft.categories],
        "tags": draft.tags,
        "image": draft.image,
        "enclosures": [enclosure.url for enclosure in draft.enclosures],
        "language": draft.language,
    }


def _shown(text: str) -> str:
    text = normalized(text[: 2 * MAX_CHARS])
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
