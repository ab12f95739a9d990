"""Duplicates: which articles are one story, and which of them is the original."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.articles.aliases import canonical
from service.articles.article import Article, Draft, Entry
from service.articles.compose import compose
from service.articles.duplicates import are_alike, are_duplicates, outranks, sketch_of
from tests.composing import article

WORDS = [
    "harbour", "ferry", "tide", "quay", "council", "winter", "boats", "pilot", "crane", "fog",
    "lights", "mayor", "ships", "rope", "storm", "tonnes", "captain", "gull", "anchor", "market",
    "bridge", "lock", "dredger", "cargo", "wind", "cable", "mast", "hull", "net", "buoy",
]  # fmt: skip


MOMENT = datetime(2026, 1, 5, 10, tzinfo=UTC)


def text(seed: int, words: int = 150) -> str:
    """Paragraphs of words that no other seed has in this order."""
    chance = random.Random(seed)
    found = chance.choices(WORDS, k=words)
    paragraphs = [" ".join(found[at : at + 50]) for at in range(0, words, 50)]
    return "".join(f"<p>{paragraph}.</p>" for paragraph in paragraphs)


def draft(
    source: str, body: str, *, url: str = "", category: str = "News", guid: str = "1"
) -> Draft:
    """An article of a source."""
    entry = Entry(
        guid=guid, url=url, title="Crane stands", content_html=body, categories=(category,),
        published=MOMENT,
    )  # fmt: skip
    return compose(entry, source=source)


def edited(body: str) -> str:
    """A typo, and a paragraph more."""
    return body.replace("harbour", "harbor") + "<p>This is what our own reader adds to it.</p>"


def halved(body: str) -> str:
    """The first half of a body."""
    return body[: body.index("</p>", len(body) // 2)]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://www.X.example:443/a/", "x.example/a"),
        ("http://x.example/changelog#v1.1", "x.example/changelog#v1.1"),
        ("http://x.example/#!/story/7", "x.example#!/story/7"),
        ("http://x.example/a#id=7&utm_source=y", "x.example/a#id=7"),
        ("http://x.example/a#xtor=RSS-1", "x.example/a"),
        ("http://x.example/a#:~:text=Some%20words", "x.example/a"),
        ("http://[x.example/a", "http://[x.example/a"),
        ("http://x.example/a?b=2&utm_source=y&a=1&fbclid=z", "x.example/a?a=1&b=2"),
        ("http://x.example/?p=7", "x.example?p=7"),
        ("http://x.example:8080/a%20b", "x.example:8080/a%20b"),
    ],
)
def test_canonical_urls(url: str, expected: str) -> None:
    """Parts of a URL that do not tell one article from another are removed."""
    assert expected == canonical(url)


def test_alike() -> None:
    """Articles are compared by words; a text that is too short for that is alike to none."""
    one = sketch_of(made("a.example", text(20)))
    assert are_alike(one, sketch_of(made("b.example", edited(text(20)))))
    assert are_alike(one, sketch_of(made("b.example", halved(text(20)))))
    assert not are_alike(one, sketch_of(made("b.example", text(21))))
    short = sketch_of(made("a.example", "<p>Fog on the quay.</p>"))
    assert not are_alike(short, short)
    assert [] == short.landmarks()


@pytest.mark.parametrize("words", [30, 150, 900])
def test_similar_texts_have_landmarks_in_common(words: int) -> None:
    """By these they are found; texts of the same few words in another order have none."""
    for seed in range(50):
        marks = set(sketch_of(made("a.example", text(seed, words))).landmarks())
        copy = set(sketch_of(made("b.example", edited(text(seed, words)))).landmarks())
        other = set(sketch_of(made("b.example", text(seed + 1_000, words))).landmarks())
        assert 12 == len(marks)
        assert 2 <= len(marks & copy)
        assert len(marks & other) < 2


CHINESE = (
    "港口今天发布了新的消息渡轮因为大雾停航直到下午三点才恢复运行市长说明年将修建新的码头并扩大航道"
)


HINDI = "बंदरगाह ने आज नई जानकारी दी कोहरे के कारण नाव दोपहर तीन बजे तक बंद रही महापौर ने कहा अगले साल नया घाट बनेगा और रास्ता चौड़ा होगा"  # noqa: E501


@pytest.mark.parametrize("body", [CHINESE, HINDI, "Ο δήμαρχος είπε " * 3 + HINDI])
def test_texts_of_all_scripts_are_compared(body: str) -> None:
    """Words without spaces between them, too; marks and case make no difference."""
    one, copy = sketch_of(made("a.example", body)), sketch_of(made("b.example", body.upper() + "!"))
    assert are_alike(one, copy)
    assert not are_alike(one, sketch_of(made("b.example", text(1))))


PRODUCT = "http://maker.example/phone"


@pytest.mark.parametrize(
    ("bodies", "titles", "link", "days", "expected"),
    [
        # Two sources that discuss one product, weeks apart; a copy with its link is one story.
        ((text(1), text(2)), ("Why I like it", "A poor phone"), PRODUCT, 20, False),
        ((text(1), edited(text(1))), ("Why I like it", "A phone"), PRODUCT, 20, True),
        (("<p>Short.</p>", "<p>Other.</p>"), ("Phone out", "Buy this"), PRODUCT, 20, False),
        (("<p>Short.</p>", "<p>Other.</p>"), ("Phone out", "Phone OUT!"), PRODUCT, 20, True),
        # On one day: a teaser and its article, but not two texts of their own.
        (("<p>Short.</p>", text(1)), ("Phone out", "A phone"), PRODUCT, 0.5, True),
        ((text(1), text(2)), ("The phone is out", "Phone out"), PRODUCT, 0.5, True),
        ((text(1), text(2)), ("Why I like it", "A poor phone"), PRODUCT, 0.5, False),
        (("<p>Short.</p>", "<p>Other.</p>"), ("Phone out", "Buy this"), PRODUCT, 2, False),
        # Without the link, words alone count, for three days.
        ((text(1), edited(text(1))), ("A", "B"), "", 2, True),
        ((text(1), edited(text(1))), ("A", "B"), "", 4, False),
        (("<p>Short.</p>", "<p>Short.</p>"), ("Phone out", "Phone out"), "", 0, False),
        # A link to a whole site says nothing.
        (("<p>Short.</p>", "<p>Other.</p>"), ("A", "B"), "http://maker.example/", 0, False),
    ],
)
def test_one_link_is_not_enough(
    bodies: tuple[str, str], titles: tuple[str, str], link: str, days: float, expected: bool
) -> None:
    """Articles with one link are one story if they are alike, or near in time, too."""
    one = replace(made("a.example", bodies[0], url=link), title=titles[0])
    other = replace(made("b.example", bodies[1], url=link), title=titles[1])
    other = replace(other, published=one.published + timedelta(days=days))
    for a, b in ((one, other), (other, one)):
        assert expected == are_duplicates(a, b, sketch_of(a), sketch_of(b))


def test_rank() -> None:
    """The publisher's own, then the first, then any rule that is always the same."""
    own = made("news.example", text(1), url="http://news.example/a")
    copy = made("http://planet.example/f", text(1), url="http://news.example/a")
    early = replace(copy, first_seen=copy.first_seen - timedelta(hours=1))
    assert outranks(own, early)
    assert outranks(early, copy)
    assert not outranks(own, own)


def made(source: str, body: str, *, url: str = "") -> Article:
    """The article of a draft, without a store."""
    composed = draft(source, body, url=url)
    return article(
        id=composed.id, source=source, guid=composed.guid, url=composed.url, title=composed.title,
        summary="", content_html=composed.content_html, categories=("news",), published=MOMENT,
        updated=MOMENT, first_seen=MOMENT,
    )  # fmt: skip
