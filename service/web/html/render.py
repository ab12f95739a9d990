"""HTML pages for people: frozen views in, UTF-8 bytes out.

A news page is modelled on the "Items filtered by date" of a K2 site: breadcrumb, heading, the
articles with their date lines, and a calendar of the days that have articles.

Rules. Everything is escaped except `content_html`, which was sanitised at ingest. Links in the body
are paths, so that a page works under any host name; `<link>` elements have absolute URLs, because
feed readers copy them elsewhere. Autodiscovery names the most specific feed first, with rel exactly
"alternate" (RSS Advisory Board, "RSS Autodiscovery"). There is no script, no inline style and no
style sheet of another host, so that a strict Content-Security-Policy applies. The templates are
read once; there is no other I/O and no clock: the same view always gives the same bytes.
"""

from __future__ import annotations

import calendar
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from service.articles import categories
from service.articles.article import WITHDRAWN, Article
from service.articles.times import from_ms, to_rfc3339
from service.feeds.formats import FORMATS
from service.feeds.page import Page, Period
from service.web.html.story import Link, category_title, crumbs, story_of


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsView:
    """The articles of a category or view, or of all categories, in a period or live."""

    site_title: str
    base_url: str
    """Without a slash at the end."""
    page: Page
    titles: Mapping[str, str]
    """Category path → title, at least for the page's category and all its ancestors."""
    articles: Sequence[Article]
    """The articles in the order in which they are shown."""
    children: Sequence[tuple[str, str]]
    """(path, title) of each direct subcategory, or of the first ones."""
    month_days: frozenset[int]
    """Days of the shown month that have articles, from 1."""
    shown_month: tuple[int, int]
    """(year, month) of the calendar."""
    older: Period | None
    """The nearest earlier day that has articles; None if there is no such day."""
    newer: Period | None
    """The nearest later day that has articles; None if there is no such day."""
    zone: tzinfo
    more: Page | None = None
    """The page that continues after these articles; None if they are all."""
    has_more_children: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeView:
    """The home page: the newest articles of all categories, and the category tree."""

    site_title: str
    base_url: str
    tree: Sequence[tuple[str, str]]
    """(path, title) of every category, or of some; a parent must come before its children."""
    titles: Mapping[str, str]
    articles: Sequence[Article]
    zone: tzinfo
    month_days: frozenset[int] = frozenset()
    shown_month: tuple[int, int] | None = None
    """(year, month) of the calendar; None for no calendar."""
    older: Period | None = None
    category_count: int = 0
    """Number of all categories."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoriesView:
    """A part of the list of all categories."""

    site_title: str
    base_url: str
    after: str
    """Path of the category before the first; empty for the first part."""
    titles: Mapping[str, str]
    """Category path → title, of all categories."""
    shown: Sequence[tuple[str, str]]
    """(path, title) in their order."""
    next_after: str
    """Path of the category after which the next part begins; empty if this is the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ArticleView:
    """One article; if it is withdrawn, only its title and a notice are shown."""

    site_title: str
    base_url: str
    article: Article
    titles: Mapping[str, str]
    zone: tzinfo


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorView:
    """An error, described for a person."""

    site_title: str
    base_url: str
    status: int
    """HTTP status."""
    heading: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhooksView:
    """All webhooks and the newest events for operators, or one webhook with its log."""

    site_title: str
    base_url: str
    webhooks: Sequence[Mapping[str, Any]] = ()
    """Every webhook as the API shows it."""
    operations: Sequence[Mapping[str, Any]] = ()
    webhook: Mapping[str, Any] | None = None
    """The webhook that the page describes; None for the page of all webhooks."""
    attempts: Sequence[Mapping[str, Any]] = ()
    dead_letters: Sequence[Mapping[str, Any]] = ()


def render_news(view: NewsView) -> bytes:
    """The page of a category or view, for a period or live."""
    page, titles = view.page, view.titles
    name = category_title(page.category, titles)
    period = page.period.title()
    return _render(
        "news.html",
        view,
        _Head(
            title=_feed_title(page, titles),
            path=_news_path(page),
            alternates=_alternates([page.whole, Page(page.category)], titles),
        ),
        heading=f"Items filtered by date: {period}" if period else name,
        name=name,
        crumbs=crumbs(page.category, titles)[: None if period else -1],
        stories=[story_of(a, titles, view.zone, within=page.category) for a in view.articles],
        feeds=_feeds(page.whole, titles),
        live_feeds=[] if page.period.is_live else _feeds(Page(page.category), titles),
        children=[Link(href=Page(path).news_path(), text=title) for path, title in view.children],
        all_children=_categories_path(page.category) if view.has_more_children else "",
        more=Link(href=view.more.news_path(), text=period or name) if view.more else None,
        calendar=_calendar(page, view.shown_month, view.month_days),
        older=_day_link(page.category, view.older),
        newer=_day_link(page.category, view.newer),
    )


def render_home(view: HomeView) -> bytes:
    """The home page; without a calendar if the view has no month."""
    everything = Page(categories.ALL)
    month = view.shown_month
    return _render(
        "home.html",
        view,
        _Head(title="", path="/", alternates=_alternates([everything], view.titles)),
        stories=[story_of(a, view.titles, view.zone) for a in view.articles],
        feeds=_feeds(everything, view.titles),
        tree=_forest(view.tree),
        all_categories="/categories" if view.category_count > len(view.tree) else "",
        calendar=_calendar(everything, month, view.month_days) if month else None,
        older=_day_link(categories.ALL, view.older),
        newer=None,
    )


def render_categories(view: CategoriesView) -> bytes:
    """A part of the list of all categories, each with the titles of those above it."""
    path = _categories_path(view.after)
    rows = [
        _Branch(
            link=Link(href=Page(path).news_path(), text=categories.title_path(path, view.titles)),
            feeds=_feeds(Page(path), {path: title}),
        )
        for path, title in view.shown
    ]
    return _render(
        "categories.html",
        view,
        _Head(title="Categories", path=path, alternates=_alternates([], {})),
        rows=rows,
        more=_categories_path(view.next_after) if view.next_after else "",
    )


def render_article(view: ArticleView) -> bytes:
    """The page of one article; that of a withdrawn one is `noindex`."""
    article = view.article
    withdrawn = article.status == WITHDRAWN
    pages = [Page(path) for path in article.categories]
    return _render(
        "article.html",
        view,
        _Head(
            title=article.title,
            path=f"/articles/{article.id}",
            alternates=_alternates(pages, view.titles),
            description="" if withdrawn else article.summary,
            indexed=not withdrawn,
        ),
        story=story_of(article, view.titles, view.zone),
        crumbs=crumbs(article.categories[0], view.titles) if article.categories else [],
        withdrawn=withdrawn,
    )


def render_error(view: ErrorView) -> bytes:
    """The page that is sent instead of one that could not be shown."""
    head = _Head(title=view.heading, alternates=_alternates([], {}), indexed=False)
    return _render("error.html", view, head)


def render_webhooks(view: WebhooksView) -> bytes:
    """The page of all webhooks, or of one if `view.webhook` is set."""
    title = f"Webhook {view.webhook['id']}" if view.webhook else "Webhooks"
    head = _Head(title=title, alternates=_alternates([], {}), indexed=False)
    return _render("webhooks.html", view, head, moment=_moment)


def _moment(time_ms: int) -> str:
    return to_rfc3339(from_ms(time_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Feed:
    href: str
    name: str
    type: str
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Head:
    title: str
    """Title of the page; empty for the site's title alone."""
    path: str = ""
    """Path of the canonical URL; empty for none."""
    alternates: Sequence[_Feed]
    description: str = ""
    indexed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Branch:
    link: Link
    feeds: Sequence[_Feed]
    children: list[_Branch] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Day:
    number: int
    """Day of the month; 0 for a cell outside the month."""
    href: str
    """Path of the day's page; empty if the day has no articles."""
    current: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Calendar:
    month: Link
    year: Link
    weeks: Sequence[Sequence[_Day]]


@functools.cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _render(
    template: str,
    view: NewsView | HomeView | CategoriesView | ArticleView | ErrorView | WebhooksView,
    head: _Head,
    **values: object,
) -> bytes:
    text = _environment().get_template(template).render(view=view, head=head, **values)
    # A lone surrogate from a path in an error message must not turn a 404 into a 500.
    return text.encode("utf-8", "replace")


def _news_path(page: Page) -> str:
    return "/" if page == Page(categories.ALL) else page.news_path()


def _categories_path(after: str) -> str:
    after = "" if after == categories.ALL else after
    return f"/categories?after={quote(after)}" if after else "/categories"


def _feed_title(page: Page, titles: Mapping[str, str]) -> str:
    period = page.period.title()
    name = category_title(page.category, titles)
    return f"{name}: {period}" if period else name


def _feeds(page: Page, titles: Mapping[str, str]) -> list[_Feed]:
    title = _feed_title(page, titles)
    return [
        _Feed(
            href=page.feed_path(format.extension),
            name=format.name,
            type=format.media_type,
            title=f"{title} ({format.name})",
        )
        for format in FORMATS.values()
    ]


def _alternates(pages: Sequence[Page], titles: Mapping[str, str]) -> list[_Feed]:
    """Feeds of the pages in their order, then of all articles, without duplicates."""
    unique_pages = dict.fromkeys([*pages, Page(categories.ALL)])
    return [feed for page in unique_pages for feed in _feeds(page, titles)]


def _day_link(category: str, day: Period | None) -> Link | None:
    if day is None:
        return None
    return Link(href=Page(category, day).news_path(), text=day.title().split(", ")[-1])


def _calendar(page: Page, month: tuple[int, int], days: frozenset[int]) -> _Calendar:
    def cell(number: int) -> _Day:
        period = Period(*month, number)
        href = Page(page.category, period).news_path() if number in days else ""
        return _Day(number=number, href=href, current=bool(number) and period == page.period)

    weeks = calendar.Calendar().monthdayscalendar(*month)
    year_period, month_period = Period(month[0]), Period(*month)
    return _Calendar(
        month=Link(
            href=Page(page.category, month_period).news_path(),
            text=month_period.title().split()[0],
        ),
        year=Link(href=Page(page.category, year_period).news_path(), text=year_period.title()),
        weeks=[[cell(number) for number in week] for week in weeks],
    )


def _forest(tree: Sequence[tuple[str, str]]) -> list[_Branch]:
    """The category tree, nested. A category whose parent is missing becomes a root."""
    roots: list[_Branch] = []
    branches: dict[str, _Branch] = {}
    for path, title in tree:
        page = Page(path)
        branch = _Branch(
            link=Link(href=page.news_path(), text=title), feeds=_feeds(page, {path: title})
        )
        branches[path] = branch
        parent = branches.get(path.rpartition("/")[0])
        (parent.children if parent else roots).append(branch)
    return roots
