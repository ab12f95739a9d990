"""Selectors that are proposed for pages and JSON: they read what a person would choose."""

from __future__ import annotations

from datetime import UTC
from typing import Any

import orjson
import pytest

from service.sources.select import checked_select
from tests.effort import assert_linear
from workers.ingest.parse import parse
from workers.ingest.parse.guess import Proposal, guess

URL = "http://x.example/"
TITLES = [
    "Ferry sails again at noon", "Crane stands still since Monday", "Fog over the northern pier",
    "New ropes for the old quay", "Harbour master says farewell",
]  # fmt: skip


def proposals(body: str) -> tuple[Proposal, ...]:
    """All proposals for a document."""
    return guess(body.encode(), url=URL, content_type="", zone=UTC)


def page(*items: str, around: str = "{}") -> str:
    """A page with a menu, the items, and a footer."""
    menu = "".join(f"<li><a href='/m{n}'>Menu entry number {n}</a></li>" for n in range(12))
    foot = "".join(f"<li><a href='/f{n}'>About us and more {n}</a></li>" for n in range(8))
    return (
        f"<!doctype html><html><head><link rel='next' href='/2'></head><body>"
        f"<nav><ul>{menu}</ul></nav><main>{around.format(''.join(items))}</main>"
        f"<footer><ul>{foot}</ul></footer></body></html>"
    )


def cards(item: str) -> list[str]:
    """One item for each title; `{n}` and `{t}` are its number and title."""
    return [item.replace("{n}", str(n)).replace("{t}", title) for n, title in enumerate(TITLES)]


@pytest.mark.parametrize(
    ("item", "around"),
    [
        ("<article><h2><a href='/n/{n}'>{t}</a></h2><p>And some words on {t}.</p></article>",
         "{}"),
        ("<div class='card post-{n}'><a href='/n/{n}'><img src='/{n}.jpg'><h3>{t}</h3></a></div>",
         "<div class='grid'>{}</div>"),
        ("<li><a class='title' href='/n/{n}'>{t}</a> <a href='/who/{n}'>Ann</a></li>",
         "<ul class='news'>{}</ul>"),
        ("<tr><td>{n}</td><td><a href='/n/{n}'>{t}</a></td></tr>", "<table id='board'>{}</table>"),
        ("<div class='row'><div class='css-1x2y3z'><h4>{t}</h4><a href='/n/{n}'>Read more</a></div>"
         "</div>", "{}"),
        ("<a class='teaser' href='/n/{n}'><b>{t}</b></a>", "<section>{}</section>"),
        ("<dt><a href='/n/{n}'>{t}</a></dt><dd>Some more words on it.</dd>", "<dl>{}</dl>"),
    ],
)  # fmt: skip
def test_the_list_of_articles_is_found(item: str, around: str) -> None:
    """Whatever its markup, and not the menu, which has more links."""
    best = proposals(page(*cards(item), around=around))[0]
    assert (5, tuple(TITLES[:3])) == (best.items, best.titles)
    document = parse(
        page(*cards(item), around=around).encode(), url=URL, select=checked_select(best.select)
    )
    assert [f"{URL}n/{n}" for n in range(5)] == [entry.url for entry in document.entries]
    assert f"{URL}2" == document.next_url


def test_each_field_gets_a_selector() -> None:
    """By its element, or by what its class is called."""
    item = (
        "<div class='item'><span class='category'>News</span><h2 class='h'>{t}</h2>"
        "<a href='/n/{n}'>more</a><span class='post-date'>{n} January 2026</span>"
        "<div class='teaser'>Some longer words on {t}.</div><i class='byline'>Ann</i>"
        "<img src='/{n}.jpg'></div>"
    )
    best = proposals(page(*cards(item)))[0]
    assert {
        "items": "div.item", "title": "h2", "link": "a", "date": "span.post-date",
        "content": "div.teaser", "author": "i.byline", "category": "span.category",
        "image": "img", "next_page": "link[rel~=next]",
    } == best.select  # fmt: skip


@pytest.mark.parametrize(
    "body",
    [
        "<rss><channel>" + "<item><a href='/1'>Some title of it</a></item>" * 3,
        "", "<html></html>", "<html><p>One text</p><p>Two</p><p>Three</p></html>", "{", "[1, 2, 3]",
        "{}", '[{"a": 1}, {"a": 2}]', "\x00", "<a>" * 3,
        "<html>" + "<li><a href='#top'>Back to the top of it</a></li>" * 9,
        "<html>" + "<li><a href='/same'>The same page each time</a></li>" * 9,
    ],
)  # fmt: skip
def test_nothing_is_proposed_where_nothing_repeats(body: str) -> None:
    """Nor for what is not a document."""
    assert () == proposals(body)


@pytest.mark.parametrize(
    ("value", "select"),
    [
        ([{"headline": "One", "url": "/1"}, {"headline": "Two", "url": "/2"}],
         {"items": "$[*]", "title": "$.headline", "link": "$.url"}),
        ({"data": {"news-items": [{"Title": "One", "published_at": "2026-01-05"}] * 2},
          "next": "/2"},
         {"items": '$.data["news-items"][*]', "title": "$.Title", "date": "$.published_at",
          "next_page": "$.next"}),
        ([{"title": {"rendered": "One"}, "link": "/1", "authors": [{"name": "Ann"}],
           "image": {"url": "/i"}}] * 2,
         {"items": "$[*]", "title": "$.title.rendered", "link": "$.link",
          "author": "$.authors[*].name", "image": "$.image.url"}),
        ({"menu": [{"name": "x", "href": "/x"}] * 3,
          "posts": [{"title": "One", "url": "/1", "date": "2026-01-05"}] * 2},
         {"items": "$.posts[*]", "title": "$.title", "link": "$.url", "date": "$.date"}),
    ],
)  # fmt: skip
def test_lists_in_json(value: Any, select: dict[str, str]) -> None:
    """By the names of their members, wherever they are; the list with most of them first."""
    assert select == proposals(orjson.dumps(value).decode())[0].select


def test_a_guess_takes_linear_time() -> None:
    """In the size of a page, and of JSON."""
    assert_linear(lambda text: proposals(f"<html>{text}"), "".join(cards(
        "<div class='a b c d e'><h2><a href='/n/{n}'>{t}</a></h2></div>")) * 400)  # fmt: skip
    one = '{"title": "One", "url": "/1", "more": {"a": [{"title": "x"}]}},'
    assert_linear(lambda text: proposals(f"[{text[: text.rfind('}},') + 2]}]"), one * 20_000)
