"""A news page that somebody saved as text. Pure.

    Coalition News                                      the category (its heading)
    22 December 2017 In Coalition News                  one article: day, category
    First paragraph …                                   paragraphs, blank lines between them
    Home Media Center Coalition News Items filtered by date: Friday, 22 December 2017

A page can contain several articles, each with its day line. The breadcrumb has no separators: it is
split by the category that the page names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import tzinfo

from service.articles import text
from service.articles.article import Detail, Entry
from service.errors import ParseFailed
from workers.ingest.parse.charsets import charset_of, decode
from workers.ingest.parse.dates import parse_date
from workers.ingest.parse.document import Document

FILTERED = "Items filtered by date"
_HOME = re.compile(r"^(?:home|accueil|startseite|inicio|الرئيسية)\b\s*[/>»]?\s*", re.IGNORECASE)
_DIVIDERS = " />»›"
# A category ends without a full stop: "20 December 2017 in Geneva they met." is text.
_DAY_LINE = re.compile(
    r"(\d{1,2}\s+[^\W\d]+(?:\s[^\W\d]+)?\s+\d{4})\s+(?:In|in|في)\s+(\S.{0,78}(?<![.,;:!?]))"
)
# A title above its day line; longer lines are text.
MAX_HEADING_CHARS = 200


def parse_text(body: bytes, *, url: str, content_type: str, zone: tzinfo) -> Document:
    """The articles of a saved page. Raises ParseFailed if there is no day line."""
    lines = decode(body, charset_of(content_type)).splitlines()
    crumbs, lines = _split_breadcrumb(lines)
    blocks = list(_blocks(lines))
    if not blocks:
        raise ParseFailed(
            "neither a feed nor a page of a known kind: as text it needs a line such as "
            "'22 December 2017 In Coalition News' above each article"
        )
    entries = tuple(_entry(block, crumbs, zone) for block in blocks)
    return Document(kind="text", url=url, title=blocks[0][1], entries=entries)


def _split_breadcrumb(lines: list[str]) -> tuple[str, list[str]]:
    """(the breadcrumb between Home and the date, the other lines)."""
    for number, line in enumerate(lines):
        before, separator, _ = line.partition(FILTERED)
        if separator and (_HOME.match(line.strip()) or not before.strip()):
            return _HOME.sub("", before.strip()).strip(_DIVIDERS), lines[:number] + lines[
                number + 1 :
            ]
    return "", lines


Block = tuple[str, str, str, list[str]]
"""(day, category, title or empty, lines of text)."""


def _blocks(lines: list[str]) -> Iterator[Block]:
    starts = [(n, match) for n, line in enumerate(lines) if (match := _day_line(line))]
    for index, (number, match) in enumerate(starts):
        end = starts[index + 1][0] if index + 1 < len(starts) else len(lines)
        category = " ".join(match.group(2).split())
        if index + 1 < len(starts):
            end -= len(_heading(lines[number + 1 : end])[1])
        title = _heading(
            lines[:number] if index == 0 else lines[starts[index - 1][0] + 1 : number]
        )[0]
        yield match.group(1), category, "" if title == category else title, lines[number + 1 : end]


def _day_line(line: str) -> re.Match[str] | None:
    return _DAY_LINE.fullmatch(line.strip()) if len(line) <= MAX_HEADING_CHARS else None


def _heading(lines: list[str]) -> tuple[str, list[str]]:
    """(the heading at the end of these lines, its lines): the last line, if it is short and follows
    an empty line, as the page's category or a title does."""
    if lines and lines[-1].strip() and len(lines[-1]) <= MAX_HEADING_CHARS:
        above = lines[-2].strip() if len(lines) > 1 else ""
        if not above:
            return " ".join(lines[-1].split()), lines[-1:]
    return "", []


def _entry(block: Block, crumbs: str, zone: tzinfo) -> Entry:
    day, category, title, lines = block
    return Entry(
        title=title,
        content_html=text.paragraphs(_unwrapped(lines)),
        categories=(_path(crumbs, category),),
        published=parse_date(day, zone=zone),
        raw_published=day,
        detail=Detail.PAGE,
    )


def _unwrapped(lines: list[str]) -> str:
    """The text with one line for each paragraph: a page that is saved as text wraps its lines."""
    blocks = re.split(r"\n\n+", "\n".join(line.strip() for line in lines))
    return "\n\n".join(" ".join(block.split()) for block in blocks)


def _path(crumbs: str, category: str) -> str:
    """`Media Center/Coalition News` for `Media Center Coalition News` and `Coalition News`."""
    above = crumbs.removesuffix(category).strip(_DIVIDERS) if crumbs.endswith(category) else ""
    return f"{above}/{category}" if above else category
