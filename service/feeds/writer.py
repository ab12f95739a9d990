"""Write feeds from cached fragments. Pure, but for the cache.

A Renderer must be used in one thread only (feedgen's dates are not thread-safe); each process that
renders has one Renderer and one thread for it.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import tzinfo

from cachetools import LRUCache

from service.articles.article import Article
from service.feeds import head
from service.feeds.archive import NO_ARCHIVE_LINKS, ArchiveLinks
from service.feeds.formats import FORMATS, Format
from service.feeds.head import Feed, Tombstone
from service.feeds.page import Page
from service.feeds.rss_atom import Shell

# Increase it when the same articles give other bytes: pages rendered earlier are then not used.
REVISION = 6
# 64 MB of fragments are about 5,000 articles of 4 kB in three formats.
MAX_BYTES = 64_000_000
# A kilobyte each; the least recently used leaves first.
MAX_SHELLS = 2_000


class Renderer:
    """Renders pages, and caches the fragments of the articles that it rendered last."""

    def __init__(
        self,
        *,
        site_title: str,
        base_url: str,
        language: str,
        zone: tzinfo,
        hubs: Sequence[str] = (),
    ) -> None:
        self._site_title = site_title
        self._base_url = base_url
        self._language = language
        self._zone = zone
        self._hubs = hubs
        self._bytes = 0
        self._shells: LRUCache[Hashable, Shell] = LRUCache(MAX_SHELLS)
        # By all fields, not by the revision: if Redis loses the end of its file, a revision can
        # come again with another content.
        self._fragments: dict[tuple[str, int, str], bytes] = {}

    def render(
        self,
        page: Page,
        extension: str,
        articles: Sequence[Article],
        titles: Mapping[str, str],
        *,
        archive_links: ArchiveLinks = NO_ARCHIVE_LINKS,
        deleted: Sequence[Tombstone] = (),
        only: Collection[str] | None = None,
        older: str = "",
        is_brief: bool = False,
    ) -> bytes:
        """The feed of these articles, in their order, in the format of this extension.

        Args:
            only: ids of the articles to include, for a difference; None for all.
            older: query of the page that continues after this one (RFC 5005 3); empty on the last.
            is_brief: leave out the text of each article that has a summary.
        """
        feed = head.feed_of(
            page,
            articles,
            site_title=self._site_title,
            base_url=self._base_url,
            titles=titles,
            language=self._language,
            zone=self._zone,
            archive_links=archive_links,
            deleted=deleted,
            older=older,
            hubs=self._hubs,
        )
        shown = articles if only is None else [a for a in articles if a.id in only]
        format = FORMATS[extension]
        if is_brief:
            fragments = [self._fragment(_brief(a), format, titles) for a in shown]
        else:
            cached = self._fragments.get
            fragments = [
                cached((article.id, hash(article), extension))
                or self._cache_fragment(article, format, titles)
                for article in shown
            ]
        return format.join(feed, fragments, self._shell(feed, format))

    def _shell(self, feed: Feed, format: Format) -> Shell | None:
        # The key has all that a shell depends on; the title of a view may change.
        if format.shell is None or not feed.page.is_shared:
            return None
        title = feed.titles.get(feed.page.category)
        key = (
            feed.page, feed.archive_links, feed.older, title, feed.language, feed.show,
            format.extension,
        )  # fmt: skip
        shell = self._shells.get(key)
        if shell is None:
            shell = self._shells[key] = format.shell(feed)
        return shell

    def _fragment(self, article: Article, format: Format, titles: Mapping[str, str]) -> bytes:
        return format.fragment(article, base_url=self._base_url, titles=titles)

    def _cache_fragment(self, article: Article, format: Format, titles: Mapping[str, str]) -> bytes:
        fragment = self._fragment(article, format, titles)
        self._fragments[article.id, hash(article), format.extension] = fragment
        self._bytes += len(fragment)
        # First in, first out: noting each use would cost more than rendering a few again.
        while self._bytes > MAX_BYTES:
            self._bytes -= len(self._fragments.pop(next(iter(self._fragments))))
        return fragment


def _brief(article: Article) -> Article:
    """Return the article without its text if it has a summary."""
    return replace(article, content_html="") if article.summary else article
