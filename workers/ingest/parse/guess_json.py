"""Guess in JSON: lists of objects whose members are named as those of articles are. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from workers.ingest.parse.json_values import decode_any

MAX_DEPTH = 8
MAX_VISITED = 5_000
SAMPLE = 30
MIN_ITEMS = 2
_NAMES = {
    "title": ("title", "headline", "name", "subject", "heading"),
    "link": ("url", "link", "permalink", "href", "web_url", "html_url", "canonical_url", "path"),
    "date": (
        "date_published", "datepublished", "published_at", "publishedat", "published", "pubdate",
        "date", "created_at", "createdat", "created", "updated_at", "updated", "timestamp", "time",
    ),
    "content": (
        "content_html", "content", "body", "html", "text", "description", "summary", "excerpt",
    ),
    "author": ("author", "authors", "byline", "by", "creator", "user"),
    "image": ("image", "image_url", "thumbnail", "picture", "photo", "banner_image"),
    "category": ("category", "categories", "section", "topic", "tags"),
}  # fmt: skip
_NEXT = ("next", "next_url", "nextpage", "next_page")
_INSIDE = ("rendered", "text", "value", "name", "url", "href", "src")


def guessed_in_json(body: bytes, content_type: str) -> Iterator[dict[str, str]]:
    """Selectors for the lists of a document that look like articles, the best one first."""
    try:
        value = decode_any(body, content_type)
    except orjson.JSONDecodeError:
        return
    selects = [select for path, items in _lists(value) if (select := _select(path, items))]
    if isinstance(value, dict):
        following = next((n for n in value if n.lower() in _NEXT and _is_text(value[n])), "")
        for select in selects if following else ():
            select["next_page"] = _member("$", following)
    yield from sorted(selects, key=len, reverse=True)


def _lists(value: Any) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """(path, objects) of each list of objects, as far as MAX_DEPTH and MAX_VISITED."""
    waiting = [("$", value, 0)]
    for _ in range(MAX_VISITED):
        if not waiting:
            return
        path, each, depth = waiting.pop(0)
        if isinstance(each, list):
            objects = [item for item in each[:SAMPLE] if isinstance(item, dict)]
            if len(objects) >= MIN_ITEMS:
                yield f"{path}[*]", objects
            each = {}
        if isinstance(each, dict) and depth < MAX_DEPTH:
            waiting += [(_member(path, name), inside, depth + 1) for name, inside in each.items()]


def _member(path: str, name: str) -> str:
    if name.isidentifier() and name.isascii():
        return f"{path}.{name}"
    return f"{path}[{orjson.dumps(name).decode()}]"


def _select(path: str, items: Sequence[dict[str, Any]]) -> dict[str, str]:
    """Selectors for the members that most items have; empty without a title."""
    select = {"items": path}
    for field, names in _NAMES.items():
        for name in names:
            holders = [item for item in items if _key(item, name)]
            if 2 * len(holders) >= len(items):
                key = _key(holders[0], name)
                select[field] = _path_in(holders[0][key], _member("$", key))
                break
    return select if "title" in select and len(select) > 2 else {}


def _key(item: dict[str, Any], name: str) -> str:
    """The key of this name, in any case, if it holds something."""
    return next((key for key in item if key.lower() == name and item[key]), "")


def _path_in(value: Any, path: str) -> str:
    if isinstance(value, list):
        return _path_in(value[0], f"{path}[*]")
    if isinstance(value, dict):
        inside = next((name for name in _INSIDE if _is_text(value.get(name))), "")
        return _member(path, inside) if inside else path
    return path


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())
