"""Selections of a feed: the grammar of queries, what matches, and the documents over HTTP."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

import orjson
import pytest
from aiohttp.test_utils import TestClient
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from service.errors import InvalidInput
from service.feeds.formats import FORMATS
from service.feeds.query import parse_query
from tests.composing import full_article
from tests.conftest import DAY, Get, Publish
from tests.served import LIVE, Read

Client = TestClient[Any, Any]
FOG = replace(
    full_article(7), title="Fog on the Quay", content_html="<p>The <b>ferry</b> waits. Straße</p>",
    tags=("Weather Watch", "Fog"), categories=("media-center/harbour-news",), language="en-GB",
    authors=("Mira Solheim",), source="https://Quay.example/feed.xml",
)  # fmt: skip


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("lang=en", True), ("lang=en-gb", True), ("lang=EN_GB", True), ("lang=fr,en", True),
        ("lang=e", None), ("lang=en-us", False), ("lang=fr", False),
        ("q=fog", True), ("q=FOG ferry", True), ("q=fog&q=ferry", True), ("q=fog train", False),
        ("q=STRASSE", True), ("q=strong", False), ("q=<b>", None),
        ("q=fer", False), ("q=ai", False), ("q=férry", True), ("q=%22the+ferry%22", True),
        ("q=%22ferry+the%22", False), ("q=%22quay+the%22", False),
        ("author=mira%20solheim", True), ("author=Mira", False), ("author=Míra+SØLHEIM", True),
        ("author=x&author=Mira+Solheim", True),
        ("source=quay.example", True), ("source=https://quay.example/feed.xml", True),
        ("source=example", False),
        ("tag=fog", True), ("tag=Weather Watch", True), ("tag=fog&tag=weather-watch", True),
        ("tag=fog&tag=sun", False),
        ("any=sun,fog", True), ("any=media-center", True), ("any=Media Center/Harbour News", True),
        ("any=harbour-news", False), ("any=sun", False),
        ("all=fog,media-center", True), ("all=fog,sun", False),
        ("none=sun,rain", True), ("none=media-center", False), ("none=fog", False),
        ("any=fog&none=sun&lang=en&q=quay", True), ("any=fog&none=weather-watch", False),
        ("limit=3&content=summary", True), ("", True),
    ],
)  # fmt: skip
def test_matches(query: str, expected: bool | None) -> None:
    """Each by itself, and all of them together."""
    if expected is None:
        with pytest.raises(InvalidInput):
            parse_query(query, zone=UTC)
    else:
        assert expected == parse_query(query, zone=UTC).filter.matches(FOG)


@pytest.mark.parametrize(
    ("language", "expected"), [("en", True), ("en-GB", True), ("enm", False), ("", False)]
)
def test_a_language_is_not_the_beginning_of_another(language: str, expected: bool) -> None:
    """`lang=en` selects English and its varieties, not Middle English (RFC 4647 3.3.1)."""
    article = replace(FOG, language=language)
    assert expected == parse_query("lang=en", zone=UTC).filter.matches(article)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("x=1", "x"), ("Limit=1", "Limit"), ("limit=0", "limit"), ("limit=-1", "limit"),
        ("limit=1001", "limit"), ("limit=ten", "limit"), ("limit=1&limit=2", "limit"),
        ("since=yesterday", "since"), ("since=2017-13-01", "since"),
        ("until=2017-12-22T00:00:00", "until"), ("q=", "q"), ("q=%20", "q"),
        ("any=fog,,sun", "any"), ("any=***", "any"), ("tag=---", "tag"), ("content=all", "content"),
        ("before=1", "before"), ("lang=*", "lang"), ("author=" + "x" * 300, "author"),
        ("author=" + "ﷺ" * 20, "author"), ("q=%22" + "ﷺ" * 60, "q"), ("q=" + "x" * 501, "q"),
        ("q=%22%22", "q"), ("author=´", "author"),
        ("q=" + "+".join("abcdefghijklmnopqrstu"), "q"),
        ("&".join("tag=a" for _ in range(200)), "query"),
        ("since=9999-12-31T23:59:59-23:00", "since"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_named(query: str, field: str) -> None:
    """Never ignored: a filter that does nothing would show too much."""
    with pytest.raises(InvalidInput) as caught:
        parse_query(query, zone=UTC)
    assert field == caught.value.field


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("limit=9&q=fog", "q=fog&limit=9"), ("q=Fog+FERRY&q=fog", "q=ferry%20fog"),
        ("any=b,a,B", "any=a,b"), ("any=b&any=a", "any=a,b"), ("content=full", ""),
        ("tag=Weather Watch", "tag=weather-watch"), ("limit=007", "limit=7"),
        ("since=2017-12-22", "since=2017-12-21T23:00:00Z"),
        ("since=2017-12-22T01:00:00+01:00", "since=2017-12-22T00:00:00Z"),
        ("until=2017-12-22T01:00:00%2B01:00", "until=2017-12-22T00:00:00Z"),
        ("q=a´b", "q=a%20b"), ("q=Café", "q=cafe"), ("q=%22fog%22", "q=fog"),
        ("q=quay+%22Fog+ferry%22", "q=%22fog%20ferry%22%20quay"),
        ("q=e-mail", "q=%22e%20mail%22"), ("q=C%2B%2B", "q=c%2B%2B"),
        ("author=José", "author=jose"),
        ("lang=pt_BR", "lang=pt-br"), ("author=J. Ferreira", "author=j.%20ferreira"),
    ],
)  # fmt: skip
def test_one_spelling(query: str, expected: str) -> None:
    """Order, case and repetition make no other document."""
    assert expected == str(parse_query(query, zone=ZoneInfo("Europe/Oslo")))


TEXT = st.text(max_size=30)


@given(st.dictionaries(st.sampled_from(["q", "author", "source", "tag", "any", "lang"]), TEXT))
def test_the_spelling_is_stable(values: dict[str, str]) -> None:
    """What is written is read as the same, whatever is in it."""
    text = "&".join(f"{name}={quote(value)}" for name, value in values.items())
    try:
        query = parse_query(text, zone=UTC)
    except InvalidInput:
        return
    assert query == parse_query(str(query), zone=UTC)
    assert str(query) == str(parse_query(str(query), zone=UTC))
    assert query.filter.matches(FOG) in (True, False)


@pytest.mark.parametrize(
    ("stored", "title", "expected"),
    [
        ("q=e-mail%20fog", "Fog by e-mail", True), ("q=stra%C3%9Fe", "Straße", True),
        ("q=%22fog", "fog", True), ("q=don%E2%80%99t", "I don’t", True), ("q=fog", "foggy", False),
        ("q=" + "%20".join(f"{n}-a" for n in range(20)), "", False),
    ],
)  # fmt: skip
def test_queries_of_the_version_before_are_read(stored: str, title: str, expected: bool) -> None:
    """Views and webhooks keep queries in the spelling of their time: substrings in any case."""
    article = replace(FOG, title=title, content_html="", summary="")
    assert expected == parse_query(stored, zone=UTC).filter.matches(article)


async def test_words_are_found_whole_and_without_marks(get: Get, publish: Publish) -> None:
    """What people type finds what publishers write, and no other words."""
    for title in ("İstanbul ferries", "Αθήνα και λιμάνι", "AI in the port", "Le café du port"):
        await publish(title)
    await publish("He said it rained", content_html="<p>A detail of the email</p>")
    await publish("東京都の港")
    for search, expected in (
        ("istanbul", "İstanbul ferries"), ("αθηνα", "Αθήνα και λιμάνι"), ("ai", "AI in the port"),
        ("cafe", "Le café du port"), ("%22the+port%22", "AI in the port"), ("京都", "東京都の港"),
        ("%22detail+of+the%22", "He said it rained"),
    ):  # fmt: skip
        spelling = str(parse_query(f"q={search}", zone=UTC))
        items = orjson.loads(await get(f"/feeds/all.json?{spelling}"))["items"]
        assert [expected] == [item["title"] for item in items]


async def test_a_selection_is_a_feed(client: Client, get: Get, publish: Publish) -> None:
    """With its own address, title and validators, in every format; unknown parameters are named."""
    await publish("Fog", tags=("Fog",), authors=("Mira Solheim",))
    await publish("Sun", tags=("Sun",), language="fr")
    for extension in FORMATS:
        path = f"{LIVE}.{extension}?tag=fog"
        async with client.get(path) as response:
            body, tag = await response.read(), response.headers["ETag"]
            assert f'<http://news.example{path}>; rel="self"' in response.headers["Link"]
        assert 1 == len(Read(body, extension).ids)
        assert f"http://news.example{path}".encode() in body
        assert b"Coalition News (tag=fog)" in body
        async with client.get(path, headers={"If-None-Match": tag}) as response:
            assert 304 == response.status
    assert b'"items":[]' in await get(f"{LIVE}.json?q=fog%20sun")
    for name, count in (("any=fog,sun", 2), ("lang=fr", 1), ("author=Mira%20Solheim", 1)):
        assert count == len(Read(await get(f"/feeds/all.json?{name}"), "json").ids)
    problem = orjson.loads(await get(f"{LIVE}.json?utm_source=x", 400))
    assert "utm_source" == problem["field"]


async def test_near_misses_lead_to_the_one_spelling(client: Client, publish: Publish) -> None:
    """And only that is remembered."""
    await publish("Fog", tags=("Fog",))
    url = URL(f"{LIVE}.rss?limit=5&tag=Fog", encoded=True)
    async with client.get(url, allow_redirects=False) as response:
        assert (308, f"{LIVE}.rss?tag=fog&limit=5") == (
            response.status, response.headers["Location"],
        )  # fmt: skip
    async with client.get(url) as response:
        assert 200 == response.status


@pytest.mark.parametrize("extension", FORMATS)
async def test_next_leads_through_all_of_a_selection(
    get: Get, publish: Publish, extension: str
) -> None:
    """RFC 5005 3: also where many are dated the same; each once."""
    midnight = datetime(2017, 12, 22, tzinfo=UTC)
    ids = [await publish(f"Fog {n}", tags=("Fog",), published=midnight) for n in range(7)]
    ids += [
        await publish(f"Fog {n}", tags=("Fog",), published=midnight - timedelta(days=n))
        for n in range(7, 10)
    ]
    await publish("Sun", tags=("Sun",), published=midnight)
    read_ids: list[str] = []
    path = f"{LIVE}.{extension}?tag=fog&limit=3"
    while path:
        feed = Read(await get(path), extension)
        read_ids += feed.ids
        path = feed.link("next").removeprefix("http://news.example")
    assert sorted(f"urn:uuid:{article_id}" for article_id in ids) == sorted(read_ids)


async def test_since_and_until(get: Get, publish: Publish) -> None:
    """From then on, before then; within a day, too."""
    ids = [await publish(str(hour), published=DAY.replace(hour=hour)) for hour in (3, 9, 15)]

    async def ids_at(path: str) -> list[str]:
        return Read(await get(path), "json").ids

    nine = "2017-12-22T09:41:07Z"
    assert [f"urn:uuid:{ids[2]}", f"urn:uuid:{ids[1]}"] == await ids_at(f"{LIVE}.json?since={nine}")
    assert [f"urn:uuid:{ids[0]}"] == await ids_at(f"{LIVE}.json?until={nine}")
    assert [f"urn:uuid:{ids[0]}"] == await ids_at(f"{LIVE}/2017/12/22.json?until={nine}")
    assert [] == await ids_at(f"{LIVE}/2017/12/22.json?since=2017-12-23T00:00:00Z")


async def test_summaries_only(get: Get, publish: Publish) -> None:
    """content=summary: small documents for those who show lists."""
    await publish("Fog", summary="Fog in the harbour")
    for extension in FORMATS:
        body = await get(f"{LIVE}.{extension}?content=summary")
        assert b"Fog in the harbour" in body
        assert b"Some words" not in body
        assert b"Some words" in await get(f"{LIVE}.{extension}")


async def test_a_selection_has_deltas(client: Client, publish: Publish) -> None:
    """As every feed: against what this server sent."""
    for number in range(4):
        await publish(f"Fog {number}", tags=("Fog",))
    path = f"{LIVE}.json?tag=fog"
    async with client.get(path) as response:
        tag = response.headers["ETag"]
    new_id = await publish("More fog", tags=("Fog",))
    async with client.get(path, headers={"A-IM": "feed", "If-None-Match": tag}) as response:
        assert 226 == response.status
        assert [f"urn:uuid:{new_id}"] == Read(await response.read(), "json").ids


def test_what_an_article_has_not_matches_nothing() -> None:
    """An empty field is not a value that a filter can match."""
    empty = replace(FOG, tags=(), categories=(), authors=(), language="", source="")
    for query in ("tag=fog", "any=fog", "all=fog", "author=a", "lang=en", "source=x"):
        assert not parse_query(query, zone=UTC).filter.matches(empty)
    assert parse_query("none=fog", zone=UTC).filter.matches(empty)
