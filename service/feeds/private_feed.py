"""Private feeds: an unguessable address of one subscriber for a category or a view. Pure.

Only the hash of its token is kept.
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
    """An address of one subscriber."""

    id: str
    token_hash: str
    category: str
    """A category path, `all`, or the path of a view."""
    label: str
    """Whose it is, in the operator's words."""
    created: str

    def to_public(self) -> dict[str, Any]:
        """As API and CLI list it; the token is not known any more."""
        place = {"category": self.category}
        if self.category.startswith(VIEWS):
            place = {"view": self.category.removeprefix(VIEWS)}
        return {"id": self.id, **place, "label": self.label, "created": self.created}


def make_private_feed(
    fields: Mapping[str, object], *, created: datetime
) -> tuple[PrivateFeed, str]:
    """(the feed, its token, which is not kept).

    Raises:
        InvalidInput: naming the field.
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
    """What is kept of a token: it has 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()
