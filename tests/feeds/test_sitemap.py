"""Sitemaps and robots.txt, as search engines request them."""

from __future__ import annotations

from datetime import timedelta
from urllib.robotparser import RobotFileParser

import pytest
from lxml import etree

from service.feeds import sitemap
from service.feeds.page import Period
from tests.composing import full_article
from tests.conftest import DAY, Clock, Get, Publish

NS = {
    "s": "http://www.sitemaps.org/schemas/sitemap/0.9",
    "n": "http://www.google.com/schemas/sitemap-news/0.9",
}


async def texts_of(get: Get, path: str, what: str = "//s:loc") -> list[str]:
    """Texts of the elements of a sitemap that an XPath selects."""
    root = etree.fromstring(await get(path))
    return [str(element.text) for element in root.xpath(what, namespaces=NS)]


async def test_every_article_is_in_one_sitemap(get: Get, publish: Publish) -> None:
    """By months; and the pages of categories."""
    ids = [await publish(str(n), published=DAY - timedelta(days=20 * n)) for n in range(3)]
    parts = await texts_of(get, "/sitemap.xml")
    base = "http://news.example/sitemaps"
    expected = [f"{base}/{name}.xml" for name in ("pages", "2017-11", "2017-12")]
    assert expected == parts
    assert 2 == len(await texts_of(get, "/sitemap.xml", "//s:lastmod"))
    urls = []
    for part in parts[1:]:
        urls += await texts_of(get, part.removeprefix("http://news.example"))
    assert {f"http://news.example/articles/{article_id}" for article_id in ids} == set(urls)
    pages = await texts_of(get, "/sitemaps/pages.xml")
    assert "http://news.example/news/media-center/coalition-news" in pages
    for url in (*urls, *pages):
        await get(url.removeprefix("http://news.example"))
    for name in ("2017", "2017-13", "2017-1", "x", "2017-12-22-1"):
        status = 200 if name == "2017" else 404
        await get(f"/sitemaps/{name}.xml", status)


async def test_news_of_two_days(get: Get, publish: Publish, clock: Clock) -> None:
    """With what the extension demands of each."""
    article_id = await publish("Fog & tide", language="en-GB", published=clock())
    await publish("Old", published=clock() - timedelta(days=3))
    path = "/news-sitemap.xml"
    assert [f"http://news.example/articles/{article_id}"] == await texts_of(get, path)
    for name, text in (("title", "Fog & tide"), ("language", "en"), ("name", "Tern Gazette")):
        assert [text] == await texts_of(get, path, f"//n:{name}")
    assert 1 == len(await texts_of(get, path, "//n:publication_date"))


@pytest.mark.parametrize(
    ("language", "expected"),
    [("en-GB", "en"), ("zh", "zh-cn"), ("zh-Hans-CN", "zh-cn"), ("zh-Hant", "zh-tw"),
     ("zh-TW", "zh-tw"), ("zh-HK", "zh-tw")],
)  # fmt: skip
def test_languages_of_news(language: str, expected: str) -> None:
    """ISO 639 without a region, but for Chinese, which has two codes there."""
    article = full_article(1, language=language)
    body = sitemap.news([article], site_title="S", language="fr", base_url="http://n.example")
    (code,) = etree.fromstring(body).xpath("//n:language", namespaces=NS)
    assert expected == code.text


async def test_robots(get: Get) -> None:
    """As a robot reads it."""
    rules = RobotFileParser()
    rules.parse((await get("/robots.txt")).decode().splitlines())
    for path, expected in (("/", True), ("/feeds/all.rss", True), ("/private/x.rss", False),
                           ("/api/v1/articles", False)):  # fmt: skip
        assert expected == rules.can_fetch("*", f"http://news.example{path}")
    assert ["http://news.example/sitemap.xml", "http://news.example/news-sitemap.xml"] == (
        rules.site_maps()
    )


def test_a_large_month_is_listed_by_days() -> None:
    """A sitemap has at most 50,000 URLs."""
    days = [Period(2017, 11, 1), Period(2017, 12, 21), Period(2017, 12, 22)]
    months = [(Period(2017, 11), 1), (Period(2017, 12), 50_001)]
    assert [Period(2017, 11), *days[1:]] == sitemap.parts(months, days)
