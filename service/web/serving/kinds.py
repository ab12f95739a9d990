"""Kinds of pages besides feeds: what each needs to be loaded by `PageLoader`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

from service.feeds.page import ArticlePage, Page

T = TypeVar("T")
P = TypeVar("P", Page, ArticlePage)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A page that was written, before it is compressed."""

    body: bytes
    headers: Mapping[str, str]
    changed_ms: int = 0
    """Last-Modified in ms; 0 for none."""


@dataclass(frozen=True, slots=True)
class Kind(Generic[P]):
    """How pages of one kind are loaded."""

    version: Callable[[P], Awaitable[str]]
    """Reads the current version of a page: a cheap read; equal versions mean equal bytes."""
    write: Callable[[P], Awaitable[Written]]
    """Reads what is on the page, and writes it; what takes CPU time is done in a thread."""


class WorkThread:
    """One thread for templates, XML and compression; feedgen has its own in FeedRenderer."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def run(self, work: Callable[[], T]) -> T:
        """The result of `work`, which waits for what other requests have asked for before it."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def close(self) -> None:
        """End the thread; work that waits for it is dropped."""
        self._executor.shutdown(wait=False, cancel_futures=True)
