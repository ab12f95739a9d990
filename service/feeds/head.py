"""What a feed says of itself, whatever its format."""

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

GENERATOR = "dateline"
HUB_PATH = "/hub"
# 144 pixels are the most that RSS allows; JSON Feed wants larger ones.
ICON_PATH, LARGE_ICON_PATH = "/static/icon-144.png", "/static/icon-512.png"
STYLE_PATH = "/static/feed.css"
# Of a feed that has nothing yet. Validators take dates before 1990 for errors; this is RFC 4287's.
EMPTY_SINCE = datetime(2005, 12, 1, tzinfo=UTC)
# What readers may take as their poll interval, for closed days too: minutes.
TTL_MIN = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstone:
    """An entry that was withdrawn (RFC 6721)."""

    id: str
    when: datetime

    @classmethod
    def of(cls, article: Article) -> Tombstone:
        """Of a withdrawn article."""
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
    """Newest change among the entries; for a feed without any, something that does not move."""
    language: str
    """BCP 47 tag: of all entries if they agree, else the site's."""
    archive_links: ArchiveLinks = NO_ARCHIVE_LINKS
    deleted: Sequence[Tombstone] = ()
    older: str = ""
    """Query of the page that goes on where this one ends; empty if there is none."""
    hubs: Sequence[str] = ()
    """Other hubs that are notified of changes."""

    @property
    def id(self) -> str:
        """Stays the same under another host name or scheme (liferea #1195)."""
        return f"urn:uuid:{uuid.uuid5(NAMESPACE, f'feed:{self.page}')}"

    @property
    def title(self) -> str:
        """`Coalition News: Friday, 22 December 2017 (tag=fog) · Site`."""
        period = self.page.period.title()
        detail = f": {period}" if period else ""
        detail += f" ({unquote(self.page.query)})" if self.page.query else ""
        if self.page.category == categories.ALL:
            return f"{self.site_title}{detail}"
        name = categories.title_path(self.page.category, self.titles).rsplit("/", 1)[-1]
        return f"{name}{detail} · {self.site_title}"

    @property
    def description(self) -> str:
        """One line for lists of feeds."""
        what = (
            "All articles"
            if self.page.category == categories.ALL
            else categories.title_path(self.page.category, self.titles).replace("/", " / ")
        )
        period = self.page.period.title()
        return f"{what}. Items filtered by date: {period}" if period else what

    @property
    def html_url(self) -> str:
        """The page for people."""
        if self.page.token or self.page == Page(categories.ALL):
            return f"{self.base_url}/"
        return self.base_url + self.page.news_path()

    def url(self, extension: str) -> str:
        """Of this feed in a format."""
        return self.base_url + self.page.feed_path(extension)

    @property
    def hub_urls(self) -> list[str]:
        """The WebSub hubs that push this feed, ours first; a private one is pushed by none."""
        return [] if self.page.token else [self.base_url + HUB_PATH, *self.hubs]

    def history_urls(self, extension: str) -> dict[str, str]:
        """Link relation of RFC 5005 3 and 4 → URL, as far as there are any."""
        found = archive_urls(self.page, self.archive_links, self.base_url, extension)
        if self.older:
            page = replace(self.page, query=self.older)
            found["next"] = self.base_url + page.feed_path(extension)
        return found


def archive_urls(
    page: Page, archive_links: ArchiveLinks, base_url: str, extension: str
) -> dict[str, str]:
    """Link relation of RFC 5005 4 → URL, as far as there are any."""
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
    """The head that fits these entries."""
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
    )


def _never(page: Page, zone: tzinfo) -> datetime:
    """Atom demands a date of an empty feed, too: the start of its day, so that it never moves."""
    if page.period.is_live:
        return EMPTY_SINCE
    return page.period.bounds(zone)[0].astimezone(UTC)


def _newest(articles: Sequence[Article]) -> list[datetime]:
    """`updated` of those that may be the newest; of all, it would cost as much as the rest."""
    if not articles:
        return []
    moments = [article.updated for article in articles]
    second = max(moments).replace(microsecond=0)
    pairs = zip(moments, articles, strict=True)
    return [updated(article) for moment, article in pairs if moment >= second]


def updated(article: Article) -> datetime:
    """When an article changed last, told apart from others that changed in that second.

    Sources give whole seconds, or days only; readers and validators that take entries of equal
    `updated` for one another (W3C: DuplicateUpdated) get microseconds that go with the id.
    """
    if article.updated.microsecond:
        return article.updated
    return article.updated + timedelta(microseconds=1 + int(article.id[:8], 16) % 999_999)


def entry_id(article: Article) -> str:
    """The id of an article in all feeds."""
    return f"urn:uuid:{article.id}"


def entry_url(article: Article, base_url: str) -> str:
    """The article at its publisher's, else our page of it."""
    return article.url or f"{base_url}/articles/{article.id}"
