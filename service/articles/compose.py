"""From an Entry to a Draft that storage can append: clean, identify, hash.

Files, feeds, pages and pushes all pass through it. Pure, and total on hostile input: what cannot be
stored is dropped, or refused with the name of the field.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from service.articles import categories, sanitize, urls
from service.articles.article import (
    MAX_NAME_CHARS,
    MAX_SUMMARY_CHARS,
    MAX_TITLE_CHARS,
    Detail,
    Draft,
    Enclosure,
    Entry,
    article_id,
)
from service.articles.categories import Category
from service.articles.hashes import content_hashes
from service.articles.podcast import cleaned
from service.articles.text import Plain, line, paragraphs, plain_text, spaces, without_forbidden
from service.errors import InvalidInput

MAX_CONTENT_CHARS = 2_000_000
MAX_TITLE_FROM_TEXT_CHARS = 120
MAX_LIST_ITEMS = 50
# Of the text of a page to that of its teaser: a shorter one is the same, or a notice of cookies.
LONGER = 1.3
MAX_SOURCE_CHARS = 2_000
OLDEST = datetime(1970, 1, 1, tzinfo=UTC)

# "(Source: Harbour Authority press desk)" as the last words of a text; Arabic in the same place.
_ATTRIBUTION = re.compile(
    r"\(\s*(?:source|المصدر)\s*[::]\s*([^()]{2,200}?)\s*\)[\s.]*$", re.IGNORECASE
)
# A full stop, question or exclamation mark (also Arabic and CJK) that ends a sentence.
_SENTENCE_END = re.compile(r"[.!?؟。!?…]+[\"”’»')]*(?=\s|$)|(?<=[。!?])")


def compose(entry: Entry, *, source: str, guid: str = "", content: str | None = None) -> Draft:
    """The draft of an entry.

    Args:
        entry: not cleaned.
        source: URI of the feed or site that the guid belongs to.
        guid: identity within the source, if the caller knows better than the entry.
        content: one of the results of `contents_of`, if the caller has it.

    Raises:
        InvalidInput: the entry has neither title nor text, or a value over its bound.
    """
    content = _content(entry) if content is None else content
    if len(source) > MAX_SOURCE_CHARS:
        # If it were cut, it would name another source.
        raise InvalidInput("source", source, f"over {MAX_SOURCE_CHARS} characters")
    text = plain_text(content)
    summary = line(entry.summary)
    url = _url(entry, "url", entry.url)
    enclosures = _enclosures(entry)
    # A file without a page: it is the link (RSS 2.0, item), but not the identity.
    link = url or (enclosures[0].url if enclosures else "")
    title = line(entry.title)[:MAX_TITLE_CHARS] or first_sentence(text or summary)
    if not title and entry.detail is not Detail.RECORD:
        # Pictures and notes are published without words; the publisher of a record gets an error.
        title = link[:MAX_TITLE_CHARS]
    if not title:
        raise InvalidInput("title", entry.title, "an article needs a title or a text")
    where = _categories(entry)
    paths = [category.path for category in where]
    published = _plausible(entry.published)
    guid = without_forbidden(guid or entry.guid).strip()
    news, dated = content_hashes(
        title=title, text=text or summary, date=published, categories=paths
    )
    return Draft(
        source=source,
        guid=guid or url or _fallback_guid(title, published, text),
        url=link,
        title=title,
        summary=shorten(summary or text, MAX_SUMMARY_CHARS),
        content_html=content or _html(entry.summary, entry),
        authors=_names(entry.authors),
        categories=where,
        tags=_names(entry.tags),
        language=entry.language,
        image=_url(entry, "image", entry.image),
        enclosures=enclosures,
        attribution=line(entry.attribution) or attribution(text),
        published=_shown_date(published, entry.accepted),
        raw_published=line(entry.raw_published),
        updated=_plausible(entry.updated),
        content_hash=news,
        dated_hash=dated,
        detail=entry.detail,
        podcast=cleaned(entry.podcast, partial(_url, entry)) if entry.podcast else None,
    )


def _content(entry: Entry) -> str:
    if len(entry.content_html) > MAX_CONTENT_CHARS:
        raise InvalidInput(
            "content_html", f"{len(entry.content_html)} characters", f"over {MAX_CONTENT_CHARS}"
        )
    return _html(entry.content_html, entry)


def contents_of(entries: Sequence[Entry]) -> list[str | None]:
    """The sanitised content of each entry, None if it is over its bound; in less time than it takes
    `compose` for one after another (see `sanitize.html_of_all`)."""
    bounded = [e for e in entries if len(e.content_html) <= MAX_CONTENT_CHARS]
    markup = [e for e in bounded if not isinstance(e.content_html, Plain)]
    cleaned = sanitize.html_of_all([_markup(e.content_html, e) for e in markup])
    contents: dict[int, str] = {id(e): text for e, text in zip(markup, cleaned, strict=True)}
    contents |= {id(e): paragraphs(e.content_html) for e in bounded if id(e) not in contents}
    return [contents.get(id(entry)) for entry in entries]


def with_page_text(entry: Entry, url: str, markup: str) -> Entry:
    """The entry with the text of its page in place of its own, unless that is hardly longer. All of
    its other fields stay."""
    page = replace(entry, base_url=url, text_base_url=url, content_html=markup)
    if len(markup) > MAX_CONTENT_CHARS:
        return entry
    of_page = len(plain_text(_html(markup, page)))
    if of_page < LONGER * len(plain_text(_html(entry.content_html or entry.summary, entry))):
        return entry
    # Other URLs of the entry are relative to what they were.
    return replace(entry, text_base_url=url, content_html=markup)


def with_summary_alone(entry: Entry) -> Entry:
    """The entry without its content: with its summary, or the beginning of its text."""
    text = plain_text(_html(entry.content_html, entry))
    summary = line(entry.summary) or text
    return replace(
        entry,
        summary=Plain(shorten(summary, MAX_SUMMARY_CHARS)),
        content_html="",
        attribution=entry.attribution or attribution(text),
    )


def _html(text: str, entry: Entry) -> str:
    if isinstance(text, Plain):
        return paragraphs(text)
    return sanitize.html_of_all([_markup(text, entry)])[0]


def _markup(text: str, entry: Entry) -> sanitize.Markup:
    def id_prefix() -> str:
        # Not of the article's id, which may depend on its text.
        return f"{article_id(entry.guid, entry.url)[:8]}-"

    return sanitize.Markup(text, entry.text_base_url or entry.base_url, id_prefix)


def first_sentence(text: str) -> str:
    """The first sentence, cut at a word; for articles without a title."""
    # Cut first, so that a long text is not processed in full.
    paragraph = text.strip().split("\n", 1)[0].strip()[: 2 * MAX_TITLE_FROM_TEXT_CHARS]
    end = _SENTENCE_END.search(paragraph)
    sentence = paragraph[: end.end()] if end else paragraph
    return shorten(sentence, MAX_TITLE_FROM_TEXT_CHARS).removesuffix(".")


def shorten(text: str, max_chars: int) -> str:
    """The text on one line, cut at a word and ended with an ellipsis if it is longer."""
    # Cut first, so that a long text is not processed in full.
    text = spaces(text[: 2 * max_chars])
    if len(text) <= max_chars:
        return text
    head = text[: max_chars - 1]
    return (head.rsplit(" ", 1)[0] if " " in head else head).rstrip(" ,;:–-") + "…"


def attribution(text: str) -> str:
    """The source that a closing "(Source: …)" names; empty if there is none."""
    match = _ATTRIBUTION.search(text.strip())
    return match.group(1) if match else ""


def _url(entry: Entry, field: str, text: str) -> str:
    """A URL of an entry; empty if it has none. A text that is not a URL is dropped from a feed's
    entry; for a record it is an error, so that its publisher sees it."""
    # What belongs to an entry is relative to its page, as its text is.
    base = entry.base_url if field == "url" else entry.text_base_url or entry.base_url
    url = urls.url(text, base_url=base)
    if not url and text.strip() and entry.detail is Detail.RECORD:
        raise InvalidInput(
            field, text, f"must be an http(s) URL of at most {urls.MAX_URL_CHARS} characters"
        )
    return url


def _categories(entry: Entry) -> tuple[Category, ...]:
    """The categories, each once. A name that cannot be a category is dropped from a feed's entry;
    for a record it is an error, so that its publisher sees it."""
    by_path: dict[str, Category] = {}
    for spelling in entry.categories[:MAX_LIST_ITEMS]:
        try:
            category = categories.parse(line(spelling))
        except InvalidInput:
            if entry.detail is Detail.RECORD:
                raise
            continue
        by_path.setdefault(category.path, category)
    return tuple(by_path.values())


def _names(values: tuple[str, ...]) -> tuple[str, ...]:
    cleaned = (line(value)[:MAX_NAME_CHARS] for value in values[:MAX_LIST_ITEMS])
    return tuple(dict.fromkeys(name for name in cleaned if name))


def _enclosures(entry: Entry) -> tuple[Enclosure, ...]:
    enclosures = []
    for number, enclosure in enumerate(entry.enclosures[:MAX_LIST_ITEMS]):
        url = _url(entry, f"enclosures[{number}].url", enclosure.url)
        if url:
            media_type = urls.media_type(url, line(enclosure.type))
            enclosures.append(Enclosure(url=url, type=media_type, length=enclosure.length))
    return tuple(enclosures)


def _plausible(moment: datetime | None) -> datetime | None:
    # Feeds that mean "no date" write 0001-01-01, 1899-12-30 or 0 seconds since the epoch.
    return moment if moment is not None and moment > OLDEST else None


def _shown_date(published: datetime | None, accepted: datetime | None) -> datetime | None:
    """The date to file an article under: an export keeps the one that its archive gave, which is
    not part of the content hash."""
    dates = [moment for moment in (published, accepted) if moment is not None]
    return min(dates, default=None)


def _fallback_guid(title: str, published: datetime | None, text: str) -> str:
    day = f"{published:%Y-%m-%d}" if published else ""
    return "urn:sha256:" + hashlib.sha256(f"{title}\0{day}\0{text}".encode()).hexdigest()[:40]
