"""Decode the titles of categories from what the shards have of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from service.articles import categories
from service.storage.stored import text_of


def merged_titles(replies: Sequence[dict[bytes, bytes]]) -> dict[str, str]:
    """Path → title; the first shard that has a title decides."""
    merged: dict[str, str] = {}
    for titles in reversed(replies):
        merged.update(_titles(titles))
    return merged


def _titles(stored: Mapping[bytes, bytes]) -> Iterator[tuple[str, str]]:
    """Yield (path, title), without paths that cannot be those of a page, which a hand wrote:
    `categories.is_path` would take too long for all."""
    for name, title in stored.items():
        path = text_of(name)
        steps = path.split("/")
        is_text = path.encode() == name and path.isprintable() and " " not in path
        is_page = steps[0] not in categories.RESERVED and not any(
            s == "" or s.isdigit() for s in steps
        )
        if is_text and is_page and title:
            yield path, text_of(title)
