"""Any Unicode in any field of any way in: every output is read by strict parsers, and has the other
articles in it.

`make test` sends the texts of ODD_TEXTS in every field, and what hypothesis makes of a fixed seed;
ODD_EXAMPLES is how many more it makes, at random (`make fuzz`).
"""

from __future__ import annotations

import os
from datetime import UTC, datetime

import hypothesis
import pytest
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import strategies as st

from service.settings import Settings
from service.storage.store import Store
from service.web.app import create_app
from tests.conftest import TOKEN
from tests.deliver.working import subscribe
from tests.loops import at_work
from tests.odd_archive import (
    Archive,
    Client,
    check_deliveries,
    check_events,
    check_export,
    private_path,
    view_path,
)
from tests.odd_documents import FIELDS, ODD_TEXTS, WRITINGS
from tests.receiver import FakeReceiver
from workers.aggregate.aggregator import Aggregator

EXAMPLES = int(os.environ.get("ODD_EXAMPLES", "15"))
# Fields for which a push is refused if they are odd: it names them to its publisher.
REFUSED = frozenset({"url", "image", "enclosure", "category", "published", "updated"})
_TEXTS = st.sampled_from(ODD_TEXTS) | st.lists(
    st.sampled_from(ODD_TEXTS) | st.text(st.characters(exclude_categories=()), max_size=5),
    max_size=4,
).map("".join)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Pages as long as they may be, so that one shows all articles of a test."""
    return settings.model_copy(update={"page_size": 1_000})


def odd_articles(form: str) -> list[dict[str, str]]:
    """One article for each of ODD_TEXTS, odd in all fields, so that each text is in each field."""
    fields = [name for name in FIELDS[form] if not (name in REFUSED and form in ("push", "ndjson"))]
    return [
        {name: ODD_TEXTS[(k + 7 * i) % len(ODD_TEXTS)] for i, name in enumerate(fields)}
        for k in range(len(ODD_TEXTS))
    ]


@pytest.mark.timeout(60)
async def test_odd_texts_in_every_field_harm_no_output(
    client: Client, store: Store, settings: Settings, aggregating: None, receiver: FakeReceiver
) -> None:
    """Each of ODD_TEXTS in each field of each form; all that was accepted is in all outputs."""
    await subscribe(store, receiver, batch=100)
    archive = Archive(client, store)
    await archive.take_ordinary()
    view, private = await view_path(client, store), await private_path(client)
    for number, form in enumerate(FIELDS):
        articles = odd_articles(form)
        # A page has one article, and takes long to read.
        chunks = [[article] for article in articles[::4]] if form == "html" else [articles]
        for at, chunk in enumerate(chunks):
            before = len(archive.taken)
            await archive.take(form, chunk, WRITINGS[(at + number) % len(WRITINGS)])
            assert before < len(archive.taken) or form == "html", form
    await archive.take_ordinary()
    await archive.check(view, private)
    assert archive.taken == await check_events(client, store)
    await check_export(settings, archive.taken)
    await check_deliveries(store, settings, receiver)


@pytest.mark.timeout(60 + EXAMPLES)
@hypothesis.settings(
    max_examples=EXAMPLES,
    phases=[hypothesis.Phase.generate],
    derandomize="ODD_EXAMPLES" not in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
@hypothesis.given(data=st.data())
async def test_whatever_is_sent_harms_no_output(
    store: Store, settings: Settings, data: st.DataObject
) -> None:
    """Articles that are odd in one to three fields, between two that are ordinary."""
    form = data.draw(st.sampled_from(sorted(FIELDS)), label="form")
    odd = st.dictionaries(st.sampled_from(sorted(FIELDS[form])), _TEXTS, min_size=1, max_size=3)
    count = 1 if form == "html" else 4
    articles = data.draw(st.lists(odd, min_size=1, max_size=count), label="articles")
    written = data.draw(st.sampled_from(WRITINGS), label="written")
    # Everything anew for each example: what was rendered before must not hide a fault.
    await store.client.flushdb()
    app = create_app(settings, token=TOKEN, now=lambda: datetime.now(UTC))
    async with (
        at_work(Aggregator(store, settings, now=lambda: datetime.now(UTC)).run),
        TestClient(TestServer(app), headers={"Accept-Encoding": "identity"}) as client,
    ):
        archive = Archive(client, store)
        await archive.take_ordinary()
        await archive.take(form, articles, written)
        await archive.take_ordinary()
        await archive.check(await private_path(client))
        assert archive.taken == await check_events(client, store)
