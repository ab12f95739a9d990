"""Feeds from kept fragments.

A Renderer belongs to one thread (feedgen's dates are not thread-safe), which every process that
renders has one of.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from datetime import tzinfo

from service.articles import Article
from service.feeds import feed as feeds
from service.feeds import json_feed, xml
from service.pages import Page

# Raise it when the same articles come to make other bytes: what was rendered before is then left.
REVISION = 1
# 64 MB of fragments are 4 kB articles by the 5,000 in three formats.
MAX_BYTES = 64_000_000


class Renderer:
    """Renders pages, and keeps the fragments of the articles used last."""

    def __init__(
        self,
        *,
        site_title: str,
        base_url: str,
        language: str,
        zone: tzinfo,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._site_title = site_title
        self._base_url = base_url
        self._language = language
        self._zone = zone
        self._max_bytes = max_bytes
        self._bytes = 0
        self._fragments: OrderedDict[tuple[str, int, str], bytes] = OrderedDict()

    def render(
        self, page: Page, extension: str, articles: Sequence[Article], titles: Mapping[str, str]
    ) -> bytes:
        """The feed of these articles, in their order, as `rss`, `atom` or `json`."""
        feed = feeds.feed_of(
            page,
            articles,
            site_title=self._site_title,
            base_url=self._base_url,
            titles=titles,
            language=self._language,
            zone=self._zone,
        )
        fragments = [self._fragment(article, extension, titles) for article in articles]
        if extension == "json":
            return json_feed.join(feed, fragments)
        head, tail = xml.shell(feed, extension)
        return b"".join([head, *fragments, tail])

    def _fragment(self, article: Article, extension: str, titles: Mapping[str, str]) -> bytes:
        key = (article.id, article.revision, extension)
        kept = self._fragments.get(key)
        if kept is not None:
            self._fragments.move_to_end(key)
            return kept
        if extension == "json":
            made = json_feed.fragment(article, base_url=self._base_url, titles=titles)
        else:
            made = xml.fragment(article, extension, base_url=self._base_url, titles=titles)
        self._fragments[key] = made
        self._bytes += len(made)
        while self._bytes > self._max_bytes:
            _, dropped = self._fragments.popitem(last=False)
            self._bytes -= len(dropped)
        return made
