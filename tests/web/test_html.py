"""HTML pages: what people see, what feed readers discover, and that every value is escaped."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from typing import Any

import lxml.html
import pytest

from service.articles.article import WITHDRAWN, Enclosure
from service.feeds.formats import FORMATS
from service.feeds.page import Page, Period
from service.web.html.render import (
    ArticleView,
    ErrorView,
    HomeView,
    NewsView,
    render_article,
    render_error,
    render_home,
    render_news,
)
from tests.composing import AFTERNOON, FERRY, TITLES

BASE = "https://news.example"
SITE: Any = {"site_title": "Tern Post", "base_url": BASE}
DAY = Page("media-center/harbour-news", Period(2017, 12, 22))
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7 * 7 }}"
HOSTILE_ARTICLE = replace(
    FERRY,
    title=HOSTILE,
    url=f"https://x.example/{HOSTILE}",
    image=f"https://x.example/{HOSTILE}",
    authors=(HOSTILE,),
    language=HOSTILE,
    attribution=HOSTILE,
    enclosures=(Enclosure(url=f"https://x.example/{HOSTILE}", type=HOSTILE),),
)
NEWS = NewsView(
    **SITE,
    page=DAY,
    titles=TITLES,
    articles=[FERRY],
    children=[("media-center/harbour-news/ferries", "Ferries")],
    month_days=frozenset({3, 22}),
    shown_month=(2017, 12),
    older=Period(2017, 12, 3),
    newer=Period(2018, 1, 5),
    zone=UTC,
)
HOME = HomeView(
    **SITE,
    tree=[("media-center", "Media Center"), ("media-center/harbour-news", "Harbour News")],
    titles=TITLES,
    articles=[FERRY],
    zone=UTC,
)
ONE = ArticleView(**SITE, article=FERRY, titles=TITLES, zone=UTC)
ERROR = ErrorView(**SITE, status=404, heading="Not found", detail="No such page.")
NAMES = ("news", "home", "article", "error")
BODIES = (render_news(NEWS), render_home(HOME), render_article(ONE), render_error(ERROR))


def news(**changes: Any) -> Any:
    """The parsed news page of a changed view."""
    return parse(render_news(replace(NEWS, **changes)))


def story(**changes: Any) -> Any:
    """The parsed article page of a changed article."""
    return parse(render_article(replace(ONE, article=replace(FERRY, **changes))))


def parse(body: bytes) -> Any:
    """The document, parsed as a browser does."""
    return lxml.html.document_fromstring(body, parser=lxml.html.HTMLParser(encoding="utf-8"))


def text(document: Any, css: str) -> str:
    """The text of the first element that matches, with single spaces."""
    [first, *_] = document.xpath(css)
    return " ".join(first.text_content().split())


def alternates(document: Any) -> list[tuple[str, str]]:
    """(type, href) of the page's autodiscovery links, in order."""
    links = document.xpath("/html/head/link[@rel='alternate']")
    return [(link.get("type"), link.get("href")) for link in links]


def links(document: Any, xpath: str) -> list[tuple[str, str]]:
    """(text, href) of the links that match, in order."""
    return [(link.text_content(), link.get("href")) for link in document.xpath(xpath)]


def formats(path: str) -> list[tuple[str, str]]:
    """The result of `alternates` for the feeds of one page."""
    return [(f.media_type, f"{BASE}/feeds/{path}.{f.extension}") for f in FORMATS.values()]


@pytest.mark.parametrize(
    ("period", "words"),
    [
        (Period(2017, 12, 22), "Harbour News Items filtered by date: Friday, 22 December 2017"),
        (Period(2017, 12), "Harbour News Items filtered by date: December 2017"),
        (Period(2017), "Harbour News Items filtered by date: 2017"),
        (Period(), "Harbour News"),
    ],
)
def test_heading(period: Period, words: str) -> None:
    """Breadcrumb and heading are those of K2; without a period the heading is the category."""
    document = news(page=Page(DAY.category, period))
    crumbs = text(document, "//nav[@aria-label='Breadcrumb']")
    assert f"Home Media Center {words}" == f"{crumbs} {text(document, '//h1')}"


def test_breadcrumb_of_a_day_ends_with_the_category() -> None:
    """The breadcrumb links each category from Home to the page's own."""
    assert [
        ("Home", "/"),
        ("Media Center", "/news/media-center"),
        ("Harbour News", "/news/media-center/harbour-news"),
    ] == links(news(), "//nav[@aria-label='Breadcrumb']//a")


def test_everything_has_a_name() -> None:
    """The page of all articles has a heading, although it has no category."""
    document = news(page=Page("all"))
    assert "All articles" == text(document, "//h1")
    assert [f"{BASE}/"] == document.xpath("//link[@rel='canonical']/@href")


def test_story_on_a_news_page() -> None:
    """An article has its date line, a title that links to its page, and its text as HTML."""
    document = news()
    assert "22 December 2017 In Harbour News" == text(document, "//article//p")
    assert "2017-12-22T16:41:07+00:00" == document.xpath("//article//time/@datetime")[0]
    assert [f"/articles/{FERRY.id}"] == document.xpath("//article//h2/a/@href")
    assert "lifted" == text(document, "//article//em")
    assert "Source: Harbour Office" == text(document, "//article//footer/p")
    assert [("harbour.example", FERRY.url)] == links(document, "//article//footer//a")


def test_calendar() -> None:
    """Days with articles are links, the shown day is marked, other days are plain text."""
    document = news()
    days = document.xpath("//nav[@aria-label='Calendar']//td")
    hrefs = {day.text_content(): day.xpath("a/@href") for day in days if day.text_content()}
    assert [str(number) for number in range(1, 32)] == list(hrefs)
    assert {
        "3": ["/news/media-center/harbour-news/2017/12/03"],
        "22": ["/news/media-center/harbour-news/2017/12/22"],
    } == {day: links for day, links in hrefs.items() if links}
    assert "22" == text(document, "//*[@aria-current='date']")
    assert "December 2017" == text(document, "//caption")
    # 1 December 2017 was a Friday, the fifth cell of weeks that begin on Monday.
    assert "1" == days[4].text_content()


def test_shown_day_without_articles_is_marked() -> None:
    """The shown day is marked even if it has no articles and is not a link."""
    document = news(month_days=frozenset(), articles=[])
    assert ["22"] == document.xpath("//td/span[@aria-current='date']/text()")


def test_older_and_newer_days() -> None:
    """The nearest days with articles are linked by date; without such days there is no pager."""
    around = "//nav[@class='pager']//a"
    assert [
        ("Older 3 December 2017", "/news/media-center/harbour-news/2017/12/03"),
        ("Newer 5 January 2018", "/news/media-center/harbour-news/2018/01/05"),
    ] == links(news(), around)
    assert [] == news(older=None, newer=None).xpath(
        "//a[@rel='prev' or @rel='next'] | //nav[@class='pager']"
    )


def test_children_are_linked() -> None:
    """Direct subcategories are linked."""
    wanted = [("Ferries", "/news/media-center/harbour-news/ferries")]
    assert wanted == links(news(), "//nav[@aria-labelledby='below']//a")


def test_visible_feed_links() -> None:
    """A page links to its feeds; a page of a date also links to the category's live feeds."""
    document = news()
    here = "/feeds/media-center/harbour-news/2017/12/22"
    wanted = [(format.name, f"{here}.{format.extension}") for format in FORMATS.values()]
    assert wanted == links(document, "//nav[@aria-label='Feeds of this page']//a")
    live = document.xpath("//nav[@aria-labelledby='follow']//a/@href")
    assert "/feeds/media-center/harbour-news.rss" == live[0]
    assert [] == news(page=Page(DAY.category)).xpath("//nav[@aria-labelledby='follow']")


def test_autodiscovery_of_a_day() -> None:
    """Discovery names the feeds of the day first, then the category's, then all articles'."""
    day, category = "media-center/harbour-news/2017/12/22", "media-center/harbour-news"
    assert formats(day) + formats(category) + formats("all") == alternates(news())


def test_autodiscovery_names_no_feed_twice() -> None:
    """The page of all articles names its feeds once."""
    assert formats("all") == alternates(news(page=Page("all")))
    assert formats("all") == alternates(parse(render_home(HOME)))


def test_autodiscovery_titles_differ() -> None:
    """The titles of discovered feeds differ, so that feed readers can list them."""
    titles = news().xpath("//link[@rel='alternate']/@title")
    assert "Harbour News: Friday, 22 December 2017 (RSS)" == titles[0]
    assert 9 == len(set(titles))


def test_autodiscovery_of_an_article() -> None:
    """The page of an article names feeds of its category and of all articles, and its JSON."""
    itself = ("application/json", f"{BASE}/articles/{FERRY.id}.json")
    wanted = [*formats("media-center/harbour-news"), *formats("all"), itself]
    assert wanted == alternates(story())


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (BODIES[0], "/news/media-center/harbour-news/2017/12/22"),
        (BODIES[1], "/"),
        (BODIES[2], f"/articles/{FERRY.id}"),
    ],
    ids=NAMES[:3],
)
def test_canonical(body: bytes, path: str) -> None:
    """Each page names its canonical absolute URL."""
    assert [BASE + path] == parse(body).xpath("/html/head/link[@rel='canonical']/@href")


def test_unicode_paths_are_encoded() -> None:
    """Links to categories in other scripts are percent-encoded everywhere."""
    document = news(page=Page("أخبار"), titles={"أخبار": "أخبار"}, children=[])
    paths = document.xpath("//@href")
    assert all(path.isascii() for path in paths)
    assert "/feeds/%D8%A3%D8%AE%D8%A8%D8%A7%D8%B1.rss" in paths


@pytest.mark.parametrize(
    "body",
    [
        render_news(
            replace(
                NEWS,
                site_title=HOSTILE,
                titles=dict.fromkeys(TITLES, HOSTILE),
                children=[("x", HOSTILE)],
                articles=[HOSTILE_ARTICLE],
            )
        ),
        render_home(replace(HOME, site_title=HOSTILE, tree=[("x", HOSTILE)])),
        render_article(replace(ONE, article=replace(FERRY, title=HOSTILE, summary=HOSTILE))),
        render_error(replace(ERROR, heading=HOSTILE, detail=HOSTILE)),
    ],
    ids=NAMES,
)
def test_everything_but_the_text_is_escaped(body: bytes) -> None:
    """No value becomes an element, an attribute or a template."""
    document = parse(body)
    assert [] == document.xpath("//script | //@onerror | //img[@src='x']")
    assert HOSTILE in document.text_content()


@pytest.mark.parametrize("body", BODIES, ids=NAMES)
def test_fits_a_strict_content_security_policy(body: bytes) -> None:
    """Pages have no script and no inline style, and load only our own stylesheet."""
    document = parse(body)
    assert [] == document.xpath("//script | //style | //@style | //form | //iframe")
    assert ["/static/style.css"] == document.xpath("//link[@rel='stylesheet']/@href")
    assert [] == document.xpath("//@*[starts-with(name(), 'on')]")


@pytest.mark.parametrize("body", BODIES, ids=NAMES)
def test_body_links_are_paths(body: bytes) -> None:
    """A page works under any host name: only the link to the publisher is absolute."""
    outward = {href for href in parse(body).xpath("//body//a/@href") if href[0] not in "/#"}
    assert outward <= {FERRY.url}


@pytest.mark.parametrize(
    ("page", "words"),
    [(DAY, "There are no articles for this date."), (Page("x"), "There are no articles here yet.")],
)
def test_empty_page_says_so(page: Page, words: str) -> None:
    """A page without articles says so, and still links to its feeds."""
    document = news(page=page, articles=[], titles={})
    assert words == text(document, "//p[@class='empty']")
    assert len(FORMATS) == len(document.xpath("//nav[@class='subscribe']//a"))


def test_home_nests_the_tree() -> None:
    """A category is nested in its parent, even if another category sorts between them."""
    tree = [("media", "Media"), ("media-old", "Old"), ("media/news", "News"), ("a/b", "Orphan")]
    document = parse(render_home(replace(HOME, tree=tree)))
    branch = "//nav[@aria-labelledby='tree']/ul/li"
    top = [("Media", "/news/media"), ("Old", "/news/media-old"), ("Orphan", "/news/a/b")]
    assert top == links(document, f"{branch}/a")
    assert [("News", "/news/media/news")] == links(document, f"{branch}/ul[not(@class)]/li/a")


def test_home_without_anything() -> None:
    """The home page of a new site says that there are no articles, and has no calendar."""
    document = parse(render_home(replace(HOME, tree=[], titles={}, articles=[])))
    assert "There are no articles here yet." == text(document, "//p[@class='empty']")
    assert [] == document.xpath("//nav[@aria-label='Calendar']")
    assert "Tern Post" == text(document, "//title")


def test_home_with_a_calendar() -> None:
    """The calendar of the home page links to the days of all articles."""
    view = replace(HOME, shown_month=(2017, 12), month_days=frozenset({22}))
    days = parse(render_home(view)).xpath("//td/a/@href")
    assert ["/news/all/2017/12/22"] == days


def test_files_of_an_article() -> None:
    """The image is shown, audio and video have a player, files have a link with type and size."""
    sound = Enclosure(url="https://harbour.example/a.mp3", type="audio/mpeg", length=1_500_000)
    film = Enclosure(url="https://harbour.example/a.mp4", type="video/mp4")
    document = story(enclosures=(sound, film), image="https://harbour.example/a.jpg?w=1&h=2")
    assert ["https://harbour.example/a.jpg?w=1&h=2"] == document.xpath("//article//img/@src")
    assert [sound.url] == document.xpath("//audio/@src")
    assert [film.url] == document.xpath("//video/@src")
    lines = document.xpath("//p[@class='enclosure']")
    assert ["Attached file (audio/mpeg, 1.5 MB)", "Attached file (video/mp4)"] == [
        line.text_content() for line in lines
    ]


def test_later_revision_says_when() -> None:
    """A changed article says when it changed; a first revision does not."""
    changed = story(revision=2, updated=AFTERNOON + timedelta(days=1))
    assert "Last changed on 23 December 2017" == text(changed, "//p[@class='updated']")
    assert [] == story().xpath("//p[@class='updated']")


@pytest.mark.parametrize(("language", "direction"), [("ar", "rtl"), ("en-GB", "ltr")])
def test_article_has_language_and_direction(language: str, direction: str) -> None:
    """Language and direction of an article are set on its element, not on the page."""
    document = story(language=language)
    [article] = document.xpath("//article")
    assert (language, direction) == (article.get("lang"), article.get("dir"))
    assert "en" == document.xpath("/html/@lang")[0]


def test_withdrawn_article_keeps_its_text_to_itself() -> None:
    """The page of a withdrawn article shows only the title and is `noindex`."""
    body = render_article(replace(ONE, article=replace(FERRY, status=WITHDRAWN)))
    document = parse(body)
    assert b"lifted" not in body
    assert "This article was withdrawn by its publisher." == text(document, "//p[@class='empty']")
    assert ["noindex"] == document.xpath("//meta[@name='robots']/@content")


def test_error_page() -> None:
    """An error page shows status and reason, and is `noindex`."""
    document = parse(render_error(ERROR))
    assert "Not found" == text(document, "//h1")
    assert "404" == text(document, "//p[@class='status']")
    assert ["noindex"] == document.xpath("//meta[@name='robots']/@content")
    assert [] == document.xpath("//link[@rel='canonical']")


def test_lone_surrogates_do_not_break_a_page() -> None:
    """A path that is not UTF-8 can be named in an error page."""
    assert b"no page /?" in render_error(replace(ERROR, detail="no page /\udcff"))
