"""The grammar of rules: one for API, command line and OPML."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest

from service.errors import InvalidInput
from service.feeds import opml
from service.manage import sources
from service.sources.rules import checked_rules, read_rules, text_of
from service.sources.source import make_source
from service.storage.store import Store
from tests.conftest import NOON
from tests.effort import assert_linear

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
VALUES = {
    "title": ["The Ferry sails"], "text": ["Fog on the (north) pier."], "author": ["A. Tern", "Bo"],
    "category": [], "link": ["http://x.example/ads/1"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("title ~ ferry", True),
        ("title ~ /^the (ferry|boat)/", True),
        ("title ~ sail.", False),
        ('text ~ "(NORTH) pier"', True),
        ("title = ferry", False),
        ('title = "the ferry sails"', True),
        ("title = /.*sails/", True),
        ("author = bo", True),
        ("author != bo", False),
        ("category ~ /./", False),
        ("category !~ news", True),
        ("title, text ~ fog", True),
        ("title,text !~ fog", False),
        ("title ~ ferry and link ~ /\\/ads\\//", True),
        ("title ~ ferry and link !~ ads", False),
        (r'title ~ "a \"b\" \\"', False),
    ],
)
def test_conditions(condition: str, expected: bool) -> None:
    """Contains, is, and neither; of several fields or values one must fit; case does not matter."""
    (rule,) = read_rules([{"keep": condition}])
    assert expected is rule.applies(VALUES)


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (5, "one action"),
        ({}, "one action"),
        ({"keep": "title ~ a", "drop": "title ~ b"}, "one action"),
        ({"hide": "title ~ a"}, "no such action; known: keep, drop"),
        ({"keep": 5}, "needs an argument"),
        ({"keep": "x" * 1_001}, "needs an argument"),
        ("keep", "needs an argument"),
        ("keep title", "is not a test"),
        ("keep titel ~ a", "no field titel"),
        ("keep title ~ a b", "quote words"),
        ("keep title ~ a and", "quote words"),
        ("keep title ~ a and b", "is not a test"),
        ("keep title ~ /(/", "not a pattern of RE2: missing"),
        ("keep title ~ /a(?=b)/", "not a pattern of RE2"),
        (r"keep title ~ /(a)\1/", "not a pattern of RE2"),
        (r"replace title /\C/x/", "which is a byte"),
        ("keep title ~ a\x00", "characters that no text may have"),
        ("keep title ~ \udcff", "characters that no text may have"),
        ("keep title ~ /((a{1000}){1000}){1000}/", "not a pattern of RE2"),
        ("tag " + "x" * 201, "at most 200"),
        ('tag ""', "needs a name"),
        ("tag Fog if fog", "is not a test"),
        ("tag if title ~ fog", "lacks a name"),
        ("tag Fog if", "lacks a name"),
        ("category if", "lacks a name"),
        ("category …", "is not a category"),
        ("replace title /a/", "must be FIELDS"),
        ("replace titel /a/b/", "no field titel"),
        (r"replace title /(a)/\2/", "has 1 groups"),
        ("strip a[", "is not CSS"),
        ("strip $.a", "must be CSS or XPath"),
    ],
)
def test_what_is_refused(rule: object, reason: str) -> None:
    """The number of the rule, the rule and what is wrong."""
    with pytest.raises(InvalidInput, match=reason) as caught:
        checked_rules(["keep title ~ a", rule])
    assert "rules[1]" == caught.value.field


@pytest.mark.parametrize("value", ["keep title ~ a", {"keep": "a"}, ["drop title ~ a"] * 101])
def test_rules_are_a_list(value: object) -> None:
    """Of at most a hundred."""
    with pytest.raises(InvalidInput, match="at most 100") as caught:
        checked_rules(value)
    assert "rules" == caught.value.field


def test_texts_and_objects_are_the_same() -> None:
    """What one door takes, another one writes."""
    texts = ["keep title ~ a", 'tag "What if" if text ~ fog', r"replace title /a\/b/c/", "strip .x"]
    objects = checked_rules(texts)
    assert {"tag": '"What if" if text ~ fog'} == objects[1]
    assert (texts, objects) == ([text_of(rule) for rule in objects], checked_rules(objects))
    assert ["", "What if", "", ""] == [rule.name for rule in read_rules(objects)]
    assert [] == checked_rules(None)


def test_patterns_take_linear_time() -> None:
    """Also the one that no backtracking engine ends with."""
    (rule,) = read_rules([{"drop": "text ~ /^(a+)+$/"}])

    def match(text: str) -> None:
        assert not rule.applies({**VALUES, "text": [f"{text}b"]})

    assert_linear(match, "a" * 1_000_000)


def test_categories_of_rules_are_the_operators() -> None:
    """They are not counted against what the source may create."""
    rules = ["category Harbour/Ferries if title ~ a"]
    source = make_source({"url": "http://x.example/f", "rules": rules}, created=WHEN)
    assert {"harbour", "harbour/ferries"} == source.category_creator.free


async def test_opml_carries_selectors_and_rules(store: Store) -> None:
    """What is exported is imported again, and the settings of one source stay its own."""
    select = {"items": "li", "title": 'a[title="<&>"]'}
    fields = {"url": "http://x.example/1", "select": select, "rules": ['drop title ~ "<a>"']}
    source, _ = await sources.add(store, fields, now=NOON)
    plain, _ = await sources.add(store, {"url": "http://x.example/2"}, now=NOON)
    exported = await sources.exported(store)
    assert 'dateline:rules="[&quot;drop' in exported.decode()
    await sources.remove(store, source.id)
    await sources.remove(store, plain.id)
    answers = await sources.add_all(store, exported, now=NOON)
    assert ["created", "created"] == [answer["status"] for answer in answers]
    assert source == await store.sources.get(source.id)
    assert plain == await store.sources.get(plain.id)


async def test_a_wrong_rule_in_opml_costs_its_feed_alone(store: Store) -> None:
    """An attribute that this version does not know costs nothing."""
    body = f"""<opml xmlns:d="{opml.SETTINGS}"><body>
        <outline xmlUrl="http://x.example/1" d:rules='["hide x"]'/>
        <outline xmlUrl="http://x.example/2" d:rules='not JSON'/>
        <outline xmlUrl="http://x.example/3" d:later='5'/></body></opml>"""
    answers = await sources.add_all(store, body.encode(), now=NOON)
    assert ["rejected", "rejected", "created"] == [answer["status"] for answer in answers]
    assert "no such action" in answers[0]["error"]


async def test_a_source_without_these_fields_is_read(store: Store) -> None:
    """As the version before stored it."""
    source = make_source({"url": "http://x.example/f"}, created=WHEN)
    stored = orjson.loads(orjson.dumps(source))
    del stored["select"], stored["rules"]
    await store.client.hset("dateline:{0}:sources", source.id, orjson.dumps(stored))
    assert source == await store.sources.get(source.id)
