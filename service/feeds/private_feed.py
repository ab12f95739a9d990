"""Private feeds: unguessable addresses of a category or a view, one for each subscriber. Pure.

Only the hash of the token in the address is stored.
"""

from __future__ import annotations

import hashlib
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from service.articles import categories, times
from service.errors import InvalidInput, refuse_unknown_fields
from service.feeds.page import VIEWS
from service.feeds.view import MAX_TITLE_CHARS, category_of, text_of

_FEED_FIELDS = ("category", "view", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateFeed:
    """The private feed of one subscriber, as it is stored."""

    id: str
    token_hash: str
    category: str
    """A category path, `all`, or the path of a view."""
    label: str
    """The operator's note on who the subscriber is."""
    created: str

    def to_public(self) -> dict[str, Any]:
        """The fields that API and CLI show; the token is not stored, so it is not among them."""
        shown = {"category": self.category}
        if self.category.startswith(VIEWS):
            shown = {"view": self.category.removeprefix(VIEWS)}
        return {"id": self.id, **shown, "label": self.label, "created": self.created}


def make_private_feed(
    fields: Mapping[str, object], *, created: datetime
) -> tuple[PrivateFeed, str]:
    """Create a private feed from a client's fields; return it with its token, to show once.

    Raises:
        InvalidInput: with the name of the field.
    """
    refuse_unknown_fields(fields, _FEED_FIELDS)
    category, view = text_of(fields, "category"), text_of(fields, "view")
    if category and view:
        raise InvalidInput("view", view, "give a category or a view, not both")
    token = secrets.token_urlsafe(32)
    feed = PrivateFeed(
        id=f"pf_{uuid.uuid4().hex}",
        token_hash=token_hash(token),
        category=VIEWS + view if view else category_of(category or categories.ALL),
        label=text_of(fields, "label")[:MAX_TITLE_CHARS],
        created=times.to_rfc3339(created),
    )
    return feed, token


def token_hash(token: str) -> str:
    """The stored hash of a token: it has 256 random bits, so one round of SHA-256 is enough."""
    # What clients send as a token can hold bytes that are not UTF-8, decoded to surrogates.
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()
