"""The head of a feed: its title, links, dates and language, the same in every format. Pure."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from urllib.parse import unquote

from service.articles import categories
from service.articles.article import NAMESPACE, Article
from service.feeds.archive import NO_ARCHIVE_LINKS, ArchiveLinks
from service.feeds.page import Page
from service.feeds.show import Show, show_of

GENERATOR = "dateline"
HUB_PATH = "/hub"
# 144 pixels are the most that RSS allows; JSON Feed wants larger ones.
ICON_PATH, LARGE_ICON_PATH = "/static/icon-144.png", "/static/icon-512.png"
# Apple wants at least 1,400 pixels, and no transparency.
COVER_PATH = "/static/cover-1400.png"
STYLE_PATH = "/static/feed.css"
# `updated` of an empty feed. Validators report dates before 1990 as errors; RFC 4287 is of this
# date.
EMPTY_SINCE = datetime(2005, 12, 1, tzinfo=UTC)
# Poll interval in minutes that feeds offer to clients, for past days too.
TTL_MIN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """An entry that was withdrawn (RFC 6721)."""

    id: str
    when: datetime

    @classmethod
    def of(cls, article: Article) -> Tombstone:
        """The tombstone of a withdrawn article, dated by its last change."""
        return cls(id=entry_id(article), when=article.updated)


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """The head of a feed: everything but its entries."""

    page: Page
    site_title: str
    base_url: str
    """Without a slash at the end."""
    titles: Mapping[str, str]
    """Category path → title, at least of all categories that the entries name."""
    updated: datetime
    """Newest change among the entries; for a feed without entries, a constant."""
    language: str
    """BCP 47 tag: the language of all entries if it is the same, else the site's."""
    archive_links: ArchiveLinks = NO_ARCHIVE_LINKS
    deleted: Sequence[Tombstone] = ()
    older: str = ""
    """Query of the page that continues after this one; empty on the last page."""
    hubs: Sequence[str] = ()
    """URLs of other hubs that are notified of changes."""
    show: Show | None = None
    """What players need to know of it; None if none of the entries is an episode."""

    @property
    def id(self) -> str:
        """A URN that does not depend on host name or scheme (liferea #1195)."""
        return f"urn:uuid:{uuid.uuid5(NAMESPACE, f'feed:{self.page}')}"

    @property
    def title(self) -> str:
        """`Coalition News: Friday, 22 December 2017 (tag=fog) · Site`."""
        period = self.page.period.title()
        detail = f": {period}" if period else ""
        detail += f" ({unquote(self.page.query)})" if self.page.query else ""
        if self.page.category == categories.ALL:
            return f"{self.site_title}{detail}"
        name = _category_title(self.page.category, self.titles)
        return f"{name}{detail} · {self.site_title}"

    @property
    def description(self) -> str:
        """One line of plain text: the category and, if there is one, the period."""
        what = (
            "All articles"
            if self.page.category == categories.ALL
            else categories.title_path(self.page.category, self.titles).replace("/", " / ")
        )
        period = self.page.period.title()
        return f"{what}. Items filtered by date: {period}" if period else what

    @property
    def html_url(self) -> str:
        """URL of the HTML page; the start page for `all` and for private feeds."""
        if self.page.token or self.page == Page(categories.ALL):
            return f"{self.base_url}/"
        return self.base_url + self.page.whole.news_path()

    def url(self, extension: str) -> str:
        """URL of this feed in the format of this extension."""
        return self.base_url + self.page.feed_path(extension)

    @property
    def hub_urls(self) -> list[str]:
        """URLs of the WebSub hubs of this feed, ours first; empty for a private feed."""
        return [] if self.page.token else [self.base_url + HUB_PATH, *self.hubs]

    def history_urls(self, extension: str) -> dict[str, str]:
        """Link relation of RFC 5005 3 and 4 → URL; empty if the feed has no such links."""
        urls = archive_urls(self.page, self.archive_links, self.base_url, extension)
        if self.older:
            page = replace(self.page, query=self.older)
            urls["next"] = self.base_url + page.feed_path(extension)
        return urls


def archive_urls(
    page: Page, archive_links: ArchiveLinks, base_url: str, extension: str
) -> dict[str, str]:
    """Link relation of RFC 5005 4 → URL; empty if the page has no archive."""
    days = {"prev-archive": archive_links.older, "next-archive": archive_links.newer}
    pages = {rel: Page(page.category, day) for rel, day in days.items() if day}
    if pages and not page.period.is_live:
        pages["current"] = Page(page.category)
    return {rel: base_url + page.feed_path(extension) for rel, page in pages.items()}


def feed_of(
    page: Page,
    articles: Sequence[Article],
    *,
    site_title: str,
    base_url: str,
    titles: Mapping[str, str],
    language: str,
    zone: tzinfo,
    archive_links: ArchiveLinks = NO_ARCHIVE_LINKS,
    deleted: Sequence[Tombstone] = (),
    older: str = "",
    hubs: Sequence[str] = (),
) -> Feed:
    """Build the head of a feed with these articles as its entries."""
    languages = {article.language for article in articles}
    changes = [*_newest(articles), *(tombstone.when for tombstone in deleted)]
    return Feed(
        page=page,
        site_title=site_title,
        base_url=base_url,
        titles=titles,
        updated=max(changes, default=_never(page, zone)),
        language=(languages.pop() if len(languages) == 1 else "") or language,
        archive_links=archive_links,
        deleted=deleted,
        older=older,
        hubs=hubs,
        show=show_of(articles, category_title=_category_title(page.category, titles)),
    )


def _category_title(path: str, titles: Mapping[str, str]) -> str:
    return categories.title_path(path, titles).rsplit("/", 1)[-1]


def _never(page: Page, zone: tzinfo) -> datetime:
    """Return the date of an empty feed, which Atom requires: one that never changes. Validators
    doubt dates before the first feeds, and no feed was made then."""
    if page.period.is_live:
        return EMPTY_SINCE
    return max(EMPTY_SINCE, page.period.bounds(zone)[0].astimezone(UTC))


def _newest(articles: Sequence[Article]) -> list[datetime]:
    """Return `updated` of the articles that may be the newest; for all it would cost too much."""
    if not articles:
        return []
    moments = [article.updated for article in articles]
    second = max(moments).replace(microsecond=0)
    pairs = zip(moments, articles, strict=True)
    return [updated(article) for moment, article in pairs if moment >= second]


def updated(article: Article) -> datetime:
    """When an article last changed, distinct from other articles changed in the same second.

    Sources give whole seconds, or only days, and some clients and validators confuse entries with
    equal `updated` (W3C: DuplicateUpdated): microseconds derived from the id are added.
    """
    if article.updated.microsecond:
        return article.updated
    return article.updated + timedelta(microseconds=1 + int(article.id[:8], 16) % 999_999)


def entry_id(article: Article) -> str:
    """The id of an article as an entry: a URN, the same in all feeds and formats."""
    return f"urn:uuid:{article.id}"


def short_text(article: Article) -> str:
    """The text of an article in formats that require one: plain, the title if there is nothing
    else."""
    return article.summary or article.title


def entry_url(article: Article, base_url: str) -> str:
    """URL of the article at its publisher; without one, of our page for it."""
    return article.url or f"{base_url}/articles/{article.id}"
