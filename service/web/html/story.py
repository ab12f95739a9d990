"""An article and its category links as the templates show them. Pure.

Rules. `content_html` was sanitised at ingest: it alone is marked as safe. Links to other sites are
http or https. An image or a closing "(Source: …)" that the text itself contains is not shown again.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from html import escape, unescape

from markupsafe import Markup

from service.articles import categories
from service.articles.article import Article, Enclosure
from service.articles.podcast import Podcast, clock
from service.feeds.page import VIEWS, Page, Period

ALL_TITLE = "All articles"
# Languages written from right to left in their usual script (Unicode CLDR, characterOrder).
RTL_LANGUAGES = frozenset({
    "ar", "arc", "ary", "arz", "bgn", "ckb", "dv", "fa", "glk", "he", "iw", "khw", "ks", "lrc",
    "mzn", "nqo", "pnb", "prs", "ps", "sd", "syr", "ug", "ur", "yi",
})  # fmt: skip
RTL_SCRIPTS = frozenset({"adlm", "arab", "hebr", "mand", "nkoo", "rohg", "syrc", "thaa"})
# Enough of the end of a text for a closing "(Source: …)" with the markup around it.
CLOSING_CHARS = 800
_TAG = re.compile(r"<[^>]*>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A path or URL, and the text of its link."""

    href: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """The values that the templates show of one article."""

    href: str
    title: str
    language: str
    direction: str
    """`rtl` or `ltr`."""
    moment: str
    """Publication time for `<time datetime>`, RFC 3339 in the site's zone."""
    day: Link
    time: str
    """Time of day such as `16:41`; empty at midnight, when the source gave a date only."""
    updated: str
    """Day of the last change; empty for a first revision."""
    categories: Sequence[Link]
    authors: str
    content: Markup
    image: str
    enclosures: Sequence[Enclosure]
    episode: str
    """`Season 2, episode 3 · 1:02:03`; empty if it is not an episode."""
    transcripts: Sequence[Link]
    attribution: str
    """Name of the source; empty if the text itself ends with it."""
    original: Link | None
    """The article on its publisher's site, with the host name as text; None if it has no URL."""
    json_href: str


def category_title(path: str, titles: Mapping[str, str]) -> str:
    """The title of a category's last step; derived from its slug if no title is known."""
    if path == categories.ALL:
        return ALL_TITLE
    return titles.get(path) or categories.title_of(path)


def crumbs(category: str, titles: Mapping[str, str]) -> list[Link]:
    """Links from the root category to this one; the template adds Home."""
    if category == categories.ALL:
        return [Link(href="/", text=ALL_TITLE)]
    if category.startswith(VIEWS):
        return [Link(href=Page(category).news_path(), text=category_title(category, titles))]
    steps = category.split("/")
    above = ["/".join(steps[: i + 1]) for i in range(len(steps))]
    return [Link(href=Page(p).news_path(), text=category_title(p, titles)) for p in above]


def story_of(
    article: Article, titles: Mapping[str, str], zone: tzinfo, *, within: str = ""
) -> Story:
    """The story of an article.

    Args:
        titles: category path → title.
        zone: time zone in which the dates are shown.
        within: category whose page of the day the date links to; empty for the article's first.
    """
    local = article.published.astimezone(zone)
    category = within or (article.categories[0] if article.categories else categories.ALL)
    day = Page(category, Period(local.year, local.month, local.day)).news_path()
    return Story(
        href=f"/articles/{article.id}",
        title=article.title,
        language=article.language.replace("_", "-"),
        direction=_direction(article),
        moment=local.isoformat(timespec="seconds"),
        day=Link(href=day, text=_day_text(local)),
        time=f"{local:%H:%M}" if (local.hour, local.minute) != (0, 0) else "",
        updated=_day_text(article.updated.astimezone(zone)) if article.revision > 1 else "",
        categories=[crumbs(path, titles)[-1] for path in article.categories],
        authors=", ".join(article.authors),
        content=Markup(article.content_html),  # noqa: S704 -- sanitised at ingest (service.articles.sanitize)
        image=_own_image(article),
        enclosures=[e for e in article.enclosures if _is_web(e.url)],
        episode=_episode(article.podcast) if article.podcast else "",
        transcripts=_transcripts(article.podcast) if article.podcast else [],
        attribution="" if _closes_with_source(article) else article.attribution,
        original=_original(article.url),
        json_href=f"/articles/{article.id}.json",
    )


def _episode(podcast: Podcast) -> str:
    numbers = (("season", podcast.season), ("episode", podcast.episode))
    where = ", ".join(f"{name} {number}" for name, number in numbers if number)
    kind = podcast.episode_type if podcast.episode_type != "full" else ""
    length = clock(podcast.duration_s) if podcast.duration_s else ""
    parts = (where, kind, length, "explicit" if podcast.explicit else "")
    text = " · ".join(filter(None, parts))
    return text[:1].upper() + text[1:]


def _transcripts(podcast: Podcast) -> list[Link]:
    return [
        Link(href=each.url, text=f"Transcript ({each.language or each.type})")
        for each in podcast.transcripts
        if _is_web(each.url)
    ]


def _day_text(moment: datetime) -> str:
    return f"{moment.day} {moment:%B %Y}"


def _direction(article: Article) -> str:
    """`rtl` if the language, or the first letter of the title, is written from right to left.

    The letter is checked too, because feeds often name the language of their software instead of
    that of the text.
    """
    steps = article.language.replace("_", "-").casefold().split("-")
    if steps[0] in RTL_LANGUAGES or RTL_SCRIPTS.intersection(steps[1:]):
        return "rtl"
    return next(_strong_directions(article.title), "ltr")


def _strong_directions(text: str) -> Iterator[str]:
    for character in text:
        kind = unicodedata.bidirectional(character)
        if kind in ("L", "R", "AL"):
            yield "ltr" if kind == "L" else "rtl"


def _is_web(url: str) -> bool:
    return url.startswith(("https://", "http://"))


def _original(url: str) -> Link | None:
    return Link(href=url, text=_host(url)) if _is_web(url) else None


def _host(url: str) -> str:
    # Not urlsplit, which raises for some URLs that browsers follow. User names are left out.
    return re.split(r"[/?#\\]", url, maxsplit=3)[2].rpartition("@")[2]


def _own_image(article: Article) -> str:
    """URL of the article's image; empty if its text contains the image."""
    text = article.content_html
    is_in_text = escape(article.image) in text or article.image in text
    return article.image if _is_web(article.image) and not is_in_text else ""


def _closes_with_source(article: Article) -> bool:
    closing = unescape(_TAG.sub("", article.content_html[-CLOSING_CHARS:]))
    return article.attribution in " ".join(closing.split())
