"""A preview of a source as text: what was found, and of each item the raw values beside what was
read of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import orjson

from service.cli.output import say

MAX_CHARS = 160
# Field of an article → the raw values that it was read from.
_READ = {
    "title": "title", "url": "link", "published": "date", "authors": "author",
    "categories": "category", "image": "image", "content_html": "content",
}  # fmt: skip


def show_preview(preview: Mapping[str, Any]) -> None:
    """Print the answer of a preview, its error on stderr."""
    for line in _head(preview):
        say(line)
    for item in preview.get("items", ()):
        for line in _item(item):
            say(line)
    counts = preview.get("counts", {})
    more = sum(counts.values()) - len(preview.get("items", ()))
    if more > 0:
        say(f"… and {more} more; --limit shows up to 100")
    for number, proposal in enumerate(preview.get("proposals", ()), 1):
        say(f"proposal {number}: {proposal['items']} items, such as {proposal['titles'][0]!r}")
        say(f"  --select {shlex.quote(orjson.dumps(proposal['select']).decode())}")
    if is_failure(preview):
        hint = "; --guess proposes selectors" if preview.get("kind") == "html-guess" else ""
        say(f"dateline: {preview['error']}{hint}", to_stderr=True)


def is_failure(preview: Mapping[str, Any]) -> bool:
    """Whether there is nothing to show but an error."""
    return bool(preview.get("error")) and not preview.get("proposals")


def _head(preview: Mapping[str, Any]) -> Iterator[str]:
    counts = preview.get("counts", {})
    if preview.get("kind"):
        numbers = ", ".join(f"{count} {_plural(name, count)}" for name, count in counts.items())
        yield f"{preview['url']}: {preview['kind']}, {numbers}"
    if preview.get("discovered_on"):
        yield f"found on {preview['discovered_on']}, which is not a feed itself"
    total = sum(counts.values())
    for name, count in preview.get("selected", {}).items():
        hint = "" if count else "  ← selects nothing"
        yield f"  {name:<10} selected in {count} of {total} items{hint}"
    if preview.get("next_page"):
        yield f"next page: {preview['next_page']}"
    if preview.get("error") and preview.get("feeds"):
        yield f"it names feeds: {', '.join(preview['feeds'][:5])}"


def _plural(name: str, count: int) -> str:
    return "articles" if name == "article" and count != 1 else name


def _item(item: Mapping[str, Any]) -> Iterator[str]:
    reason = f": {item['reason']}" if item["reason"] else ""
    yield f"{item['number']}. {item['status']}{reason}"
    raw, article = item["raw"], item.get("article") or {}
    for name, source in _READ.items():
        read = _text(article.get(name))
        written = _text(raw.get(source))
        if read and written and read != written:
            yield f"   {source:<9} {written}"
            yield f"   {'':<9} → {read}"
        elif read or written:
            yield f"   {source:<9} {read or written}"
    if article.get("tags"):
        yield f"   {'tags':<9} {_text(article['tags'])}"
    for step in item.get("rules", ()):
        yield f"   {'rule':<9} {step}"


def _text(value: str | Sequence[str] | None) -> str:
    text = value if isinstance(value, str) else ", ".join(value or ())
    text = " ".join(text.split())
    return text if len(text) <= MAX_CHARS else text[: MAX_CHARS - 1] + "…"
