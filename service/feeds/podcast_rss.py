"""Podcasts in RSS: Apple's elements and the Podcast Namespace's, as extensions of feedgen. Pure.

Sources: Apple, "A Podcaster's Guide to RSS"; the Podcast Namespace 1.0 (podcastindex.org).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from feedgen.ext.base import BaseEntryExtension, BaseExtension
from lxml import etree

from service.articles.podcast import Podcast, clock
from service.feeds.head import COVER_PATH, Feed
from service.feeds.show import Show

ITUNES = "http://www.itunes.com/dtds/podcast-1.0.dtd"
PODCAST = "https://podcastindex.org/namespace/1.0"
_CHAPTERS_TYPE = "application/json+chapters"


class PodcastChannel(BaseExtension):  # type: ignore[misc]  # feedgen has no types
    """What a channel of episodes says of itself."""

    feed: Feed | None = None
    """The feed, if it has a show."""

    def extend_ns(self) -> dict[str, str]:
        """The namespaces that the channel or its items use."""
        show = self.feed.show if self.feed else None
        return {} if show is None else namespaces(has_more=show.has_more)

    def extend_rss(self, feed: Any) -> Any:
        """Add the elements that Apple requires or recommends of a channel."""
        if self.feed and self.feed.show:
            _fill_channel(feed[0], self.feed, self.feed.show)
        return feed


class PodcastItem(BaseEntryExtension):  # type: ignore[misc]  # feedgen has no types
    """What an item says of its episode."""

    podcast: Podcast | None = None

    def extend_rss(self, entry: Any) -> Any:
        """Add the elements of the episode."""
        if self.podcast:
            _fill_item(entry, self.podcast)
        return entry


def namespaces(*, has_more: bool) -> dict[str, str]:
    """Prefix → namespace, in the order in which they are declared.

    Args:
        has_more: whether there are transcripts, chapters or persons.
    """
    return {"itunes": ITUNES, "podcast": PODCAST} if has_more else {"itunes": ITUNES}


def _fill_channel(channel: Any, feed: Feed, show: Show) -> None:
    _add(channel, "author", show.author or feed.site_title)
    # Directories want an address; this one every site should have (RFC 2142 5).
    host = urlsplit(feed.base_url).hostname or ""
    if not host.rpartition(".")[2].isdigit() and "." in host:
        owner = etree.SubElement(channel, f"{{{ITUNES}}}owner")
        _add(owner, "name", feed.site_title)
        _add(owner, "email", f"webmaster@{host}")
    _add(channel, "explicit", _TRUTH[show.explicit])
    image = show.image or feed.base_url + COVER_PATH
    etree.SubElement(channel, f"{{{ITUNES}}}image", href=image)
    parent = channel
    for name in show.category.split("/"):
        parent = etree.SubElement(parent, f"{{{ITUNES}}}category", text=name)


def _fill_item(item: Any, podcast: Podcast) -> None:
    _add(item, "author", podcast.author)
    _add(item, "duration", clock(podcast.duration_s) if podcast.duration_s else "")
    _add(item, "episode", str(podcast.episode or ""))
    _add(item, "season", str(podcast.season or ""))
    _add(item, "episodeType", podcast.episode_type)
    if podcast.explicit is not None:
        _add(item, "explicit", _TRUTH[podcast.explicit])
    if podcast.image:
        etree.SubElement(item, f"{{{ITUNES}}}image", href=podcast.image)
    for transcript in podcast.transcripts:
        texts = {"url": transcript.url, "type": transcript.type,
                 "language": transcript.language, "rel": transcript.rel}  # fmt: skip
        etree.SubElement(item, f"{{{PODCAST}}}transcript", _stated(texts))
    if podcast.chapters:
        chapters = {"url": podcast.chapters, "type": _CHAPTERS_TYPE}
        etree.SubElement(item, f"{{{PODCAST}}}chapters", chapters)
    for person in podcast.persons:
        texts = {"role": person.role, "group": person.group, "img": person.image,
                 "href": person.url}  # fmt: skip
        etree.SubElement(item, f"{{{PODCAST}}}person", _stated(texts)).text = person.name


_TRUTH = {True: "true", False: "false"}


def _add(parent: Any, name: str, text: str) -> None:
    if text:
        etree.SubElement(parent, f"{{{ITUNES}}}{name}").text = text


def _stated(texts: dict[str, str]) -> dict[str, str]:
    return {name: text for name, text in texts.items() if text}
