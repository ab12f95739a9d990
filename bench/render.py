"""A page of 100 articles one of which is new: ours, plain feedgen, and a bare join.

Ours keeps the fragments of the other 99. Plain feedgen is used as its documentation shows, without
our extension, on the whole page; for JSON it is orjson on the whole document. The bare join is what
nobody can be faster than: ready bytes put together. All three in turn, in each round.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import orjson
from feedgen.feed import FeedGenerator

from bench.machine import header, median, verdict
from service.articles.article import Article, Enclosure
from service.feeds.page import Page
from service.feeds.writer import Renderer

ENTRIES = 100
ARTICLE_CHARS = 4_000
# Successive versions of the page in a round, each with one new article.
PAGES = 10
AIM = 40.0
PAGE = Page("media-center/coalition-news")
TITLES = {"media-center": "Media Center", "media-center/coalition-news": "Coalition News"}
BASE = "https://news.example"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def article(number: int, chance: random.Random) -> Article:
    """One of 4 kB of words, with an author, two tags and an enclosure."""
    words = ["harbour", "ferry", "tide & time", "the", "of", "quay", "council", "said", "“winter”"]
    text = "<p>" + " ".join(chance.choices(words, k=ARTICLE_CHARS // 7)) + "</p>"
    when = NOON - timedelta(minutes=number)
    return Article(
        id=f"00000000-0000-5000-8000-{number:012d}", source="s", guid=str(number),
        url=f"{BASE}/item/{number}", title=f"Number {number} & more", summary=text[3:303],
        content_html=text, authors=("Mira Solheim",), categories=(PAGE.category,),
        tags=("Ferries", "Timetable"), language="en", image="",
        enclosures=(Enclosure(url=f"{BASE}/{number}.mp3", type="audio/mpeg", length=12_345),),
        attribution="", raw_published="", published=when, updated=when, first_seen=when, revision=1,
        content_hash="", status="live",
    )  # fmt: skip


def plain_feedgen(articles: list[Article], extension: str) -> bytes:
    """As in feedgen's own README, with the same fields as ours has."""
    feed = FeedGenerator()
    feed.id(f"{BASE}/feed")
    feed.title("Coalition News")
    feed.description("Coalition News")
    feed.author(name="Site", uri=BASE)
    feed.language("en")
    feed.ttl(5)
    feed.updated(articles[0].updated)
    feed.lastBuildDate(articles[0].updated)
    feed.link(href=f"{BASE}/feed", rel="self")
    feed.link(href=BASE, rel="alternate")
    feed.load_extension("dc")
    for item in articles:
        entry = feed.add_entry(order="append")
        entry.id(f"urn:uuid:{item.id}")
        entry.title(item.title)
        entry.link(href=item.url)
        entry.description(item.summary, isSummary=True)
        entry.content(item.content_html, type="html")
        if extension == "rss":
            entry.dc.dc_creator(list(item.authors))
            entry.dc.dc_language(item.language)
        else:
            for name in item.authors:
                entry.author(name=name)
        for path in item.categories:
            entry.category(term=path, label=TITLES[path])
        for tag in item.tags:
            entry.category(term=tag)
        for enclosure in item.enclosures:
            entry.enclosure(enclosure.url, str(enclosure.length), enclosure.type)
        entry.published(item.published)
        entry.updated(item.updated)
    rendered: bytes = feed.rss_str() if extension == "rss" else feed.atom_str()
    return rendered


def plain_json(articles: list[Article]) -> bytes:
    """The whole document at once."""
    items = [
        {
            "id": item.id, "url": item.url, "title": item.title, "summary": item.summary,
            "content_html": item.content_html, "authors": [{"name": n} for n in item.authors],
            "tags": item.tags, "date_published": item.published, "date_modified": item.updated,
            "attachments": [{"url": e.url, "mime_type": e.type} for e in item.enclosures],
        }
        for item in articles
    ]  # fmt: skip
    return orjson.dumps({"version": "https://jsonfeed.org/version/1.1", "items": items})


def timed(pages: list[Any], work: Callable[[Any], bytes]) -> float:
    """Seconds of CPU a page: a round is short, and others use this machine, too."""
    start = time.process_time()
    for page in pages:
        work(page)
    return (time.process_time() - start) / len(pages)


def measure(extension: str, rounds: int) -> list[tuple[float, float, float]]:
    """(ours, plain, join) in seconds, for each round."""
    chance = random.Random(1)
    articles = [article(number, chance) for number in range(ENTRIES)]
    renderer = Renderer(site_title="Site", base_url=BASE, language="en", zone=UTC)
    renderer.render(PAGE, extension, articles, TITLES)
    plain = plain_json if extension == "json" else partial(plain_feedgen, extension=extension)
    rounds_ms = []
    for number in range(rounds):
        pages = []
        for step in range(PAGES):
            new = article(ENTRIES + number * PAGES + step, chance)
            articles = [new, *articles[:-1]]
            pages.append(articles)
        ours = timed(pages, lambda page: renderer.render(PAGE, extension, page, TITLES))
        theirs = timed(pages, plain)
        ready = [[item.content_html.encode() + b" " * 600 for item in page] for page in pages]
        rounds_ms.append((ours, theirs, timed(ready, b"".join)))
    return rounds_ms


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    print(header(f"page      {ENTRIES} articles of {ARTICLE_CHARS} characters, one of them new"))
    print(f"{'':6}{'ours ms':>9}{'plain ms':>10}{'join ms':>9}{'plain/ours':>12}{'ours/join':>11}")
    for extension in ("rss", "atom", "json"):
        rounds = measure(extension, options.rounds)
        ours, plain, join = (median([r[i] for r in rounds]) * 1000 for i in range(3))
        ratio = median([r[1] / r[0] for r in rounds])
        # orjson on dictionaries is no feedgen: there is no aim against it.
        judged = "against orjson of the whole" if extension == "json" else verdict(ratio, AIM)
        print(
            f"{extension:6}{ours:9.3f}{plain:10.3f}{join:9.3f}{ratio:11.1f}x{ours / join:10.1f}x"
            f"   {judged}"
        )


if __name__ == "__main__":
    main()
