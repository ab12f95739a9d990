"""What rules make of an entry, and that its identity stays what it was."""

from __future__ import annotations

from typing import Any

import pytest

from service.articles.article import Draft, Entry
from service.articles.text import Plain
from service.sources.rules import checked_rules, read_rules
from tests.effort import assert_linear
from workers.ingest.apply_rules import RuledEntry, apply_rules
from workers.ingest.documents import ParseJob, drafts_of, parsed

ENTRY = Entry(
    guid="g", url="/news/1?utm=x", base_url="http://x.example/f", title="Ad: Tom &amp; the Ferry",
    content_html='<p>Fog on the <b>pier</b></p><div class="ad">Buy <p class="ad">now</p></div>',
    summary="Fog", authors=("Desk", "A. Tern"), categories=("Port", "Ads"),
)  # fmt: skip


def ruled(*rules: str, entry: Entry = ENTRY) -> RuledEntry:
    """Return an entry as these rules leave it."""
    return apply_rules(entry, read_rules(checked_rules(list(rules))))


@pytest.mark.parametrize(
    ("rules", "is_dropped"),
    [
        (["keep title ~ ferry"], False),
        (["keep title ~ boat"], True),
        (["drop title ~ ferry"], True),
        (["drop title ~ boat"], False),
        (["drop text ~ pier and category = ads"], True),
        (['drop title ~ "Tom & the"'], True),
        (["drop link = http://x.example/news/1?utm=x"], True),
        (["drop text ~ class"], False),
        (["replace title /Ferry/Boat/", "drop title ~ ferry"], False),
        (["replace title /Ferry/Boat/", "keep title ~ boat"], False),
        (["strip .ad", "drop text ~ buy"], False),
        (["category News", "drop category = ads"], False),
        (["keep author ~ tern", "drop author = tern"], False),
    ],
)
def test_keep_and_drop(rules: list[str], is_dropped: bool) -> None:
    """Each rule sees what those before it made; texts are compared as people read them."""
    assert is_dropped is ruled(*rules).is_dropped


@pytest.mark.parametrize(
    ("rule", "fields"),
    [
        ("tag Fog if text ~ fog", {"tags": ("Fog",)}),
        ("tag Fog if text ~ ice", {}),
        ("category News/Boats", {"categories": ("News/Boats",)}),
        ("replace title /^Ad: //", {"title": "Tom & the Ferry"}),
        (r"replace title /(tom) & (.*)/\2 and \1/", {"title": "Ad: the Ferry and Tom"}),
        (r"replace link /\?.*//", {"url": "http://x.example/news/1"}),
        ("replace author /^desk$//", {"authors": ("A. Tern",)}),
        ("replace author,category /a/o/", {"authors": ("Desk", "o. Tern"),
                                           "categories": ("Port", "ods")}),
        ("replace title /nothing/x/", {}),
        ("replace text /FOG/Mist/", {"content_html": ENTRY.content_html.replace("Fog", "Mist"),
                                     "summary": "Mist"}),
        ("replace text /class/x/", {}),
        ("strip .ad", {"content_html": "<p>Fog on the <b>pier</b></p>"}),
        ("strip //b", {"content_html": ENTRY.content_html.replace("<b>pier</b>", "")}),
        ("strip body, html", {}),
        ("strip .none", {}),
        ("strip b::text", {}),
    ],
)  # fmt: skip
def test_changes(rule: str, fields: dict[str, Any]) -> None:
    """Of these fields alone; a rule that changes nothing says nothing."""
    after = ruled(rule)
    changed = {name: getattr(after.entry, name) for name in ENTRY.__slots__}
    before = {name: getattr(ENTRY, name) for name in ENTRY.__slots__}
    assert {**before, **fields} == changed
    assert bool(fields) is bool(after.steps)


def test_what_rules_did_is_noted() -> None:
    """In their order, with the rule."""
    after = ruled("tag Fog", "strip .ad", "tag Fog", "replace title /Ad/Ed/", "drop title ~ ed")
    assert (
        "tag Fog: added the tag Fog",
        "strip .ad: removed 2 elements",
        "replace title /Ad/Ed/: replaced in title",
        "drop title ~ ed: dropped it",
    ) == after.steps


def test_plain_texts_stay_plain() -> None:
    """No replacement makes markup of a text that says that it has none."""
    entry = Entry(content_html=Plain("a < b"), title=Plain("x"))
    after = ruled("replace text,title /[bx]/<i>/", "strip i", entry=entry).entry
    assert ("a < <i>", "<i>") == (after.content_html, after.title)
    assert isinstance(after.content_html, Plain)
    assert isinstance(after.title, Plain)


@pytest.mark.parametrize("text", ["\ud800 fog", "fog\x00", "<p>\udfff fog</p>", "<div>" * 3_000])
def test_odd_texts(text: str) -> None:
    """Half of a surrogate pair, NUL, or more levels than a tree has: no rule fails for them."""
    entry = Entry(title=text, content_html=text, authors=(text,), url=text)
    after = ruled(
        "replace title,text,author,link /fog/x/", "strip p", "tag A if title,link ~ x", entry=entry
    )
    assert not after.is_dropped


def test_markup_that_lxml_would_cut_is_left() -> None:
    """Its words matter more than what a rule would remove."""
    deep = "<div>" * 400 + "<b>x</b> the end"
    assert deep == ruled("strip b", entry=Entry(content_html=deep)).entry.content_html


def test_rules_take_linear_time() -> None:
    """In the length of a text."""

    def strip(text: str) -> None:
        ruled("strip .ad", "replace text /fog+/x/", entry=Entry(content_html=text))

    assert_linear(strip, "<p>fog <i class='ad'>x</i></p>" * 8_000)


RSS = """<rss version="2.0"><channel><item><link>http://x.example/1</link><title>One</title>
<category>Port</category></item><item><guid>b</guid><title>Two</title></item>
<item><title>Three</title><description>Known by its text alone</description></item>
</channel></rss>"""


def drafts(*rules: str, **fields: Any) -> list[Draft]:
    """The drafts of a feed of two items."""
    url = "http://x.example/f"
    job = ParseJob(url=url, added_url=url, rules=checked_rules(list(rules)), **fields)
    found = drafts_of(parsed(job, RSS.encode()), job, name=url)
    return [draft for _, draft in found if isinstance(draft, Draft)]


def test_rules_do_not_change_who_an_article_is() -> None:
    """A rule that is added later makes no second article."""
    before = drafts()
    after = drafts("replace title,link,text /1|One|Two|Three|Known/x/", "tag A")
    assert [draft.id for draft in before] == [draft.id for draft in after]
    assert ["http://x.example/x", "x"] == [after[0].url, after[0].title]
    assert [draft.id for draft in before[1:]] == [draft.id for draft in drafts("drop title ~ one")]


@pytest.mark.parametrize(
    ("rules", "fields", "expected"),
    [
        (["category Fog"], {"categories": ("News",)}, ["fog", "fog", "fog"]),
        (["category Fog if title ~ two"], {"categories": ("News",)}, ["news", "fog", "news"]),
        (["category Fog if category ~ port"], {"mapping": {"Port": "Harbour"}}, ["fog", "", ""]),
        (["replace category /port/Boats/"], {"mapping": {"Boats": "Harbour"}}, ["harbour", "", ""]),
    ],
)
def test_rules_come_before_the_sources_own_categories(
    rules: list[str], fields: dict[str, Any], expected: list[str]
) -> None:
    """They see what the source says, and what they set stays."""
    after = drafts(*rules, **fields)
    assert expected == ["".join(c.path for c in draft.categories) for draft in after]
