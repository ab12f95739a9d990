"""Sites that are polled: each makes an item every ITEM_EVERY_S, and shows the newest SHOWN."""

from __future__ import annotations

import time

from aiohttp import web

SITES = 6
ITEM_EVERY_S = 2.0
SHOWN = 60
SOURCE_PATH = "/site/{number}.xml"


class Sites:
    """All of them; handlers of the harness's own server."""

    def __init__(self) -> None:
        self._start_s = time.monotonic()
        self._end_s: float | None = None
        self.shown: dict[str, float] = {}
        """Title → `time.monotonic` of the first answer that had it."""

    def end(self) -> None:
        """Make no more items."""
        self._end_s = time.monotonic()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer with the feed of a site, or 304."""
        number = int(request.match_info["number"])
        now_s = self._end_s or time.monotonic()
        count = int((now_s - self._start_s + number / SITES) / ITEM_EVERY_S) + 1
        etag = f'"{count}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        titles = [f"s{number} n{n}" for n in range(max(0, count - SHOWN), count)]
        for title in titles:
            self.shown.setdefault(title, time.monotonic())
        items = "".join(map(_item, reversed(titles)))
        body = f'<rss version="2.0"><channel><title>Site {number}</title>{items}</channel></rss>'
        return web.Response(text=body, content_type="application/rss+xml", headers={"ETag": etag})


def _item(title: str) -> str:
    text = f"{title} " * 30
    return (
        f"<item><title>{title}</title><guid isPermaLink='false'>{title}</guid>"
        f"<description>{text}</description></item>"
    )
