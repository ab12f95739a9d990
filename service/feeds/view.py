"""Views: named, saved selections, with an index of their own. Pure.

A view is to feeds what a category is: `/feeds/views/{name}.{ext}`, its days, its archive. What is
in it is decided when an article comes or changes (`index_step.index_step`), so that polling it
costs what a category costs. A private view has no public address, only private feeds.
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

    def to_public(self) -> dict[str, Any]:
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
    def from_json(cls, fields: Mapping[str, Any]) -> View:
        """The inverse of `shown`."""
        return cls(**fields, filter=parse_query(fields["query"], zone=UTC).filter)


def make_view(fields: Mapping[str, object], *, created: datetime) -> View:
    """Check what a client asks for.

    Raises:
        InvalidInput: naming the field.
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
    """A field as one line of text; empty if it is not given. Raises InvalidInput."""
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise InvalidInput(name, value, "must be a string")
    value = " ".join(normalized(value).split())
    if required and not value:
        raise InvalidInput(name, value, "is missing")
    return value


def category_of(spelling: str) -> str:
    """The path of a category as a client spells it, or `all`. Raises InvalidInput."""
    return spelling if spelling == categories.ALL else categories.parse(spelling).path
