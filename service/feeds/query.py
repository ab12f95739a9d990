"""Queries: which articles of a page a feed contains, and how much of each. Pure.

The query part of a feed's URL has these parameters:

    lang=en,fr          its language is one of these, or a variety of one (RFC 4647 3.3.1)
    q=fog ferry         all these words are in its title or text, whatever their case and marks;
                        words in quotation marks follow one another (`articles.words`)
    author=  source=    one of these (repeated); a source is a URI, or the host of one
    tag=                all of these tags (repeated)
    any=  all=  none=   categories or tags, joined by commas: it is in one of them, in each, in
                        none. An article is in the ancestors of its categories, too; tags are
                        compared as slugs
    since=  until=      published at or after, before: RFC 3339, or a day in TIMEZONE
    limit=              at most this many, newest first
    before=             older than this cursor, which `next` links contain
    content=            `full`, or `summary` to leave out the texts

A query has one canonical spelling: names in this order, values folded and sorted, parameters
without effect left out. Other spellings are redirected to it, so that caches store each document
once.
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
from service.articles.words import Term, comparable, terms_of, words_of
from service.errors import InvalidInput
from service.http import whole_number

MAX_LIMIT = 1_000
MAX_VALUES = 20
MAX_PARAMETERS = 100
MAX_VALUE_CHARS = 200
MAX_Q_CHARS = 500
"""Length of one `q`, as it is typed and in its canonical spelling, which can be longer."""
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LANGUAGE = re.compile(r"[a-z]{2,8}(?:-[a-z0-9]{1,8})*")
_CURSOR = re.compile(r"(-?[0-9]{1,15})-([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")
# Parameters whose values are joined by commas; others are repeated, as names contain commas.
_LISTS = ("lang", "any", "all", "none")
Label = tuple[str, str]
"""A property of articles that can be looked up: (kind, value)."""
WORD = "word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Conditions that an article must meet, all of them; an empty one is met. Values are folded."""

    lang: tuple[str, ...] = ()
    q: tuple[str, ...] = ()
    """Each the spelling of a `words.Term`."""
    author: tuple[str, ...] = ()
    source: tuple[str, ...] = ()
    tag: tuple[str, ...] = ()
    any: tuple[str, ...] = ()
    all: tuple[str, ...] = ()
    none: tuple[str, ...] = ()

    def matches(self, article: Article) -> bool:
        """Whether an article meets all conditions."""
        return (
            (not self.lang or _is_in_language(article, self.lang))
            and (not self.author or any(_folded(name) in self.author for name in article.authors))
            and (not self.source or _is_from(article, self.source))
            and self._labels_match(article)
            and (not self.q or _has_words(article, self.q))
        )

    def label_sets(self) -> list[frozenset[Label]]:
        """Sets of labels, of each of which every article that matches has one (`labels_of`,
        `word_labels_of`); a set of words has one member, and comes last."""
        sets = [
            *({("tag", value)} for value in self.tag),
            {("source", value) for value in self.source},
            {("author", value) for value in self.author},
            *({("tag", value), ("category", value)} for value in self.all),
            {(kind, value) for value in self.any for kind in ("tag", "category")},
            {("lang", value) for value in self.lang},
        ]
        tokens = [token for spelling in self.q for token in _term_of(spelling).tokens]
        # Those with symbols, and runs of letters without spaces, are no words of a text.
        words = [{(WORD, token)} for token in tokens if words_of(token) == [token]]
        return [frozenset(labels) for labels in (*sets, *words) if labels]

    def _labels_match(self, article: Article) -> bool:
        if not (self.tag or self.any or self.all or self.none):
            return True
        tags = _tags(article.tags)
        labels = tags.union(categories.with_ancestors(article.categories))
        return (
            tags.issuperset(self.tag)
            and (not self.any or not labels.isdisjoint(self.any))
            and labels.issuperset(self.all)
            and labels.isdisjoint(self.none)
        )


EVERYTHING = Filter()


@dataclass(frozen=True, slots=True)
class PageCursor:
    """A position after one article in a list sorted newest first, then by id."""

    ms: int
    id: str

    @classmethod
    def parse(cls, text: str) -> PageCursor:
        """Read the value of `before=`. Raises InvalidInput."""
        match = _CURSOR.fullmatch(text)
        if not match:
            raise InvalidInput("before", text, "is not a cursor from a next link")
        return cls(int(match[1]), match[2])

    def __str__(self) -> str:
        """The value of `before=`: `{ms}-{id}`."""
        return f"{self.ms}-{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The parsed query part of a feed's URL; the default selects every article."""

    filter: Filter = EVERYTHING
    since: datetime | None = None
    until: datetime | None = None
    limit: int = 0
    """0 if the query has no limit."""
    before: PageCursor | None = None
    is_brief: bool = False
    """Whether texts are left out (`content=summary`)."""

    def __str__(self) -> str:
        """The canonical spelling, percent-encoded; empty for the default query."""
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
        zone: time zone in which days of `since` and `until` begin.

    Raises:
        InvalidInput: a name is unknown or given twice, or a value is empty or malformed.
    """
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError as exc:
        raise InvalidInput("query", text, f"has more than {MAX_PARAMETERS} parameters") from exc
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in _PARSERS and name not in _SINGLE:
            known = ", ".join([*_PARSERS, *_SINGLE])
            raise InvalidInput(name, value, f"no such parameter; known: {known}")
        max_chars = MAX_Q_CHARS if name == "q" else MAX_VALUE_CHARS
        if not value.strip() or len(value) > max_chars:
            raise InvalidInput(name, value, f"needs 1 to {max_chars} characters")
        values.setdefault(name, []).append(value.strip())
    for name in _SINGLE:
        if len(values.get(name, [])) > 1:
            raise InvalidInput(name, values[name], "is given twice")
    return Query(
        filter=Filter(**{name: _values(name, values.get(name, [])) for name in _PARSERS}),
        since=_moment("since", values, zone),
        until=_moment("until", values, zone),
        limit=_limit(values),
        before=_cursor(values),
        is_brief=_is_brief(values),
    )


def _values(name: str, texts: Sequence[str]) -> tuple[str, ...]:
    items: Iterable[str] = texts
    if name in _LISTS:
        items = [item for text in texts for item in text.split(",")]
    elif name == "q":
        items = [item for text in texts for item in _terms(text)]
    values = sorted({_PARSERS[name](name, item.strip()) for item in items})
    if len(values) > MAX_VALUES:
        raise InvalidInput(name, texts, f"more than {MAX_VALUES} values")
    if name == "q" and len(" ".join(values)) > MAX_Q_CHARS:
        raise InvalidInput(name, texts, f"is more than {MAX_Q_CHARS} characters in all")
    return tuple(values)


def _terms(text: str) -> list[str]:
    terms = [str(term) for term in terms_of(line(text))]
    if not terms:
        raise InvalidInput("q", text, "needs a word to search for")
    return terms


def _term(name: str, text: str) -> str:
    return text


def _author(name: str, text: str) -> str:
    return _comparable(name, text, _folded(line(text)))


def _source(name: str, text: str) -> str:
    return _comparable(name, text, " ".join(categories.fold(line(text)).split()))


def _comparable(name: str, text: str, folded: str) -> str:
    if not folded:
        raise InvalidInput(name, text, "has nothing that can be compared")
    if len(folded) > MAX_VALUE_CHARS:
        # A ligature can fold to eighteen letters, and the canonical spelling must be read again.
        raise InvalidInput(name, text, f"is folded to more than {MAX_VALUE_CHARS} characters")
    return folded


def _folded(name: str) -> str:
    return " ".join(comparable(name).split())


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


_PARSERS = {
    "lang": _language, "q": _term, "author": _author, "source": _source, "tag": _tag,
    "any": _category_or_tag, "all": _category_or_tag, "none": _category_or_tag,
}  # fmt: skip
_SINGLE = ("since", "until", "limit", "before", "content")


def _moment(name: str, values: dict[str, list[str]], zone: tzinfo) -> datetime | None:
    (text,) = values.get(name, [""])
    if not text:
        return None
    try:
        if _DAY.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC)
        # A plus sign that was not percent-encoded is decoded as a space.
        return from_rfc3339(text.replace(" ", "+"))
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(name, text, "must be RFC 3339 with a zone, or a day") from exc


def _spelled(moment: datetime | None) -> str:
    if moment is None:
        return ""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _limit(values: dict[str, list[str]]) -> int:
    if "limit" not in values:
        return 0
    (text,) = values["limit"]
    return whole_number("limit", text, low=1, high=MAX_LIMIT)


def _cursor(values: dict[str, list[str]]) -> PageCursor | None:
    (text,) = values.get("before", [""])
    return PageCursor.parse(text) if text else None


def _is_brief(values: dict[str, list[str]]) -> bool:
    (text,) = values.get("content", ["full"])
    if text not in ("full", "summary"):
        raise InvalidInput("content", text, "must be full or summary")
    return text == "summary"


def _is_in_language(article: Article, wanted: Sequence[str]) -> bool:
    language = article.language.lower().replace("_", "-")
    return any(language == tag or language.startswith(f"{tag}-") for tag in wanted)


def _is_from(article: Article, wanted: Sequence[str]) -> bool:
    source = categories.fold(article.source)
    return source in wanted or _host(source) in wanted


def _host(source: str) -> str:
    return source.split("://", 1)[-1].split("/", 1)[0].rpartition("@")[2]


def _has_words(article: Article, spellings: Sequence[str]) -> bool:
    title = comparable(article.title)
    missing = [term for term in map(_term_of, spellings) if not term.is_in(title)]
    if not missing:
        return True
    text = _text(article.content_html, article.summary)
    return all(term.is_in(text) for term in missing)


@lru_cache(maxsize=16_384)
def _term_of(spelling: str) -> Term:
    return terms_of(spelling)[0]


# One event is matched with the queries of many webhooks, one directly after another.
@lru_cache(maxsize=32)
def _text(content_html: str, summary: str) -> str:
    return comparable(plain_text(content_html) or summary)


@lru_cache(maxsize=32)
def _tags(tags: tuple[str, ...]) -> frozenset[str]:
    return frozenset(categories.slugify(tag) for tag in tags)


def labels_of(article: Article) -> set[Label]:
    """All labels of an article but those of its words, for `Filter.label_sets`."""
    source = categories.fold(article.source)
    language = article.language.lower().replace("_", "-")
    parts = language.split("-")
    return {
        *(("tag", tag) for tag in _tags(article.tags)),
        *(("category", path) for path in categories.with_ancestors(article.categories)),
        *(("author", _folded(name)) for name in article.authors),
        *(("source", name) for name in (source, _host(source))),
        *(("lang", "-".join(parts[: count + 1])) for count in range(len(parts))),
    }


def word_labels_of(article: Article) -> set[Label]:
    """The labels of the words in the title and the text of an article."""
    text = _text(article.content_html, article.summary)
    return {(WORD, word) for word in (*words_of(comparable(article.title)), *words_of(text))}


def cursor_of(article: Article) -> PageCursor:
    """The cursor of the articles that follow this one in a list."""
    return PageCursor(to_ms(article.published), article.id)
