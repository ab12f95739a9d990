"""Guids, slugs and links that change with each poll, and the articles that stay the same."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from service.articles.article import Draft
from service.storage.store import Store
from tests.articles.test_aliases import FIRST, URL, append, article
from tests.conftest import NOON
from workers.ingest.documents import ParseJob, drafts_of, encoder
from workers.ingest.parse import Document


async def test_a_guid_that_was_joined_is_remembered(store: Store) -> None:
    """An article whose guid changes, and at the next poll its date, is one article throughout."""
    (first,) = await append(store, FIRST)
    moved = replace(FIRST, guid="2")
    assert [first.id] == [r.id for r in await append(store, moved)]
    dated = replace(moved, published=datetime(2026, 1, 9, tzinfo=UTC))
    assert [first.id] == [r.id for r in await append(store, dated)]
    elsewhere = replace(dated, url="http://news.example/z", title="Another headline")
    assert [first.id] == [r.id for r in await append(store, elsewhere)]


LINK = replace(FIRST, guid="", raw_published="Mon, 05 Jan 2026 10:30:00 GMT")


@pytest.mark.parametrize(
    ("changes", "is_same"),
    [
        ({"url": "http://news.example/crane-stands"}, True),
        ({"url": "http://news.example/b", "content_html": "<p>Other words.</p>"}, True),
        ({"url": "http://news.example/b", "title": "Another"}, False),
        ({"url": "http://news.example/b", "published": FIRST.published + timedelta(seconds=1)},
         False),
        ({"url": "http://news.example/b", "raw_published": "2026-01-05"}, False),
        ({"url": "http://news.example/b", "guid": "2"}, False),
    ],
)  # fmt: skip
async def test_a_corrected_slug_is_one_article(
    store: Store, changes: dict[str, object], is_same: bool
) -> None:
    """The same title at the same second, where the link is all that identifies an entry."""
    (first,) = await append(store, LINK)
    (second,) = await append(store, replace(LINK, **changes))  # type: ignore[arg-type]
    assert is_same == (first.id == second.id)
    if is_same:
        assert changes["url"] == (await article(store, second)).url


@pytest.mark.parametrize("is_dated", [True, False])
@pytest.mark.parametrize(
    "link",
    [
        "http://news.example/a?token={}", "http://news.example/a?id=7&x={}",
        "http://news.example/a;jsessionid={}", "http://news.example/a;v={}?y={}",
    ],
)  # fmt: skip
async def test_a_parameter_of_each_request_makes_no_article(
    store: Store, link: str, is_dated: bool
) -> None:
    """Nor a correction, nor one more alias in each poll."""
    dates = {} if is_dated else {"published": None, "raw_published": ""}
    ferry = replace(LINK, title="Ferry", **dates)  # type: ignore[arg-type]
    sizes, answers = [], []
    for poll in range(5):
        crane = replace(LINK, url=link.replace("{}", f"t{poll}"), **dates)  # type: ignore[arg-type]
        receipts = await append(store, replace(ferry, url=f"http://news.example/f?t={poll}"), crane)
        answers.append([(receipt.id, receipt.status) for receipt in receipts])
        sizes.append(await store.client.dbsize())
        names = [name async for name in store.client.scan_iter(match="*:alias*")]
        sizes[-1] = sum([await store.client.hlen(name) for name in names])
    ids = [article_id for article_id, _ in answers[0]]
    assert [[(i, "unchanged") for i in ids]] * 4 == answers[1:]
    assert [sizes[0]] * 5 == sizes


async def test_parameters_that_name_articles_keep_them_apart(store: Store) -> None:
    """The same words under another number are the same article only if nothing else differs."""
    page = replace(LINK, url="http://news.example/index.php?id=7")
    (first,) = await append(store, page)
    for changes in ({"title": "Crane falls"}, {"image": "http://news.example/8.jpg"}):
        other = replace(
            page, url=f"http://news.example/index.php?id={len(changes)}",
            published=FIRST.published + timedelta(days=1), **changes,
        )  # type: ignore[arg-type]  # fmt: skip
        (second,) = await append(store, other)
        assert first.id != second.id


async def test_no_entry_is_taken_for_another_one_of_its_document(store: Store) -> None:
    """Also if the two are appended in different batches, as those of a long document are."""
    (old,) = await append(store, FIRST)
    moved = replace(FIRST, url="http://news.example/archive/a")
    new = replace(FIRST, guid="2", title="Another")
    document = Document(kind="rss", url=URL, entries=(new, moved))
    encoded = encoder(document, polled_from=URL)
    drafts = drafts_of(document, ParseJob(url=URL, added_url=URL), name="")
    articles = [encoded(entry, draft) for entry, draft in drafts if isinstance(draft, Draft)]
    standing = frozenset(each.id for each in articles)
    receipts = [
        (await store.articles.append([each], now=NOON, standing=standing))[0] for each in articles
    ]
    assert (True, old.id) == (receipts[0].id != old.id, receipts[1].id)
