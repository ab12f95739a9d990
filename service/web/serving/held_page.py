"""What the page cache holds of each page, and how it is loaded."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from service.feeds.archive import ArchiveLinks
from service.feeds.page import ArticlePage, Page
from service.storage.rendered_pages import Rendered
from service.web.serving.costly_reads import Client
from service.web.serving.request_cache import Hot
from service.web.serving.response import PreparedPage

Key = tuple[Page | ArticlePage, str]
"""A page and its format: the extension of a feed, or one of those in `page_loader`."""


@dataclass(slots=True, kw_only=True)
class Held:
    """A page in the cache."""

    prepared: PreparedPage
    version: str
    rendered: Rendered | None = None
    """The feed of a page that is not shared, to make differences to its next version."""
    hot: Hot = field(init=False)
    links: ArchiveLinks | None = None
    """Archive links of a feed whose changes `follow` knows; None for any other page."""
    is_current: bool = False
    """Whether no change is known since it was loaded or confirmed; only with `links`."""
    path: str = ""
    """Raw request path under which the page is hot; empty if it is not hot."""
    size: int = 0
    """Bytes that the cache has counted for it."""
    loaded_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.hot = Hot(self.prepared)


Load = Callable[[Page | ArticlePage, str, Held | None, Client], Awaitable[Held]]
"""Loads the current version of a page for a client; returns the cached page passed in if that is
current.

Raises Unavailable if Redis cannot be reached, TooManyReads if the client has too many costly reads.
"""
