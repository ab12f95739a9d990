"""Formats: one table row for each format that feeds are written in. Pure.

To add a format, write a module beside `rss_atom` and `json_feed` and add its row here: paths,
headers, pages for people, the page cache and OPML take their formats from this table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from service.articles.article import Article
from service.feeds import json_feed, rss_atom
from service.feeds.head import Feed
from service.feeds.rss_atom import Shell


class Fragment(Protocol):
    """Writes the fragment of a feed for one article."""

    def __call__(self, article: Article, *, base_url: str, titles: Mapping[str, str]) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How feeds are written in one format, and what the format is called."""

    extension: str
    """The end of the paths of its feeds, without the dot."""
    media_type: str
    name: str
    """For display: `RSS`, `Atom`, `JSON`."""
    is_xml: bool
    """Whether browsers apply our style sheet to it, and request it as XML."""
    fragment: Fragment
    shell: Callable[[Feed], Shell] | None
    """Writes the shell, which is reused by later renderings; None if the format has none."""
    join: Callable[[Feed, Sequence[bytes], Shell | None], bytes]
    """Joins (head, fragments in their order, shell or None) into the bytes of the feed."""


def _format_of_rss_atom(extension: str, *, name: str) -> Format:
    return Format(
        extension=extension,
        media_type=rss_atom.MEDIA_TYPES[extension],
        name=name,
        is_xml=True,
        fragment=partial(rss_atom.fragment, extension=extension),
        shell=partial(rss_atom.shell, extension=extension),
        join=partial(rss_atom.join, extension=extension),
    )


_ROWS = (
    _format_of_rss_atom("rss", name="RSS"),
    _format_of_rss_atom("atom", name="Atom"),
    Format(
        extension="json",
        media_type=json_feed.MEDIA_TYPE,
        name="JSON",
        is_xml=False,
        fragment=json_feed.fragment,
        shell=None,
        join=lambda feed, fragments, _: json_feed.join(feed, fragments),
    ),
)
FORMATS: Mapping[str, Format] = {row.extension: row for row in _ROWS}
"""Extension → format, in the order in which feeds are offered."""
