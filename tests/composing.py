"""Articles for tests: made of a few values, and of the entries of a parsed document."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from service.articles.article import LIVE, Article, Draft, Enclosure
from service.errors import InvalidInput
from workers.ingest.documents import ParseJob, drafts_of
from workers.ingest.parse import Document

NOON = datetime(2017, 12, 22, 12, tzinfo=UTC)
AFTERNOON = datetime(2017, 12, 22, 16, 41, 7, tzinfo=UTC)
_SHORT = Article(
    id="i", source="s", guid="g", url="u", title="t", summary="s", content_html="c", authors=(),
    categories=("a/b",), tags=(), language="", image="", enclosures=(), attribution="",
    raw_published="", published=NOON, updated=NOON, first_seen=NOON, revision=1, content_hash="h",
    status=LIVE,
)  # fmt: skip
# As pages for people show it.
TITLES = {"media-center": "Media Center", "media-center/harbour-news": "Harbour News"}
FERRY = replace(
    _SHORT, id="0b5c2f4e-6a53-5f0e-9f43-2f3a6f0a1c11", source="https://harbour.example/", guid="1",
    url="https://harbour.example/ferry?a=1&b=2", title="Ferry sails again",
    summary="The fog has lifted.", content_html="<p>The fog has <em>lifted</em>.</p>",
    authors=("Maud Ellery",), categories=("media-center/harbour-news",), language="en-GB",
    attribution="Harbour Office", published=AFTERNOON, updated=AFTERNOON, first_seen=AFTERNOON,
)  # fmt: skip


def article(**fields: Any) -> Article:
    """An article of NOON with one letter in most fields, except these."""
    return replace(_SHORT, **fields)


def full_article(number: int = 1, **fields: Any) -> Article:
    """An article with a value in every field but its image, except these; a higher number is older
    by hours."""
    published = AFTERNOON - timedelta(hours=number)
    numbered = Article(
        id=f"00000000-0000-5000-8000-{number:012d}", source="http://s.example/feed",
        guid=str(number), url=f"http://s.example/{number}?a=1&b=2", title=f"Number {number}",
        summary="A summary & more", content_html="<p>Text &amp; “more”</p>",
        authors=("Mira Solheim", "J. Ferreira"), categories=("media-center/coalition-news",),
        tags=("Ferries",), language="en", image="",
        enclosures=(
            Enclosure(url="http://s.example/a.mp3", type="audio/mpeg", length=123),
            Enclosure(url="http://s.example/b.ogg", type="audio/ogg", length=5),
        ),
        attribution="", raw_published="", published=published, updated=published,
        first_seen=AFTERNOON, revision=1, content_hash="", status=LIVE,
    )  # fmt: skip
    return replace(numbered, **fields)


def compose_all(
    document: Document, *, name: str, category: str = "", url: str = ""
) -> tuple[list[Draft], list[InvalidInput]]:
    """(drafts, why the other entries were rejected)."""
    job = ParseJob(url=url, added_url=url, categories=(category,) if category else ())
    outcomes = [outcome for _, outcome in drafts_of(document, job, name=name)]
    return (
        [draft for draft in outcomes if isinstance(draft, Draft)],
        [exc for exc in outcomes if isinstance(exc, InvalidInput)],
    )
