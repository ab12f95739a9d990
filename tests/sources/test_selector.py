"""Selectors: which language a text is, what it selects, and what is refused before it is stored."""

from __future__ import annotations

from typing import Any

import pytest
from lxml import etree
from lxml import html as lxml_html

from service.errors import InvalidInput
from service.sources.select import checked_select
from service.sources.selector import CSS, JSONPATH, MAX_VALUES, XPATH, WrongSelector, compiled

PAGE = lxml_html.document_fromstring(
    '<body><!-- no --><div class="card"><h2>One <b>bold</b></h2><a href="/1">x</a></div></body>'
)


def shown(values: list[Any]) -> list[str]:
    """Names of elements, and other values as they are."""
    return [each if isinstance(each, str) else each.tag for each in values]


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("div.card h2", CSS, ["h2"]),
        (".card", CSS, ["div"]),
        ("h2, a", CSS, ["h2", "a"]),
        ("a::attr(href)", CSS, ["/1"]),
        ("h2::text, a::text", CSS, ["One ", "x"]),
        ("DIV.card:has(a)", CSS, ["div"]),
        ("css:b", CSS, ["b"]),
        ("nothing", CSS, []),
        ("//div/a/@href", XPATH, ["/1"]),
        ("./body//b", XPATH, ["b"]),
        ("(//a | //b)[1]", XPATH, ["b"]),
        ("string(//h2)", XPATH, ["One bold"]),
        ("count(//a)", XPATH, ["1"]),
        ("descendant::b", XPATH, ["b"]),
        (".", XPATH, ["html"]),
        ("xpath:body/div", XPATH, ["div"]),
        ("//div/node()", XPATH, ["h2", "a"]),
        ("//body/node()", XPATH, ["div"]),
        ("string(//i)", XPATH, []),
    ],
)
def test_selectors_of_markup(text: str, language: str, expected: list[str]) -> None:
    """How a text begins tells its language; comments are not selected."""
    selector = compiled(text)
    assert (language, expected) == (selector.language, shown(selector.values(PAGE)))


def test_names_in_xml_keep_their_case() -> None:
    """As `pubDate`; in HTML upper and lower case are the same."""
    root = etree.fromstring("<a><pubDate>now</pubDate></a>")
    assert ["pubDate"] == shown(compiled("pubDate").values(root))
    assert [] == compiled("pubdate").values(root)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$.posts[*].title", ["a", "b"]),
        ("$..n", [1, 2]),
        ("$.posts[?@.n > 1].title", ["b"]),
        ("$.posts[0]['title','n']", ["a", 1]),
        ("$.none", []),
    ],
)
def test_selectors_of_json(text: str, expected: list[Any]) -> None:
    """They are those of RFC 9535, filters included."""
    value = {"posts": [{"title": "a", "n": 1}, {"title": "b", "n": 2}]}
    assert (JSONPATH, expected) == (compiled(text).language, compiled(text).values(value))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "1 to 500"),
        ("a" * 501, "1 to 500"),
        ("a[", "not CSS"),
        ("a:nothing", "not CSS"),
        ("a::first-line", "::text and ::attr"),
        ("a::attr(a b)", "::text and ::attr"),
        ("//a[", "not XPath"),
        ("//x:a", "not XPath: Undefined namespace prefix"),
        ("//a[$x]", "not XPath: Undefined variable"),
        ("document('/etc/passwd')", r"no function document\(\)"),
        ("//a[re:test(@href, '(a+)+$')]", r"no function re:test\(\)"),
        ("string(str:padding(999999999, 'x'))", r"no function str:padding\(\)"),
        ("//a[date:date ()]", r"no function date:date\(\)"),
        ("//a[count(b) = 1] = 5", "a condition selects nothing"),
        ("(" * 400, "not XPath"),
        ("$.", "not JSONPath"),
        ("$[?match(@.a, '(a+)+$')]", "'match' is not defined"),
        ("$[?search(@.a, '(a+)+$')]", "'search' is not defined"),
        ("$.a =~ /x/", "not JSONPath"),
        ("$" + "[?@" * 150, "not JSONPath"),
    ],
)
def test_what_is_refused(text: str, reason: str) -> None:
    """With the reason on one line; nothing that reads files or runs expressions without limits."""
    with pytest.raises(WrongSelector, match=reason) as caught:
        compiled(text)
    assert "\n" not in str(caught.value)


def test_a_function_in_a_text_is_a_text() -> None:
    """Brackets in quotes call nothing."""
    assert ["a"] == shown(compiled("//a[. = 'x' or . = 'document()']").values(PAGE))


def test_documents_that_are_too_deep_are_one_error() -> None:
    """Not a RecursionError of the process."""
    value: Any = {}
    for _ in range(500):
        value = {"a": value}
    with pytest.raises(WrongSelector):
        compiled("$..b").values(value)


def test_values_are_bounded() -> None:
    """A selector may name everything in a document."""
    assert MAX_VALUES == len(compiled("$[*]").values([1] * 20_000))


@pytest.mark.parametrize("value", [None, {}])
def test_no_selectors(value: object) -> None:
    """Null removes the selectors of a source."""
    assert {} == checked_select(value)


def test_selectors_are_stored_without_spaces() -> None:
    """In the order of the documentation."""
    select = {"date_format": "%d.%m.%Y", "title": " h2 ", "items": "li"}
    assert [("items", "li"), ("title", "h2"), ("date_format", "%d.%m.%Y")] == list(
        checked_select(select).items()
    )


@pytest.mark.parametrize(
    ("select", "field", "reason"),
    [
        ([], "select", "must be an object"),
        ("li", "select", "must be an object"),
        ({"title": "h2"}, "select.items", "is missing"),
        ({"items": "li"}, "select", "needs one of title, link, content"),
        ({"items": "li", "titel": "h2"}, "select.titel", "no such field"),
        ({"items": "li", "title": 5}, "select.title", "must be a selector"),
        ({"items": "li", "title": " "}, "select.title", "must be a selector"),
        ({"items": "li", "title": "h2\x00"}, "select.title", "must be a selector"),
        ({"items": "li", "title": "h2["}, "select.title", "is not CSS"),
        ({"items": "li", "title": "$.a"}, "select.title", "must be CSS or XPath"),
        ({"items": "$[*]", "link": "a"}, "select.link", "must be JSONPath"),
        ({"items": "li", "title": "a", "date_format": "%d %B"}, "select.date_format", "year"),
        ({"items": "li", "title": "a", "date_format": "%d%d%Y"}, "select.date_format", "group"),
        ({"items": "li", "title": "a", "date_format": "%9999d"}, "select.date_format", "strptime"),
        ({"items": "li", "title": "a", "date_format": "x%"}, "select.date_format", "strptime"),
    ],
)
def test_wrong_selectors_name_their_field(select: object, field: str, reason: str) -> None:
    """The field, the selector and what is wrong."""
    with pytest.raises(InvalidInput, match=reason) as caught:
        checked_select(select)
    assert field == caught.value.field
