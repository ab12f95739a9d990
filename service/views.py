"""Views: named, saved selections, with an index of their own; and private feeds. Pure.

A view is to feeds what a category is: `/feeds/views/{name}.{ext}`, its days, its archive. What is
in it is decided when an article comes or changes (`indexing.fold`), so that polling it costs what
a category costs. A private view has no public address, only private feeds.

A private feed is an unguessable address of one subscriber for a category or a view. Only the hash
of its token is kept.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from service import filters
from service.articles import categories, times
from service.articles.article import Article
from service.articles.text import normalized
from service.errors import InvalidInput
from service.filters import EVERYTHING, Filter, Query
from service.pages import VIEWS

MAX_TITLE_CHARS = 200
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MAX_NAME_CHARS = 60
_FIELDS = ("name", "title", "category", "query", "private")
_FEED_FIELDS = ("category", "view", "label")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A saved selection."""

    name: str
    title: str
    category: str
    """Of which it selects: a path, or `all`."""
    query: str
    """In its one spelling, with nothing in it but what `Filter` has."""
    private: bool
    created: str
    """RFC 3339."""
    filter: Filter = field(default=EVERYTHING, compare=False)

    @property
    def path(self) -> str:
        """What stands where categories have theirs."""
        return VIEWS + self.name

    def holds(self, article: Article) -> bool:
        """Whether an article that is in the view's category is in the view."""
        return self.filter.matches(article)

    def shown(self) -> dict[str, Any]:
        """As API, CLI and storage have it."""
        return {
            "name": self.name,
            "title": self.title,
            "category": self.category,
            "query": self.query,
            "private": self.private,
            "created": self.created,
        }

    @classmethod
    def kept(cls, fields: Mapping[str, Any]) -> View:
        """The inverse of `shown`."""
        return cls(**fields, filter=filters.parse(fields["query"], zone=UTC).filter)


def make(fields: Mapping[str, object], *, created: datetime) -> View:
    """Check what a client asks for.

    Raises:
        InvalidInput: naming the field.
    """
    _check_names(fields, _FIELDS)
    name = _text(fields, "name", required=True)
    is_name = _NAME.fullmatch(name) and len(name) <= MAX_NAME_CHARS
    if not is_name or not categories.is_path(name):
        reason = f"must be lower-case letters, digits and hyphens, {MAX_NAME_CHARS} at most"
        raise InvalidInput("name", name, reason)
    private = fields.get("private", False)
    if not isinstance(private, bool):
        raise InvalidInput("private", private, "must be true or false")
    query = filters.parse(_text(fields, "query"), zone=UTC)
    if query != Query(filter=query.filter):
        reason = "a view selects by what articles are; since, until, limit and content come in URLs"
        raise InvalidInput("query", fields["query"], reason)
    return View(
        name=name,
        title=(_text(fields, "title") or categories.title_of(name))[:MAX_TITLE_CHARS],
        category=_category(_text(fields, "category") or categories.ALL),
        query=str(query),
        private=private,
        created=times.to_rfc3339(created),
        filter=query.filter,
    )


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

    def shown(self) -> dict[str, Any]:
        """As API and CLI list it; the token is not known any more."""
        place = {"category": self.category}
        if self.category.startswith(VIEWS):
            place = {"view": self.category.removeprefix(VIEWS)}
        return {"id": self.id, **place, "label": self.label, "created": self.created}


def make_private(fields: Mapping[str, object], *, created: datetime) -> tuple[PrivateFeed, str]:
    """(the feed, its token, which is not kept).

    Raises:
        InvalidInput: naming the field.
    """
    _check_names(fields, _FEED_FIELDS)
    category, view = _text(fields, "category"), _text(fields, "view")
    if category and view:
        raise InvalidInput("view", view, "give a category or a view, not both")
    token = secrets.token_urlsafe(32)
    feed = PrivateFeed(
        id=f"pf_{uuid.uuid4().hex}",
        token_hash=token_hash(token),
        category=VIEWS + view if view else _category(category or categories.ALL),
        label=_text(fields, "label")[:MAX_TITLE_CHARS],
        created=times.to_rfc3339(created),
    )
    return feed, token


def token_hash(token: str) -> str:
    """What is kept of a token: it has 256 random bits, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode()).hexdigest()


def _check_names(fields: Mapping[str, object], known: tuple[str, ...]) -> None:
    for name in fields:
        if name not in known:
            raise InvalidInput(name, fields[name], f"no such field; known: {', '.join(known)}")


def _text(fields: Mapping[str, object], name: str, *, required: bool = False) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise InvalidInput(name, value, "must be a string")
    value = " ".join(normalized(value).split())
    if required and not value:
        raise InvalidInput(name, value, "is missing")
    return value


def _category(spelling: str) -> str:
    return spelling if spelling == categories.ALL else categories.parse(spelling).path
