"""JSON Feed 1.1 (jsonfeed.org/version/1.1) by orjson.

The object `_dateline` holds what JSON Feed has no field for. In an item: its category paths,
source, guid, attribution and revision, and `podcast` of an episode. In a feed: whether it is an
archive document, the URLs of the live feed and of the next newer archive document (`next_url` is
the next older one), and the withdrawn entries.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from service.articles import categories
from service.articles.article import Article
from service.articles.times import to_rfc3339
from service.feeds.head import ICON_PATH, LARGE_ICON_PATH, Feed, entry_id, entry_url, short_text
from service.feeds.show import is_heard

MEDIA_TYPE = "application/feed+json"
VERSION = "https://jsonfeed.org/version/1.1"


def fragment(article: Article, *, base_url: str, titles: Mapping[str, str]) -> bytes:
    """The item object of an article. Empty fields are left out, as the specification advises."""
    item: dict[str, Any] = {
        "id": entry_id(article),
        "url": entry_url(article, base_url),
        "title": article.title,
        # One of content_html and content_text is required.
        "content_html" if article.content_html else "content_text": article.content_html
        or short_text(article),
        "summary": article.summary,
        "image": article.image,
        "date_published": to_rfc3339(article.published),
        "date_modified": to_rfc3339(article.updated),
        "authors": [{"name": name} for name in article.authors],
        "tags": [
            *(
                categories.title_path(path, titles).rsplit("/", 1)[-1]
                for path in article.categories
            ),
            *article.tags,
        ],
        "language": article.language,
        "attachments": _attachments(article),
        "_dateline": {
            "categories": article.categories,
            "source": article.source,
            "guid": article.guid,
            "attribution": article.attribution,
            "revision": article.revision,
            **({"podcast": article.podcast.stated()} if article.podcast else {}),
        },
    }
    return orjson.dumps({name: value for name, value in item.items() if value})


def _attachments(article: Article) -> list[dict[str, Any]]:
    duration_s = article.podcast.duration_s if article.podcast else 0
    attachments = []
    for file in article.enclosures:
        attachment: dict[str, Any] = {"url": file.url, "mime_type": file.type}
        if file.length:
            attachment["size_in_bytes"] = file.length
        if duration_s and is_heard(file.type):
            attachment["duration_in_seconds"] = duration_s
        attachments.append(attachment)
    return attachments


def join(feed: Feed, fragments: Sequence[bytes]) -> bytes:
    """The bytes of the feed, with these item objects in their order."""
    links = feed.history_urls("json")
    head: dict[str, Any] = {
        "version": VERSION,
        "title": feed.title,
        "home_page_url": feed.html_url,
        "feed_url": feed.url("json"),
        "description": feed.description,
        "next_url": links.get("next") or links.get("prev-archive"),
        "icon": feed.base_url + LARGE_ICON_PATH,
        "favicon": feed.base_url + ICON_PATH,
        "authors": [{"name": feed.site_title, "url": feed.base_url}],
        "language": feed.language,
        "hubs": [{"type": "WebSub", "url": url} for url in feed.hub_urls] or None,
        "_dateline": _extension(feed),
        "items": [orjson.Fragment(item) for item in fragments],
    }
    return orjson.dumps({name: value for name, value in head.items() if value not in (None, {})})


def _extension(feed: Feed) -> dict[str, Any]:
    links = feed.history_urls("json")
    fields: dict[str, Any] = {
        "archive": feed.archive_links.is_archive,
        "current_url": links.get("current"),
        "newer_url": links.get("next-archive"),
        "deleted": [{"id": t.id, "when": to_rfc3339(t.when)} for t in feed.deleted],
    }
    return {name: value for name, value in fields.items() if value}
