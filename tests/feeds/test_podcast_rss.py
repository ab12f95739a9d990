"""Feeds of episodes: what players and directories of podcasts require."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC
from typing import Any

import orjson
import pytest
from lxml import etree

from service.articles.article import Article, Enclosure
from service.articles.podcast import CATEGORIES, Person, Podcast, Transcript, clock
from service.feeds.page import Page
from service.feeds.writer import Renderer
from tests.composing import full_article
from workers.ingest.parse import parse

PAGE = Page("media-center")
NS = {
    "itunes": "http://www.itunes.com/dtds/podcast-1.0.dtd",
    "podcast": "https://podcastindex.org/namespace/1.0",
    "atom": "http://www.w3.org/2005/Atom",
}
TALK = Enclosure(url="https://media.example/1.mp3", type="audio/mpeg", length=9)
SHORT = Podcast(duration_s=45, explicit=False)
LONG = Podcast(
    duration_s=3_723, episode=3, season=2, episode_type="bonus", explicit=True, author="Ida Holm",
    image="https://img.example/3.png", category="Society & Culture/Documentary",
    chapters="https://pier.example/3.json",
    transcripts=(Transcript(url="https://pier.example/3.srt", type="application/srt",
                            language="en", rel="captions"),),
    persons=(Person(name="Ida Holm", role="guest", image="https://img.example/ida.jpg",
                    url="https://ida.example/"),),
)  # fmt: skip
# Apple, "A Podcaster's Guide to RSS".
TYPES = {
    "audio/x-m4a", "audio/mpeg", "video/quicktime", "video/mp4", "video/x-m4v", "application/pdf",
}  # fmt: skip


def episode(number: int, podcast: Podcast | None, **fields: Any) -> Article:
    """An article with a sound."""
    return full_article(number, **{"enclosures": (TALK,), "podcast": podcast, **fields})


def render(
    articles: list[Article],
    extension: str = "rss",
    *,
    title: str = "Media Center",
    page: Page = PAGE,
    base_url: str = "http://news.example",
) -> bytes:
    """A feed of these articles."""
    renderer = Renderer(site_title="Site", base_url=base_url, language="en", zone=UTC)
    titles = {"media-center": title, "media-center/coalition-news": "Coalition News"}
    return renderer.render(page, extension, articles, titles)


def apple_faults(body: bytes) -> Iterator[str]:
    """What keeps a feed out of Apple's directory."""
    root = etree.fromstring(body)
    (channel,) = root
    for name in ("title", "description", "link", "language", "itunes:author"):
        if len(channel.findall(name, NS)) != 1 or not channel.findtext(name, "", NS).strip():
            yield f"channel: {name}"
    images = channel.xpath("itunes:image/@href", namespaces=NS)
    if len(images) != 1 or not re.fullmatch(r"https?://\S+\.(?:jpg|jpeg|png)", images[0]):
        yield f"channel: image {images}"
    if channel.findtext("itunes:explicit", "", NS) not in ("true", "false"):
        yield "channel: explicit"
    categories = channel.xpath("itunes:category", namespaces=NS)
    if not categories:
        yield "channel: category"
    for category in categories:
        inside = CATEGORIES.get(category.get("text"))
        below = category.xpath("itunes:category/@text", namespaces=NS)
        if inside is None or set(below) - set(inside):
            yield f"channel: category {category.get('text')} {below}"
    for item in channel.findall("item"):
        yield from _faults_of_item(item)


def _faults_of_item(item: Any) -> Iterator[str]:
    if not item.findtext("title", "").strip() or not item.findtext("guid", "").strip():
        yield "item: title, guid"
    files = item.findall("enclosure")
    if len(files) != 1:
        yield f"item: {len(files)} enclosures"
    for file in files:
        if file.get("type") not in TYPES or not file.get("length").isdigit():
            yield f"item: {dict(file.attrib)}"
    for name, pattern in (
        ("duration", r"(\d+:)?\d?\d:\d\d"), ("episode", r"[1-9]\d*"), ("season", r"[1-9]\d*"),
        ("explicit", "true|false"), ("episodeType", "full|trailer|bonus"),
    ):  # fmt: skip
        for element in item.findall(f"itunes:{name}", NS):
            if not re.fullmatch(pattern, element.text):
                yield f"item: {name} {element.text}"


@pytest.mark.parametrize(
    "articles",
    [
        [episode(1, LONG), episode(2, SHORT), episode(3, None)],
        [episode(1, None)],
        [episode(1, replace(SHORT, image="https://img.example/cover.webp"))],
        [episode(1, SHORT, enclosures=(replace(TALK, type="image/png"), TALK))],
    ],
)
def test_a_feed_of_episodes_passes_apples_rules(articles: list[Article]) -> None:
    """Whatever the episodes say of themselves."""
    assert [] == [*apple_faults(render(articles))]


def test_an_item_says_all_of_its_episode() -> None:
    """In Apple's elements, and in those of the Podcast Namespace."""
    (item,) = etree.fromstring(render([episode(1, LONG)])).iter("item")
    apples = {
        e.tag.rpartition("}")[2]: e.get("href") or e.text for e in item.iterfind("itunes:*", NS)
    }
    assert {
        "author": "Ida Holm", "duration": "1:02:03", "episode": "3", "season": "2",
        "episodeType": "bonus", "explicit": "true", "image": "https://img.example/3.png",
    } == apples  # fmt: skip
    others = [
        (e.tag.rpartition("}")[2], dict(e.attrib), e.text) for e in item.iterfind("podcast:*", NS)
    ]
    assert [
        ("transcript", {"url": "https://pier.example/3.srt", "type": "application/srt",
                        "language": "en", "rel": "captions"}, None),
        ("chapters", {"url": "https://pier.example/3.json",
                      "type": "application/json+chapters"}, None),
        ("person", {"role": "guest", "img": "https://img.example/ida.jpg",
                    "href": "https://ida.example/"}, "Ida Holm"),
    ] == others  # fmt: skip


def test_the_channel_says_what_its_episodes_agree_on() -> None:
    """Author, cover, category; explicit if one of them is."""
    (channel,) = etree.fromstring(
        render([episode(1, LONG), episode(2, replace(LONG, explicit=None))])
    )
    path = "itunes:category/@text | itunes:category/itunes:category/@text"
    assert ["Society & Culture", "Documentary"] == channel.xpath(path, namespaces=NS)
    assert "Ida Holm" == channel.findtext("itunes:author", "", NS)
    assert "true" == channel.findtext("itunes:explicit", "", NS)
    assert ["https://img.example/3.png"] == channel.xpath("itunes:image/@href", namespaces=NS)
    assert "webmaster@news.example" == channel.findtext("itunes:owner/itunes:email", "", NS)


def test_what_they_do_not_agree_on_is_the_sites() -> None:
    """Its name and cover; the category is that of the page's name, else News."""
    articles = [episode(1, replace(SHORT, author="A")), episode(2, replace(SHORT, author="B"))]
    for title, category in (("Technology", "Technology"), ("Quay talk", "News")):
        (channel,) = etree.fromstring(render(articles, title=title))
        assert "Site" == channel.findtext("itunes:author", "", NS)
        assert [category] == channel.xpath("itunes:category/@text", namespaces=NS)
        (image,) = channel.xpath("itunes:image/@href", namespaces=NS)
        assert "http://news.example/static/cover-1400.png" == image


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8080", "http://localhost", "http://[::1]"])
def test_an_address_is_not_invented(base_url: str) -> None:
    """A host without a name has no mailbox."""
    assert b"itunes:owner" not in render([episode(1, LONG)], base_url=base_url)


@pytest.mark.parametrize(
    ("articles", "prefixes"),
    [
        ([full_article(1, enclosures=())], set()),
        ([episode(1, SHORT)], {"itunes"}),
        ([episode(1, SHORT), episode(2, LONG)], {"itunes", "podcast"}),
    ],
)
def test_namespaces_are_declared_where_they_are_used(
    articles: list[Article], prefixes: set[str]
) -> None:
    """Each namespace is declared at the root alone."""
    body = render(articles)
    assert prefixes == {"itunes", "podcast"} & etree.fromstring(body).nsmap.keys()
    assert len(prefixes) == body.count(b"xmlns:itunes") + body.count(b"xmlns:podcast")


def test_what_is_heard_is_the_enclosure() -> None:
    """Players play the one enclosure that an item may have."""
    picture = Enclosure(url="https://img.example/1.png", type="image/png", length=5)
    (item,) = etree.fromstring(render([episode(1, SHORT, enclosures=(picture, TALK))])).iter("item")
    assert [TALK.url] == item.xpath("enclosure/@url")


def test_json_has_it_for_programs() -> None:
    """What is stated in `_dateline`, and the duration where JSON Feed has a field for it."""
    (item,) = orjson.loads(render([episode(1, SHORT)], "json"))["items"]
    assert {"duration_s": 45, "explicit": False} == item["_dateline"]["podcast"]
    assert 45 == item["attachments"][0]["duration_in_seconds"]
    (plain,) = orjson.loads(render([episode(1, None)], "json"))["items"]
    assert "podcast" not in plain["_dateline"]


@pytest.mark.parametrize("extension", ["rss", "json"])
def test_our_own_feeds_are_read_back(extension: str) -> None:
    """One dateline can follow another; what the channel says is not said of every episode."""
    body = render([episode(1, LONG), episode(2, SHORT)], extension)
    (long, short) = parse(body, url="http://news.example/feeds/all").entries
    # The category of a show is not in an item of RSS.
    assert replace(LONG, category="" if extension == "rss" else LONG.category) == long.podcast
    assert SHORT == short.podcast


def test_a_duration_of_json_feed_is_read() -> None:
    """An item with a duration is an episode."""
    body = (
        '{"version": "https://jsonfeed.org/version/1", "items": [{"id": "1", "attachments": '
        '[{"url": "https://media.example/1.mp3", "duration_in_seconds": 45.5}]}]}'
    )
    (entry,) = parse(body.encode()).entries
    assert Podcast(duration_s=45) == entry.podcast


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(1, "0:01"), (59, "0:59"), (61, "1:01"), (3_600, "1:00:00"), (359_999, "99:59:59")],
)
def test_durations_are_clocks(seconds: int, expected: str) -> None:
    """Minutes and seconds, and hours if there are any."""
    assert expected == clock(seconds)


def test_the_feed_of_a_page_knows_its_show() -> None:
    """The shell is rendered anew when the first episode comes, and when it goes."""
    renderer = Renderer(site_title="Site", base_url="http://news.example", language="en", zone=UTC)
    titles = {"media-center": "Media Center", "media-center/coalition-news": "Coalition News"}
    note, talk = full_article(2, enclosures=()), episode(1, SHORT)
    bodies = [renderer.render(PAGE, "rss", each, titles) for each in ([note], [talk, note], [note])]
    assert [False, True, False] == [b"xmlns:itunes" in body for body in bodies]
