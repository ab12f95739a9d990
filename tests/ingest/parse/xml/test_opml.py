"""OPML: feeds and the folders that they are in."""

from __future__ import annotations

import pytest

from service.feeds import opml
from workers.ingest.parse import FeedLink, parse


def feeds(body: str) -> tuple[FeedLink, ...]:
    """The feeds of an OPML document with this body."""
    document = parse(f"<opml version='2.0'><head/>{body}</opml>".encode(), url="http://o.example/")
    assert ("opml", "http://o.example/", ()) == (document.kind, document.url, document.entries)
    return document.feeds


@pytest.mark.parametrize(
    ("outlines", "expected"),
    [
        ("<outline text='A' xmlUrl='http://a.example/f'/>", [("A", "")]),
        ("<outline title='T' text='A' xmlUrl='http://a.example/f'/>", [("T", "")]),
        ("<outline xmlUrl='http://a.example/f'/>", [("", "")]),
        ("<outline text='N'><outline text='M'><outline text='A' xmlUrl='u'/></outline></outline>",
         [("A", "N/M")]),
        ("<outline text='N/M'><outline text='A' xmlUrl='u'/></outline>", [("A", "N M")]),
        ("<outline><outline text='A' xmlUrl='u'/></outline>", [("A", "")]),
        ("<outline text='A' xmlUrl='u'><outline text='B' xmlUrl='v'/></outline>",
         [("A", ""), ("B", "A")]),
        ("<outline text='A' xmlUrl=' '/><outline text='B'/>", []),
        ("<outline text='A' URL='u' type='link'/><outline text='B' xmlurl='v'/>",
         [("A", ""), ("B", "")]),
        ("<outline text='A' xmlUrl='u' category='/N/M, O'/>", [("A", "N/M"), ("A", "O")]),
        ("<outline text='N'><outline text='A' xmlUrl='u' category='O'/></outline>", [("A", "N")]),
        ("<outline text='A' url='http://a.example/more.opml' type='include'/>", []),
    ],
)  # fmt: skip
def test_outlines(outlines: str, expected: list[tuple[str, str]]) -> None:
    """Titles of feeds, and paths of the folders above; a slash in a title is no step."""
    found = feeds(f"<body>{outlines}</body>")
    assert expected == [(link.title, link.category) for link in found]


def test_no_body() -> None:
    """No feeds, and no error."""
    assert () == feeds("")


def test_deep_folders() -> None:
    """What is in a deeper folder than categories can be is in the last folder that is one."""
    nested = "<outline text='x'>" * 20 + "<outline xmlUrl='u'/>" + "</outline>" * 20
    assert ["/".join("x" * 8)] == [link.category for link in feeds(f"<body>{nested}</body>")]


def test_lists_of_other_programs() -> None:
    """Bare ampersands and elements that OPML does not have cost nothing."""
    body = b"""
    <opml version="1.1"><body><rule name="x"/>
    <outline text="A" xmlUrl="http://a.example/f?a=1&b=2" htmlUrl="http://a.example/?x&y"/>
    <outline text="B &amp; C" xmlUrl="http://b.example/f"/></body></opml>"""
    expected = [("A", "http://a.example/f?a=1&b=2"), ("B & C", "http://b.example/f")]
    assert expected == [(link.title, link.url) for link in opml.read(body)]
    assert expected == [(link.title, link.url) for link in parse(body).feeds]
