"""OPML: feeds to be added as sources, the folders above them as their category. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workers.ingest.parse.document import Document, FeedLink

MAX_DEPTH = 8


def parse_opml(root: Any, url: str) -> Document:
    """The outlines that have an xmlUrl."""
    body = root.find("{*}body")
    feeds = tuple(_outlines(body, ())) if body is not None else ()
    return Document(kind="opml", url=url, feeds=feeds)


def _outlines(parent: Any, above: tuple[str, ...]) -> Iterator[FeedLink]:
    for outline in parent.iterfind("{*}outline"):
        title = (outline.get("title") or outline.get("text") or "").replace("/", " ").strip()
        feed_url = (outline.get("xmlUrl") or "").strip()
        if feed_url:
            yield FeedLink(url=feed_url, title=title, category="/".join(above))
        if len(outline) and len(above) < MAX_DEPTH:
            yield from _outlines(outline, (*above, title) if title else above)
