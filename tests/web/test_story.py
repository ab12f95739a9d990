"""An article as the HTML pages show it: dates, categories, direction, and nothing repeated."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any

import pytest

from service.articles.article import Enclosure
from service.articles.podcast import Podcast, Transcript
from service.web.html.story import Link, Story, crumbs, story_of
from tests.composing import AFTERNOON, FERRY, TITLES


def story(*, zone: tzinfo = UTC, within: str = "", **changes: Any) -> Story:
    """The story of an article with these changes."""
    return story_of(replace(FERRY, **changes), TITLES, zone, within=within)


def test_day_falls_in_the_zone() -> None:
    """Late evening in UTC is the next day further east."""
    east = timezone(timedelta(hours=8))
    wanted = Link(href="/news/media-center/harbour-news/2017/12/23", text="23 December 2017")
    assert wanted == story(zone=east).day
    assert "2017-12-23T00:41:07+08:00" == story(zone=east).moment


@pytest.mark.parametrize(
    ("within", "paths", "href"),
    [
        ("", ("media-center/harbour-news", "x"), "/news/media-center/harbour-news/2017/12/22"),
        ("media-center", ("media-center/harbour-news",), "/news/media-center/2017/12/22"),
        ("all", ("media-center/harbour-news",), "/news/all/2017/12/22"),
        ("", (), "/news/all/2017/12/22"),
    ],
)
def test_date_leads_to_its_day(within: str, paths: tuple[str, ...], href: str) -> None:
    """The date links to its day in the shown category, else in the article's first category."""
    assert href == story(within=within, categories=paths).day.href


@pytest.mark.parametrize(
    ("at", "time"),
    [
        (AFTERNOON, "16:41"),
        (AFTERNOON.replace(hour=0), "00:41"),
        (AFTERNOON.replace(hour=0, minute=0, second=0), ""),
    ],
)
def test_time_of_day_only_where_known(at: datetime, time: str) -> None:
    """Midnight is not shown, because sources that give only dates have it."""
    assert time == story(published=at).time


def test_categories_are_titled() -> None:
    """A category is shown by its title, or by a title derived from its slug."""
    wanted = [
        Link(href="/news/media-center/harbour-news", text="Harbour News"),
        Link(href="/news/town-diary", text="Town Diary"),
    ]
    assert wanted == list(story(categories=("media-center/harbour-news", "town-diary")).categories)


def test_crumbs_of_everything() -> None:
    """The breadcrumb of all articles is one link to the home page."""
    assert [Link(href="/", text="All articles")] == crumbs("all", TITLES)


@pytest.mark.parametrize(
    ("content", "attribution", "shown"),
    [
        ("<p>Calm.</p>", "Ropes & Sons", "Ropes & Sons"),
        ("<p>Calm.</p><p>(Source: Ropes &amp; <b>Sons</b>)</p>", "Ropes & Sons", ""),
        ("<p>Ropes &amp; Sons</p><p>" + "Calm. " * 200 + "</p>", "Ropes & Sons", "Ropes & Sons"),
        ("<p>هدوء. (المصدر: مكتب الميناء)</p>", "مكتب الميناء", ""),
        ("", "Ropes & Sons", "Ropes & Sons"),
    ],
)
def test_source_line_is_not_doubled(content: str, attribution: str, shown: str) -> None:
    """A text that ends with its source gets no second source line."""
    assert shown == story(content_html=content, attribution=attribution).attribution


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://harbour.example/ferry?a=1&b=2", "harbour.example"),
        ("https://bank.example@evil.example/x", "evil.example"),
        ("https://harbour.example?x=/y@z", "harbour.example"),
        ("https://evil.example\\@bank.example", "evil.example"),
        ("https://[::1", "[::1"),
    ],
)
def test_original_is_named_by_its_host(url: str, host: str) -> None:
    """The host shown is the one that browsers contact, and a malformed URL does not fail."""
    assert Link(href=url, text=host) == story(url=url).original


@pytest.mark.parametrize("url", ["javascript:alert(1)", "", "data:text/html,x", "/ferry"])
def test_only_web_links_lead_out(url: str) -> None:
    """A URL of another scheme is neither linked nor loaded."""
    shown = story(url=url, image=url, enclosures=(Enclosure(url=url),))
    assert (None, "", []) == (shown.original, shown.image, shown.enclosures)


@pytest.mark.parametrize(
    ("content", "shown"),
    [
        ("<p>Calm.</p>", "https://harbour.example/a.jpg?w=1&h=2"),
        ('<img src="https://harbour.example/a.jpg?w=1&amp;h=2">', ""),
        ('<img src="https://harbour.example/a.jpg?w=1&h=2">', ""),
    ],
)
def test_image_is_shown_once(content: str, shown: str) -> None:
    """The article's image is shown only if the text does not contain it."""
    image = "https://harbour.example/a.jpg?w=1&h=2"
    assert shown == story(image=image, content_html=content).image


@pytest.mark.parametrize(
    ("language", "title", "direction"),
    [
        ("ar", "Ferry", "rtl"),
        ("ar_SA", "Ferry", "rtl"),
        ("AR-eg", "Ferry", "rtl"),
        ("pa-Arab", "Ferry", "rtl"),
        ("en", "عبّارة", "rtl"),
        ("", "«12: عبّارة", "rtl"),
        ("", "אנייה", "rtl"),
        ("en", "Ferry عبّارة", "ltr"),
        ("", "12:30", "ltr"),
        ("arn", "Ferry", "ltr"),
    ],
)
def test_direction(language: str, title: str, direction: str) -> None:
    """The language or the first strong letter of the title sets the direction."""
    assert direction == story(language=language, title=title).direction


def test_language_is_a_tag() -> None:
    """`en_GB`, which some software writes, becomes the language tag that HTML needs."""
    assert "en-GB" == story(language="en_GB").language


def test_change_is_dated_in_the_zone() -> None:
    """A later revision has the day of its change in the site's zone; a first revision has none."""
    west = timezone(timedelta(hours=-8))
    changed = AFTERNOON + timedelta(days=1, hours=12)
    assert "23 December 2017" == story(revision=2, updated=changed, zone=west).updated
    assert "" == story(revision=1, updated=changed).updated


@pytest.mark.parametrize(
    ("podcast", "expected"),
    [
        (None, ""),
        (Podcast(author="Ida"), ""),
        (Podcast(season=2, episode=3, duration_s=3_723), "Season 2, episode 3 · 1:02:03"),
        (Podcast(episode=3, episode_type="full"), "Episode 3"),
        (Podcast(episode_type="trailer", explicit=True), "Trailer · explicit"),
    ],
)
def test_an_episode_says_which_it_is(podcast: Podcast | None, expected: str) -> None:
    """Number, kind, length; nothing where nothing is known."""
    assert expected == story(podcast=podcast).episode


def test_transcripts_are_links() -> None:
    """To http(s) alone, whatever was stored."""
    files = (
        Transcript(url="https://pier.example/3.srt", type="application/srt", language="en"),
        Transcript(url="https://pier.example/3.txt", type="text/plain"),
        Transcript(url="javascript:x"),
    )
    assert [
        Link(href="https://pier.example/3.srt", text="Transcript (en)"),
        Link(href="https://pier.example/3.txt", text="Transcript (text/plain)"),
    ] == story(podcast=Podcast(transcripts=files)).transcripts
