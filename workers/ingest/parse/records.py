"""Records: articles as we write them, as JSON or lines of JSON. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from service.articles.input import entry_from_json
from service.errors import ParseFailed
from workers.ingest.parse.document import Document
from workers.ingest.parse.json_values import collect


def parse_records(found: object, url: str) -> Document:
    """One record, or a list of them."""
    items = found if isinstance(found, list) else [found]
    return collect("records", items, entry_from_json, url=url)


def parse_lines(body: bytes, url: str) -> Document:
    """NDJSON: a line that is not JSON is one reject. Raises ParseFailed if none is JSON."""
    items: list[Any] = []
    for line in body.splitlines():
        if line.strip():
            try:
                items.append(orjson.loads(line))
            except orjson.JSONDecodeError as exc:
                items.append(ValueError(f"no JSON: {exc}"))
    if all(isinstance(item, ValueError) for item in items):
        raise ParseFailed(f"neither JSON nor lines of JSON: {items[0]}")
    return collect("records", items, entry_from_json, "line", url=url)
