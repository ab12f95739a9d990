"""Feeds as they are served, read for tests."""

from __future__ import annotations

import orjson
from lxml import etree

LIVE = "/feeds/media-center/coalition-news"
CLOSED = f"{LIVE}/2017/12/22"
NS = {
    "a": "http://www.w3.org/2005/Atom",
    "fh": "http://purl.org/syndication/history/1.0",
    "at": "http://purl.org/atompub/tombstones/1.0",
    "dc": "http://purl.org/dc/elements/1.1/",
    "content": "http://purl.org/rss/1.0/modules/content/",
    "media": "http://search.yahoo.com/mrss/",
}


def one(root: etree._Element, path: str) -> str:
    """The only thing of this path, as text."""
    (found,) = root.xpath(path, namespaces=NS)
    return str(found if isinstance(found, str) else found.text)


class Read:
    """A feed in whatever format."""

    def __init__(self, body: bytes, extension: str) -> None:
        self._is_json = extension == "json"
        if self._is_json:
            self._feed = orjson.loads(body)
            self.ids = [item["id"] for item in self._feed["items"]]
            self.is_archive = "archive" in self._feed.get("_dateline", {})
        else:
            self._root = etree.fromstring(body)
            names = "channel/item/guid | a:entry/a:id"
            self.ids = [element.text for element in self._root.xpath(names, namespaces=NS)]
            self.is_archive = bool(self._root.findall(".//fh:archive", NS))

    def link(self, rel: str) -> str:
        """The URL of a link relation; empty if the feed has no such link."""
        if self._is_json:
            own = self._feed.get("_dateline", {})
            found = {
                "prev-archive": self._feed.get("next_url"),
                "next": self._feed.get("next_url"),
                "next-archive": own.get("newer_url"),
                "current": own.get("current_url"),
            }
            return found[rel] or ""
        links = self._root.xpath(f"(. | channel)/a:link[@rel='{rel}']/@href", namespaces=NS)
        return str(links[0]) if links else ""
