"""Long lists in parts: `limit` and `next`, the same for every list of the API.

With `limit` a list is answered as `{"webhooks": [items], "next": URL or null}`, where `next` has
the same parameters and `after`, the id of the last item. Without it the list is a bare array, as it
was before there were parts, and refused if it would be longer than MAX_WHOLE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from service.errors import InvalidInput
from service.http import whole_number
from service.web.request.body import json_response
from service.web.request.parameters import single_value

MAX_LISTED = 1_000
"""Most items of a part."""
MAX_WHOLE = 10_000
"""Most items of a list without `limit`: clients of before expect all of it."""
MAX_AFTER_CHARS = 200


@dataclass(frozen=True, slots=True)
class ListPart:
    """The part of a list that a request wants."""

    limit: int
    """Most items; 1 to MAX_LISTED."""
    after: str
    """Id of the item before the first one; empty for the beginning of the list."""


def part_wanted(request: web.Request) -> ListPart | None:
    """The part of the list that a request wants; None if it names neither `limit` nor `after`, and
    wants all of it.

    Raises:
        InvalidInput: names the parameter.
    """
    if "limit" not in request.query and "after" not in request.query:
        return None
    text = single_value(request.query, "limit", str(MAX_LISTED))
    after = single_value(request.query, "after")
    if len(after) > MAX_AFTER_CHARS:
        raise InvalidInput("after", after, "must be the id that `next` contains")
    return ListPart(whole_number("limit", text, low=1, high=MAX_LISTED), after)


def check_length(count: int) -> None:
    """Refuse a list without `limit` that would have too many items.

    Raises:
        InvalidInput: it has more than MAX_WHOLE.
    """
    if count > MAX_WHOLE:
        reason = f"must be given, 1 to {MAX_LISTED}: the list has {count} items; follow `next`"
        raise InvalidInput("limit", "", reason)


def part_response(
    request: web.Request, name: str, items: Sequence[Mapping[str, Any]], *, last: str
) -> web.StreamResponse:
    """A part of a list as JSON.

    Args:
        name: the member that holds the items.
        last: id of the last item if more items follow; empty at the end of the list.
    """
    following = str(request.rel_url.update_query(after=last)) if last else None
    return json_response({name: items, "next": following})
