"""Records: articles in dateline's own JSON, alone, in a list or one a line. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from service.articles.input import entry_from_json
from service.articles.json_text import decode_json
from service.errors import ParseFailed
from workers.ingest.parse.document import Document
from workers.ingest.parse.json_values import collect


def parse_records(value: object, url: str) -> Document:
    """The document of one decoded record, or of a list of them."""
    items = value if isinstance(value, list) else [value]
    return collect("records", items, entry_from_json, url=url)


def parse_lines(body: bytes, url: str) -> Document:
    """The document of NDJSON; a line that is not JSON is one reject.

    Raises:
        ParseFailed: no line is JSON.
    """
    items: list[Any] = []
    for line in body.splitlines():
        if line.strip():
            try:
                items.append(decode_json(line))
            except orjson.JSONDecodeError as exc:
                items.append(ValueError(f"is not JSON: {exc}"))
    if all(isinstance(item, ValueError) for item in items):
        raise ParseFailed(f"neither JSON nor lines of JSON: {items[0]}")
    return collect("records", items, entry_from_json, "line", url=url)
