"""OPML: feeds and the folders that they are in."""

from __future__ import annotations

import pytest

from workers.ingest.parse import FeedLink, parse


def feeds(body: str) -> tuple[FeedLink, ...]:
    """Of an OPML body."""
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
    ],
)  # fmt: skip
def test_outlines(outlines: str, expected: list[tuple[str, str]]) -> None:
    """Titles of feeds, and paths of the folders above; a slash in a title is no step."""
    found = feeds(f"<body>{outlines}</body>")
    assert expected == [(link.title, link.category) for link in found]


def test_no_body() -> None:
    """No feeds, and no error."""
    assert () == feeds("")


def test_depth_is_bounded() -> None:
    """Nine folders down nothing is looked for."""
    nested = "<outline text='x'>" * 20 + "<outline xmlUrl='u'/>" + "</outline>" * 20
    assert () == feeds(f"<body>{nested}</body>")
