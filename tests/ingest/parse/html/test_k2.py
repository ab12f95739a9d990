"""K2's list and item pages: every kind of list, and where on a page the category stands."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from service.articles.article import Detail, Entry
from tests.running import ROOT
from workers.ingest.parse import Document, parse

DATA = ROOT / "tests" / "data"
OSLO = ZoneInfo("Europe/Oslo")
HOME = '<li><a href="/" class="pathway"><span>Home</span></a><span class="divider">/</span></li>'
CENTER = '<li><a href="/media" class="pathway">Media Center</a><span class="divider">/</span></li>'
NEWS = '<div class="KCategory"><span>Published in</span> <a href="/c/3">Harbour News</a></div>'


def page(
    kind: str, trail: str, *, title: str = "", category: str = NEWS, head: str = ""
) -> Document:
    """A page with one item of that kind."""
    title = title or '<h2 class="KTitle"><a href="/media/item/71-crane">Crane</a></h2>'
    item = (
        f'<div class="KView">{title}<div class="KIntroText"><p>Words.</p></div>{category}'
        '<a class="k2ReadMore" href="/media/item/71-crane">Read more</a></div>'
    ).replace('"K', f'"{kind}')
    body = f"<html><head>{head}</head><body>{item}{trail}</body></html>"
    return parse(body.encode(), url="http://k.example/list")


def crumbs(*steps: str) -> str:
    """The breadcrumb of Joomla 3."""
    return f'<ul class="breadcrumb">{"".join(steps)}</ul>'


def only(document: Document) -> Entry:
    """The one entry of a page."""
    (entry,) = document.entries
    return entry


def test_a_category_list() -> None:
    """Author, tags, image and both dates; titles without "Featured", links from "Read more"."""
    document = parse((DATA / "k2_category.html").read_bytes(), zone=OSLO)
    crane, ice = document.entries
    assert ("k2-list", "Harbour News") == (document.kind, document.title)
    assert ("Crane stands again", ("Pia Lund",), ("Cranes", "Quay"), "/media/crane_M.jpg") == (
        crane.title,
        crane.authors,
        crane.tags,
        crane.image,
    )
    assert datetime(2026, 1, 5, 10, 30, tzinfo=UTC) == crane.published
    assert datetime(2026, 1, 6, 7, 15, tzinfo=UTC) == crane.updated
    assert "Pilots count 90 m2 of ice" == ice.title
    assert "https://www.ternmouth.example/media/9-ice/item/69-pilots-count" == ice.guid == ice.url
    assert [Detail.TEASER, Detail.TEASER] == [crane.detail, ice.detail]


def test_categories_of_a_category_list() -> None:
    """The list's own category where an item names none, a category below it where it names one."""
    crane, ice = parse((DATA / "k2_category.html").read_bytes()).entries
    assert ("Media Center/Harbour News",) == crane.categories
    assert ("Media Center/Harbour News/Ice Watch",) == ice.categories


@pytest.mark.parametrize(
    ("kind", "last"),
    [
        ("genericItem", "Items filtered by date: Monday, 5 January 2026"),
        ("genericItem", "Éléments filtrés par date : lundi, 5 janvier 2026"),
        ("tagItem", "Displaying items by tag: Cranes"),
        ("userItem", "Pia Lund"),
        ("latestItem", "Latest"),
    ],
)
def test_a_list_is_no_category(kind: str, last: str) -> None:
    """The last step of the path to a day, a tag or an author names the list, in any language."""
    document = page(kind, crumbs(HOME, CENTER, f"<li><span>{last}</span></li>"))
    assert ("Media Center/Harbour News",) == only(document).categories


@pytest.mark.parametrize(
    "trail",
    [
        crumbs("<li>You are here: &#160;</li>", HOME, CENTER, "<li><span>List</span></li>"),
        crumbs('<li class="active"><span class="divider icon-location"></span></li>', HOME, CENTER),
        '<div class="breadcrumbs"><span class="showHere">You are here: </span>'
        '<a href="/">Home</a> <img src="x"> <a href="/media">Media Center</a> <span>List</span>'
        "</div>",
        '<ol class="mod-breadcrumbs breadcrumb"><li class="float-start">You are here: </li>'
        '<li><a href="/index.php"><span>Start</span></a></li>'
        '<li><a href="/m"><span>Media Center</span></a></li><li><span>List</span></li></ol>',
        crumbs("<li><a href='https://k.example/'>Accueil</a></li>", CENTER),
    ],
    ids=["joomla 3", "with an icon", "joomla 2.5", "joomla 4", "home by its name"],
)
def test_breadcrumbs_of_all_ages(trail: str) -> None:
    """What stands before Home, and Home itself, are no categories."""
    assert ("Media Center/Harbour News",) == only(page("genericItem", trail)).categories


@pytest.mark.parametrize(
    ("trail", "category", "expected"),
    [
        (crumbs(HOME, CENTER, "<li>List</li>"), "", ("Media Center",)),
        ("", NEWS, ("Harbour News",)),
        ("", "", ()),
        (crumbs(HOME, "<li><a href='/x'>Sea / Air</a></li>"), NEWS, ("Sea Air/Harbour News",)),
    ],
    ids=["no category", "no breadcrumb", "neither", "a slash in a title"],
)
def test_what_there_is_of_a_path(trail: str, category: str, expected: tuple[str, ...]) -> None:
    """Breadcrumb and category each do without the other; a slash in a title is no step."""
    entry = only(page("genericItem", trail, category=category))
    assert expected == tuple(" ".join(path.split()) for path in entry.categories)


def test_an_item_page_does_not_double_its_category() -> None:
    """The breadcrumb ends with the category and the item itself."""
    trail = crumbs(HOME, CENTER, "<li><a href='/c'>Harbour News</a></li>", "<li>Crane</li>")
    entry = only(page("item", trail, title='<h2 class="itemTitle">Crane</h2>'))
    assert (("Media Center/Harbour News",), Detail.PAGE) == (entry.categories, entry.detail)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        ('<link rel="canonical" href="/media/item/71-crane">', "http://k.example/media/item/71-crane"),
        ('<meta property="og:url" content="http://k.example/o">', "http://k.example/o"),
        ("", "http://k.example/list"),
        ('<link rel="canonical" href="http://[x">', "http://k.example/list"),
    ],
)  # fmt: skip
def test_the_address_of_an_item_page(head: str, expected: str) -> None:
    """What the page says of itself, else where it came from."""
    title = '<h2 class="itemTitle">Crane <a href="/edit">Edit</a></h2>'
    assert expected == only(page("item", "", title=title, head=head)).guid


def test_a_base_is_no_address_of_an_item() -> None:
    """Two saved pages that only say whose they are are not one article."""
    body = (
        '<html><head><base href="https://k.example/"></head><body><div class="itemView">'
        '<h2 class="itemTitle">Crane</h2><div class="itemIntroText">x</div></div></body></html>'
    )
    document = parse(body.encode())
    assert ("", "https://k.example/") == (only(document).guid, document.url)


def test_a_bad_link_costs_one_item() -> None:
    """The other items are read."""
    body = "".join(
        f'<div class="catItemView"><h3 class="catItemTitle"><a href="{link}">x</a></h3></div>'
        for link in ("http://[x", "/item/2")
    )
    document = parse(f"<html><body>{body}</body></html>".encode(), url="http://k.example/")
    assert ["http://k.example/item/2"] == [entry.url for entry in document.entries]
    assert ["item 1"] == [reject.where for reject in document.rejects]


def test_the_shown_date_is_in_the_given_zone_unless_json_ld_is_exact() -> None:
    """JSON-LD of a wrong type is passed over."""
    shown = '<span class="itemDateCreated">Monday, 05 January 2026 11:30</span>'
    for script, expected in (
        ("{}", datetime(2026, 1, 5, 10, 30, tzinfo=UTC)),
        ('{"@type": "Article", "datePublished": 5}', datetime(2026, 1, 5, 10, 30, tzinfo=UTC)),
        (
            '[{"@type": ["Article"], "datePublished": "2026-01-05T10:30:20Z"}]',
            datetime(2026, 1, 5, 10, 30, 20, tzinfo=UTC),
        ),
    ):
        body = (
            f'<html><body><div class="itemView"><h2 class="itemTitle">x</h2>{shown}</div>'
            f'<script type="application/ld+json">{script}</script></body></html>'
        )
        assert expected == only(parse(body.encode(), url="http://k.example/1", zone=OSLO)).published
