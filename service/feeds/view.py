"""Views: named, saved selections, each with a separate index. Pure.

A view has feeds like a category: `/feeds/views/{name}.{ext}`, its days and its archive. An article
is matched with views when it arrives or changes (`index_step.index_step`), so that polling a view
costs no more than polling a category. A private view has no public URL, only private feeds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from service.articles import categories, times
from service.articles.article import Article
from service.articles.text import normalized
from service.errors import InvalidInput, refuse_unknown_fields
from service.feeds.page import VIEWS
from service.feeds.query import EVERYTHING, Filter, Query, parse_query

MAX_TITLE_CHARS = 200
_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MAX_NAME_CHARS = 60
_FIELDS = ("name", "title", "category", "query", "private")


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A saved selection from the articles of one category."""

    name: str
    title: str
    category: str
    """The category from which it selects: a path, or `all`."""
    query: str
    """Canonical spelling of a query that has only the parameters of `Filter`."""
    private: bool
    created: str
    """RFC 3339."""
    filter: Filter = field(default=EVERYTHING, compare=False)

    @property
    def path(self) -> str:
        """Its path in `Page.category`: `views/{name}`."""
        return VIEWS + self.name

    def holds(self, article: Article) -> bool:
        """Whether the view contains an article; the caller checks the category."""
        return self.filter.matches(article)

    def to_public(self) -> dict[str, Any]:
        """The fields as API, CLI and storage use them."""
        return {
            "name": self.name,
            "title": self.title,
            "category": self.category,
            "query": self.query,
            "private": self.private,
            "created": self.created,
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> View:
        """Read what `to_public` returned."""
        return cls(**fields, filter=parse_query(fields["query"], zone=UTC).filter)


def make_view(fields: Mapping[str, object], *, created: datetime) -> View:
    """Create a view from a client's fields.

    Raises:
        InvalidInput: with the name of the field.
    """
    refuse_unknown_fields(fields, _FIELDS)
    name = text_of(fields, "name", required=True)
    is_name = _NAME.fullmatch(name) and len(name) <= MAX_NAME_CHARS
    if not is_name or not categories.is_path(name):
        reason = f"must be lower-case letters, digits and hyphens, {MAX_NAME_CHARS} at most"
        raise InvalidInput("name", name, reason)
    private = fields.get("private", False)
    if not isinstance(private, bool):
        raise InvalidInput("private", private, "must be true or false")
    query = parse_query(text_of(fields, "query"), zone=UTC)
    if query != Query(filter=query.filter):
        reason = "a view selects by what articles are; since, until, limit and content come in URLs"
        raise InvalidInput("query", fields["query"], reason)
    return View(
        name=name,
        title=(text_of(fields, "title") or categories.title_of(name))[:MAX_TITLE_CHARS],
        category=category_of(text_of(fields, "category") or categories.ALL),
        query=str(query),
        private=private,
        created=times.to_rfc3339(created),
        filter=query.filter,
    )


def text_of(fields: Mapping[str, object], name: str, *, required: bool = False) -> str:
    """A field as one line of text; empty if it is missing. Raises InvalidInput."""
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise InvalidInput(name, value, "must be a string")
    value = " ".join(normalized(value).split())
    if required and not value:
        raise InvalidInput(name, value, "is missing")
    return value


def category_of(spelling: str) -> str:
    """The path of a category that a client spelled, or `all`. Raises InvalidInput."""
    return spelling if spelling == categories.ALL else categories.parse(spelling).path
