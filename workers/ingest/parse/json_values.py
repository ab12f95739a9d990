"""Values in JSON documents: a wrong value is ignored, and its article is still read. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from service.articles.article import Entry
from service.articles.json_text import decode_json
from service.errors import InvalidInput
from workers.ingest.parse.charsets import charset_of, decode
from workers.ingest.parse.document import Document, Reject, bounded

_SPACES = dict.fromkeys(range(0x20), " ")


def decode_any(body: bytes, content_type: str) -> Any:
    """The value of a JSON document. One bad byte must not cost all its articles: what is not UTF-8
    is decoded as the charset of the header, and control characters in strings become spaces.

    Raises:
        JSONDecodeError: it is not JSON even so.
    """
    try:
        return decode_json(body)
    except orjson.JSONDecodeError:
        text = decode(body, charset_of(content_type)).translate(_SPACES)
        return decode_json(text.encode("utf-8", "replace"))


def collect(
    kind: str, items: list[Any], take: Callable[[dict[str, Any]], Entry], where: str = "item",
    **fields: Any,
) -> Document:  # fmt: skip
    """A document of the entries that `take` returns; items that it cannot read become rejects.

    Args:
        items: a ValueError among them is the reason of a reject.
        where: what an item is called in the position of a reject.
    """
    entries, rejects = [], []
    for number, item in enumerate(items, 1):
        try:
            if isinstance(item, ValueError):
                raise item
            if not isinstance(item, dict):
                raise InvalidInput("article", item, "must be a JSON object")
            entries.append(take(item))
        except (InvalidInput, ValueError) as exc:
            rejects.append(Reject(where=f"{where} {number}", reason=str(exc)))
    bounded_entries, bounded_rejects = bounded(entries, rejects)
    return Document(kind=kind, entries=bounded_entries, rejects=bounded_rejects, **fields)


def string_of(fields: dict[str, Any], name: str) -> str:
    """A string; empty for anything else: one wrong value must not cost the whole article."""
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def identifier_of(fields: dict[str, Any], name: str) -> str:
    """A string; a number becomes one, as JSON Feed 1.1 asks for `id`, and dates are epochs."""
    value = fields.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return string_of(fields, name)


def list_of(fields: dict[str, Any], name: str) -> list[Any]:
    """A list; a single value becomes a list of one, and a missing value an empty list."""
    value = fields.get(name) or []
    return value if isinstance(value, list) else [value]


def objects_of(fields: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects in a list; other values in it are ignored."""
    return [value for value in list_of(fields, name) if isinstance(value, dict)]


def object_of(fields: dict[str, Any], name: str) -> dict[str, Any]:
    """An object; empty for anything else."""
    # PHP writes an empty object as [], and a missing one as false.
    value = fields.get(name)
    return value if isinstance(value, dict) else {}


def size_of(value: object) -> int:
    """A number of bytes; 0 for a value that is not a size."""
    return int(value) if isinstance(value, int | float) and 0 <= value < 2**53 else 0
