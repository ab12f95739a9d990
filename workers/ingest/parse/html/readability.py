"""Extract: the article on a page that does not mark it, by trafilatura. Pure.

The last resort, as feedparser is for feeds: pages that mark their article do not need it.
"""

from __future__ import annotations

import re
import warnings

MAX_CHARS = 3_000_000
MAX_TAGS = 40_000
"""They take trafilatura a second; long pages have 10,000."""
# A shorter text is a menu, a cookie banner or a login form.
MIN_TEXT_CHARS = 200
_BODY = re.compile(r"<body[^>]*>(.*)</body>", re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")


def extracted(text: str, *, url: str) -> str:
    """Markup of the article; empty if there is none."""
    if len(text) > MAX_CHARS or text.count("<") > MAX_TAGS:
        return ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Imported here: it costs half a second and 40 MB, and few documents need it.
        import trafilatura

        page = trafilatura.extract(
            text,
            url=url or None,
            output_format="html",
            fast=True,
            include_comments=False,
            include_images=True,
            include_links=True,
        )
    body = _BODY.search(page or "")
    markup = body.group(1).strip() if body else ""
    return markup if len(_TAG.sub("", markup).strip()) >= MIN_TEXT_CHARS else ""
