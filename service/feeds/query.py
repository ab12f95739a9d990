"""Filters: which articles of a page, and how much of each; the query part of a feed's URL. Pure.

    lang=en,fr          its language is one of these, or a variety of one (RFC 4647 3.3.1)
    q=fog ferry         all these words are in its title or text, in any case
    author=  source=    one of these (repeated); a source is a URI, or the host of one
    tag=                all of these tags (repeated)
    any=  all=  none=   categories or tags, by comma: in one of them, in each, in none. An article
                        is in the categories above its own, too; tags are compared as slugs
    since=  until=      published from then on, before then: RFC 3339, or a day in TIMEZONE
    limit=              at most so many, newest first
    before=             older than this place: what `next` links carry
    content=            `full`, or `summary` for no texts

A query has one spelling: names in this order, values folded and sorted, nothing that changes
nothing. Any other spelling is sent there, so that caches hold each document once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from urllib.parse import parse_qsl, quote

from service.articles import categories
from service.articles.article import Article
from service.articles.text import line, plain_text
from service.articles.times import from_rfc3339, to_ms
from service.errors import InvalidInput
from service.http import whole_number

MAX_LIMIT = 1_000
MAX_VALUES = 20
MAX_PARAMETERS = 100
MAX_VALUE_CHARS = 200
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_LANGUAGE = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]{1,8})*")
_PLACE = re.compile(r"(-?\d{1,15})-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
# Of a query, by comma; the others are repeated, because names hold commas.
_LISTS = ("lang", "any", "all", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """What an article must be. Values are folded."""

    lang: tuple[str, ...] = ()
    q: tuple[str, ...] = ()
    author: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    def matches(self, article: Article) -> bool:
        """Whether it is this."""
        return (
            (not self.lang or _is_in_language(article, self.lang))
            and (not self.author or any(categories.fold(a) in self.author for a in article.authors))
            and (not self.source or _is_from(article, self.source))
            and self._places_match(article)
            and (not self.q or _has_words(article, self.q))
        )

    def _places_match(self, article: Article) -> bool:
        if not (self.tag or self.any or self.all or self.none):
            return True
        tags = _tags(article.tags)
        places = tags.union(categories.with_ancestors(article.categories))
        return (
            tags.issuperset(self.tag)
            and (not self.any or not places.isdisjoint(self.any))
            and places.issuperset(self.all)
            and places.isdisjoint(self.none)
        )


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class PageCursor:
    """A place in a list that is newest first, ties by id."""

    ms: int
    id: str

    def __str__(self) -> str:
        """As `before=` has it."""
        return f"{self.ms}-{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """All of a feed's query part."""

    filter: Filter = EVERYTHING
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 0
    """0 if it does not say."""
    before: PageCursor | None = None
    is_brief: bool = False
    """content=summary."""

    def __str__(self) -> str:
        """The one spelling of it."""
        pairs: list[tuple[str, str]] = []
        for field in fields(Filter):
            values = getattr(self.filter, field.name)
            if field.name in _LISTS:
                pairs += [(field.name, ",".join(values))] if values else []
            elif field.name == "q":
                pairs += [("q", " ".join(values))] if values else []
            else:
                pairs += [(field.name, value) for value in values]
        pairs += [(name, _spelled(getattr(self, name))) for name in ("since", "until")]
        pairs.append(("limit", str(self.limit) if self.limit else ""))
        pairs.append(("before", str(self.before or "")))
        pairs.append(("content", "summary" if self.is_brief else ""))
        return "&".join(f"{name}={quote(value, safe='/:,')}" for name, value in pairs if value)


def parse_query(text: str, *, zone: tzinfo) -> Query:
    """Read the query part of a URL.

    Args:
        zone: which moment a day begins.

    Raises:
        InvalidInput: a name that is none, a value that is empty or cannot be read.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError as exc:
        raise InvalidInput("query", text, f"has more than {MAX_PARAMETERS} parameters") from exc
    given: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in _READERS and name not in _SINGLE:
            known = ", ".join([*_READERS, *_SINGLE])
            raise InvalidInput(name, value, f"no such parameter; known: {known}")
        if not value.strip() or len(value) > MAX_VALUE_CHARS:
            raise InvalidInput(name, value, f"needs 1 to {MAX_VALUE_CHARS} characters")
        given.setdefault(name, []).append(value.strip())
    for name in _SINGLE:
        if len(given.get(name, [])) > 1:
            raise InvalidInput(name, given[name], "is given twice")
    return Query(
        filter=Filter(**{name: _values(name, given.get(name, [])) for name in _READERS}),
        since=_moment("since", given, zone),
        until=_moment("until", given, zone),
        limit=_limit(given),
        before=_place(given),
        is_brief=_is_brief(given),
    )


def _values(name: str, given: Sequence[str]) -> tuple[str, ...]:
    parts: Iterable[str] = given
    if name in _LISTS:
        parts = [part for value in given for part in value.split(",")]
    elif name == "q":
        words = [word for value in given for word in value.split()]
        # Some characters fold to a space and another: `´` is a space with an accent.
        parts = [part for word in words for part in _folded(word).split() or [word]]
    found = sorted({_READERS[name](name, part.strip()) for part in parts})
    if len(found) > MAX_VALUES:
        raise InvalidInput(name, given, f"more than {MAX_VALUES} values")
    return tuple(found)


def _word(name: str, text: str) -> str:
    folded = _folded(text)
    if not folded:
        raise InvalidInput(name, text, "has nothing that can be compared")
    return folded


def _folded(text: str) -> str:
    return " ".join(categories.fold(line(text)).split())


def _language(name: str, text: str) -> str:
    folded = text.lower().replace("_", "-")
    if not _LANGUAGE.fullmatch(folded):
        raise InvalidInput(name, text, "must be language tags such as en or pt-br")
    return folded


def _tag(name: str, text: str) -> str:
    slug = categories.slugify(text)
    if not slug:
        raise InvalidInput(name, text, "needs at least one letter or digit")
    return slug


def _category_or_tag(name: str, text: str) -> str:
    try:
        return categories.parse(text).path
    except InvalidInput as exc:
        raise InvalidInput(name, text, exc.reason) from exc


_READERS = {
    "lang": _language, "q": _word, "author": _word, "source": _word, "tag": _tag,
    "any": _category_or_tag, "all": _category_or_tag, "none": _category_or_tag,
}  # fmt: skip
_SINGLE = ("since", "until", "limit", "before", "content")


def _moment(name: str, given: dict[str, list[str]], zone: tzinfo) -> datetime | None:
    (text,) = given.get(name, [""])
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
        # A plus that was not encoded has become a space.
        return from_rfc3339(text.replace(" ", "+"))
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(name, text, "must be RFC 3339 with a zone, or a day") from exc


def _spelled(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _limit(given: dict[str, list[str]]) -> int:
    if "limit" not in given:
        return 0
    (text,) = given["limit"]
    return whole_number("limit", text, low=1, high=MAX_LIMIT)


def _place(given: dict[str, list[str]]) -> PageCursor | None:
    (text,) = given.get("before", [""])
    if not text:
        return None
    found = _PLACE.fullmatch(text)
    if not found:
        raise InvalidInput("before", text, "is no place that a next link gave")
    return PageCursor(int(found[1]), found[2])


def _is_brief(given: dict[str, list[str]]) -> bool:
    (text,) = given.get("content", ["full"])
    if text not in ("full", "summary"):
        raise InvalidInput("content", text, "must be full or summary")
    return text == "summary"


def _is_in_language(article: Article, wanted: Sequence[str]) -> bool:
    language = article.language.lower().replace("_", "-")
    return any(language == tag or language.startswith(f"{tag}-") for tag in wanted)


def _is_from(article: Article, wanted: Sequence[str]) -> bool:
    source = categories.fold(article.source)
    host = source.split("://", 1)[-1].split("/", 1)[0].rpartition("@")[2]
    return source in wanted or host in wanted


def _has_words(article: Article, words: Sequence[str]) -> bool:
    title = categories.fold(article.title)
    missing = [word for word in words if word not in title]
    if not missing:
        return True
    text = _text(article.content_html, article.summary)
    return all(word in text for word in missing)


# An event is held against the queries of many webhooks in a row.
@lru_cache(maxsize=32)
def _text(content_html: str, summary: str) -> str:
    return categories.fold(plain_text(content_html) or summary)


@lru_cache(maxsize=32)
def _tags(tags: tuple[str, ...]) -> frozenset[str]:
    return frozenset(categories.slugify(tag) for tag in tags)


def cursor_of(article: Article) -> PageCursor:
    """Where an article stands in a list."""
    return PageCursor(to_ms(article.published), article.id)
