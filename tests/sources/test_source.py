"""Sources: what may be asked for, where their articles go, and which worker polls them when."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import UTC, datetime

import orjson
import pytest

from service import http
from service.articles.category_mapping import placed
from service.articles.times import to_ms
from service.errors import InvalidInput, NotFound
from service.manage import sources
from service.sources.schedule import Poll
from service.sources.source import make_source
from service.storage import keys
from service.storage.claims import Claim, Claimant, Finished
from service.storage.store import Store
from tests.conftest import NOON, Clock

NOW_MS = to_ms(NOON)
WHEN = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "url"),
        ({"url": "ftp://x.example/"}, "url"),
        ({"url": "http://"}, "url"),
        ({"url": "http://[x/"}, "url"),
        ({"url": "http://x.example:99999/"}, "url"),
        ({"url": "ftp://a:secret@x.example/"}, "url"),
        ({"url": "mailto:a@x.example"}, "url"),
        ({"url": "x"}, "url"),
        ({"url": "http://x.example/a b"}, "url"),
        ({"url": "http://x.example/" + "a" * 2_000}, "url"),
        ({"url": "http://x.example/", "titel": 1}, "titel"),
        ({"url": "http://x.example/", "category": 7}, "category"),
        ({"url": "http://x.example/", "category": "…"}, "category"),
        ({"url": "http://x.example/", "categories": "A"}, "categories"),
        ({"url": "http://x.example/", "categories": [1]}, "category"),
        ({"url": "http://x.example/", "categories": ["…"]}, "category"),
        ({"url": "http://x.example/", "categories": [f"c{n}" for n in range(51)]}, "categories"),
        ({"url": "http://x.example/", "categories": [], "category": "A"}, "categories"),
        ({"url": "http://x.example/", "mapping": []}, "mapping"),
        ({"url": "http://x.example/", "mapping": {"a": 1}}, "mapping"),
        ({"url": "http://x.example/", "interval_s": -1}, "interval_s"),
        ({"url": "http://x.example/", "interval_s": True}, "interval_s"),
        ({"url": "http://x.example/", "headers": {"If-None-Match": "x"}}, "headers"),
        ({"url": "http://x.example/", "headers": {"X": "a\r\nHost: b"}}, "headers"),
        ({"url": "http://x.example/", "headers": {"a b": "c"}}, "headers"),
        ({"url": "http://x.example/", "auth": "nobody"}, "auth"),
        ({"url": "http://x.example/", "paused": 1}, "paused"),
    ],
)
def test_what_is_refused(fields: dict[str, object], field: str) -> None:
    """With the field's name, and no secret in the message."""
    with pytest.raises(InvalidInput) as caught:
        make_source(fields, created=WHEN)
    assert field == caught.value.field
    assert "secret" not in str(caught.value)


def test_secrets_are_never_shown() -> None:
    """Only the names of headers are."""
    source = make_source(
        {"url": "http://x.example/f", "auth": "me:secret", "headers": {"X-Key": "secret"}},
        created=WHEN,
    )
    assert {"Authorization": "Basic bWU6c2VjcmV0", "X-Key": "secret"} == source.headers
    assert ["Authorization", "X-Key"] == source.to_public()["headers"]
    assert b"secret" not in orjson.dumps(source.to_public())


@pytest.mark.parametrize(
    ("pasted", "url", "auth"),
    [
        (" http://x.example/f \n", "http://x.example/f", ""),
        ("<https://x.example/f>", "https://x.example/f", ""),
        ("feed://x.example/f", "http://x.example/f", ""),
        ("feed:https://x.example/f", "https://x.example/f", ""),
        ("FEED:x.example/f", "http://x.example/f", ""),
        ("itpc://x.example/f", "http://x.example/f", ""),
        ("x.example/f?a=b@c", "http://x.example/f?a=b@c", ""),
        ("//x.example/f", "http://x.example/f", ""),
        ("localhost:8080/f", "http://localhost:8080/f", ""),
        ("rss:8080/f", "http://rss:8080/f", ""),
        ("[::1]:8080/f", "http://[::1]:8080/f", ""),
        ("https://me:s%40cret@x.example/f", "https://x.example/f", "me:s@cret"),
        ("https://me@x.example/f", "https://x.example/f", "me:"),
    ],
)
def test_addresses_as_people_paste_them(pasted: str, url: str, auth: str) -> None:
    """Without a scheme, with a reader's scheme, with spaces around them, with a password."""
    source = make_source({"url": pasted}, created=WHEN)
    plain = make_source({"url": url, **({"auth": auth} if auth else {})}, created=WHEN)
    assert plain == source
    given = make_source({"url": pasted, "auth": "other:word"}, created=WHEN)
    assert "Basic b3RoZXI6d29yZA==" == given.headers["Authorization"]


async def test_a_source_is_found_by_a_pasted_address(store: Store) -> None:
    """As it is added by one."""
    source, _ = await sources.add(store, {"url": "feed://x.example/f"}, now=NOON)
    assert source == await sources.find(store, " feed:http://x.example/f")


def test_a_source_that_moves_keeps_its_id_and_no_secrets() -> None:
    """They belong to the host that they were given for."""
    source = make_source({"url": "http://x.example/f", "auth": "me:secret"}, created=WHEN)
    same, other = source.moved("http://x.example/g", ""), source.moved("http://y.example/f", "")
    assert (source.id, source.url) == (other.id, other.added_url)
    assert (source.headers, {}) == (same.headers, other.headers)


@pytest.mark.parametrize(
    ("url", "host"),
    [("http://X.example/a", "x.example"), ("https://x.example:443/", "x.example"),
     ("http://x.example:8080/", "x.example:8080"), ("http://[::1]:80/", "[::1]")],
)  # fmt: skip
def test_hosts(url: str, host: str) -> None:
    """Default ports are one host with none."""
    assert host == http.host_of(url)


@pytest.mark.parametrize(
    ("names", "category", "mapping", "expected"),
    [
        (("A", "B"), "", {}, ("A", "B")),
        (("A", "B"), "News", {}, ("News",)),
        (("A", "B"), "News,Port", {}, ("News", "Port")),
        (("B",), "News,Port", {"A": "One"}, ("News", "Port")),
        ((), "News", {}, ("News",)),
        (("Port news", "B"), "", {"port*": "Harbour"}, ("Harbour", "B")),
        (("Port news", "B"), "News", {"Port*": "Harbour"}, ("Harbour",)),
        (("B",), "News", {"Port*": "Harbour"}, ("News",)),
        (("Ads", "B"), "", {"ADS": ""}, ("B",)),
        (("Ads",), "News", {"ads": ""}, ("News",)),
        (("A", "B"), "", {"?": "One"}, ("One",)),
        (("A [x]", "Ax"), "", {"A [x]": "One"}, ("One", "Ax")),
        (("  Port   news ",), "", {"port news": "First", "port*": "Second"}, ("First",)),
    ],
)
def test_mapping(
    names: tuple[str, ...], category: str, mapping: dict[str, str], expected: tuple[str, ...]
) -> None:
    """Rules in their order; the category alone replaces all, with rules it is the default."""
    categories = tuple(filter(None, category.split(",")))
    assert expected == placed(names, categories=categories, mapping=mapping)


async def add(store: Store, url: str, *, due_ms: int = NOW_MS) -> str:
    """Add a source; its id."""
    source = make_source({"url": url}, created=NOON)
    await store.sources.add(source, due_ms=due_ms)
    return source.id


async def claim(
    store: Store, now_ms: int = NOW_MS, *, limit: int = 99, claimant: Claimant | None = None
) -> list[Claim]:
    """The claims that a worker gets: another one each time, unless it is named."""
    claims, _ = await store.claims.claim(
        claimant=claimant or Claimant(ordinal=0, token=uuid.uuid4().hex),
        now_ms=now_ms, limit=limit, lapse_ms=now_ms + 60_000, spacing_ms=1_000,
    )  # fmt: skip
    return claims


async def finish(store: Store, claim: Claim, *, now_ms: int = NOW_MS, **given: object) -> None:
    """A poll's end; due in an hour."""
    result = {"poll": Poll(etag="e"), "due_ms": now_ms + 3_600_000, **given}
    await store.claims.finish([Finished(claim=claim, **result)], now_ms=now_ms)  # type: ignore[arg-type]


async def test_a_claim_goes_to_one_worker_and_lapses(store: Store) -> None:
    """Two workers never poll one source at once; after a kill -9 it is due again."""
    source_id = await add(store, "http://x.example/")
    assert [source_id] == [c.source.id for c in await claim(store)]
    assert [] == await claim(store)
    assert [] == await claim(store, NOW_MS + 59_000)
    assert [source_id] == [c.source.id for c in await claim(store, NOW_MS + 60_000)]


async def test_no_poll_is_stored_that_began_in_another_run_of_the_server(store: Store) -> None:
    """The server may have lost what the poll appended; what the poll knew of its document would
    keep it from being appended again. The claim ends all the same."""
    source_id = await add(store, "http://x.example/")
    (first,) = await claim(store)
    await finish(store, first)
    (second,) = await claim(store, NOW_MS + 3_600_000)
    assert first.server_run == second.server_run != b""
    earlier = replace(second, server_run=b"0123456789abcdef")
    later_ms = NOW_MS + 3_600_000
    await finish(store, earlier, now_ms=later_ms, poll=Poll(etag="f"))
    assert "e" == (await store.sources.poll(source_id)).etag
    assert [source_id] == [c.source.id for c in await claim(store, later_ms + 3_600_000)]


async def test_a_call_that_is_sent_again_returns_its_claims_again(store: Store) -> None:
    """Its reply may have been lost. Other workers, and later calls of the same one, get others."""
    one, other = (Claimant(ordinal=0, token=token) for token in "ab")
    first = await add(store, "http://x.example/")
    assert [first] == [c.source.id for c in await claim(store, claimant=one)]
    second = await add(store, "http://y.example/")
    third = await add(store, "http://z.example/")
    assert [second] == [c.source.id for c in await claim(store, claimant=other, limit=1)]
    both = await claim(store, claimant=one)
    assert [first, third] == [c.source.id for c in both]
    assert [] == await claim(store, NOW_MS + 1, claimant=one)
    for each in both:
        await finish(store, each)
    assert [] == await claim(store, claimant=one)
    assert [second.encode()] == await store.client.hkeys(keys.sources_claims(0))


async def test_the_next_process_takes_over_what_a_killed_one_had_claimed(store: Store) -> None:
    """That of the same number alone, and only what was not finished; its host is free at once."""
    url = "http://x.example/{}"
    killed, other = Claimant(ordinal=1, token="a"), Claimant(ordinal=11, token="b")
    done, pending = await add(store, url.format(1)), await add(store, url.format(2))
    (first,) = await claim(store, claimant=killed)
    (second,) = await claim(store, NOW_MS + 1_000, claimant=killed)
    assert {done, pending} == {first.source.id, second.source.id}
    await finish(store, first)
    elsewhere = await add(store, "http://y.example/")
    assert [elsewhere] == [c.source.id for c in await claim(store, claimant=other)]
    assert 1 == await store.claims.release(1, now_ms=NOW_MS + 3_000)
    assert 0 == await store.claims.release(1, now_ms=NOW_MS + 3_000)
    claims = await claim(store, NOW_MS + 3_000)
    assert [second.source.id] == [c.source.id for c in claims]
    # The killed one was only stopped: what it finishes now changes no due time.
    await finish(store, second, now_ms=NOW_MS + 3_000)
    assert NOW_MS + 63_000 == await store.client.zscore(keys.sources_due(0), second.source.id)


async def test_a_poll_that_is_finished_is_due_when_it_says(store: Store) -> None:
    """And carries what it left."""
    await add(store, "http://x.example/")
    (held,) = await claim(store)
    await finish(store, held)
    assert [] == await claim(store, NOW_MS + 3_599_000)
    (again,) = await claim(store, NOW_MS + 3_600_000)
    assert "e" == again.poll.etag


async def test_a_host_is_asked_twice_at_once_and_spaced(store: Store) -> None:
    """That holds for all workers, and for any number of its sources that are due; other hosts do
    not wait."""
    for number in range(6):
        await add(store, f"http://x.example/{number}")
    other = await add(store, "http://y.example/")
    first = await claim(store)
    assert 2 == len(first)
    assert {"x.example", "y.example"} == {c.source.host for c in first}
    (second,) = await claim(store, NOW_MS + 1_000)
    assert [] == await claim(store, NOW_MS + 30_000)
    (mine,) = [c for c in first if c.source.id != other]
    await finish(store, mine, now_ms=NOW_MS + 30_000)
    assert 1 == len(await claim(store, NOW_MS + 40_000))
    await finish(store, second, now_ms=NOW_MS + 40_000)
    assert 1 == len(await claim(store, NOW_MS + 50_000))


async def test_many_sources_of_one_host_get_their_turns(store: Store) -> None:
    """Each is polled once, a second apart; looking for work costs no more for those that wait."""
    for number in range(40):
        await add(store, f"http://x.example/{number}")
    seen = []
    for second in range(80):
        now_ms = NOW_MS + second * 1_000
        for held in await claim(store, now_ms, limit=5):
            seen.append((held.source.id, second))
            await finish(store, held, now_ms=now_ms)
    assert 40 == len({source_id for source_id, _ in seen}) == len(seen)
    assert len(seen) == len({second for _, second in seen})


async def test_a_spared_host_is_left_alone(store: Store) -> None:
    """After a 429, all of its sources wait."""
    await add(store, "http://x.example/1")
    await add(store, "http://x.example/2", due_ms=NOW_MS + 5_000)
    await add(store, "http://y.example/", due_ms=NOW_MS + 5_000)
    (held,) = await claim(store)
    await finish(store, held, spare_ms=NOW_MS + 100_000)
    assert ["y.example"] == [c.source.host for c in await claim(store, NOW_MS + 99_000)]
    assert ["x.example"] == [c.source.host for c in await claim(store, NOW_MS + 100_000)]


async def test_a_category_that_changes_during_a_poll_is_not_lost(store: Store) -> None:
    """The document must be read again under it: the poll was of the former category, and leaves no
    validators. One that changes the source itself is stored, however often it is sent."""
    source_id = await add(store, "http://x.example/")
    (held,) = await claim(store)
    await sources.change(store, source_id, {"category": "News"}, now=NOON)
    await finish(store, held, source=replace(held.source, title="T"))
    assert "" == (await store.sources.poll(source_id)).etag
    (again,) = await claim(store, NOW_MS + 5_000)
    assert ("News",) == again.source.categories
    for _ in range(2):
        await finish(store, again, due_ms=NOW_MS + 6_000, source=replace(again.source, title="T"))
    (third,) = await claim(store, NOW_MS + 6_000)
    assert ("T", "e") == (third.source.title, third.poll.etag)


async def test_what_happened_meanwhile_wins(store: Store) -> None:
    """A removed or paused source does not come back, a refresh is not forgotten, and a worker whose
    claim lapsed does not undo the next one's."""
    ids = [await add(store, f"http://{name}.example/") for name in "abcd"]
    held = {c.source.id: c for c in await claim(store)}
    removed, paused, woken, lapsed = (held[source_id] for source_id in ids)
    await store.sources.remove(removed.source.id)
    await store.sources.replace(replace(paused.source, paused=True), now_ms=NOW_MS)
    await store.sources.wake(woken.source.id, due_ms=NOW_MS + 2_000)
    await claim(store, NOW_MS + 60_000, limit=9)
    for old in (removed, paused, woken, lapsed):
        await finish(store, old, due_ms=NOW_MS + 500_000)
    assert None is await store.sources.get(removed.source.id)
    assert Poll() == await store.sources.poll(lapsed.source.id)
    again = [c.source.id for c in await claim(store, NOW_MS + 130_000)]
    assert {woken.source.id, lapsed.source.id} == set(again)


async def test_a_source_that_changed_during_its_poll_keeps_the_change(store: Store) -> None:
    """What the poller found out about it is dropped then."""
    await add(store, "http://x.example/")
    (held,) = await claim(store)
    changed = replace(held.source, categories=("Mine",))
    await store.sources.replace(changed, now_ms=NOW_MS)
    await finish(store, held, source=replace(held.source, title="T"))
    assert changed == await store.sources.get(held.source.id)


async def test_nothing_is_polled_by_waking_a_paused_source(store: Store) -> None:
    """Hubs and operators cannot revive it by accident."""
    source = make_source({"url": "http://x.example/", "paused": True}, created=NOON)
    await store.sources.add(source, due_ms=NOW_MS)
    await store.sources.wake(source.id, due_ms=NOW_MS)
    assert [] == await claim(store)
    with pytest.raises(InvalidInput, match="paused"):
        await sources.refresh(store, source.id, now=NOON)
    await sources.change(store, source.id, {"paused": False}, now=NOON)
    assert 1 == len(await claim(store))


async def test_another_category_takes_everything_in_again(store: Store, clock: Clock) -> None:
    """The articles that there are belong elsewhere now, and a 304 would not bring them."""
    source_id = await add(store, "http://x.example/")
    (held,) = await claim(store)
    await finish(store, held, poll=Poll(etag="e", last_modified="l", body_hash="b", kind="rss"))
    await sources.change(store, "http://x.example/", {"category": "News"}, now=clock())
    (again,) = await claim(store, NOW_MS + 1_000)
    assert Poll(kind="rss") == again.poll
    assert ("News",) == again.source.categories
    with pytest.raises(NotFound, match="no such source"):
        await sources.change(store, source_id + "x", {}, now=clock())


async def test_opml_goes_out_and_comes_back(store: Store) -> None:
    """URL, title and category survive; each wrong outline is reported; headers are not exported."""
    for fields in (
        {"url": "http://a.example/f?x=1&y=2", "category": "News/Boats & Ships"},
        {"url": "http://c.example/f", "categories": ["News", "Town/Port"]},
        {"url": "http://b.example/f", "auth": "me:secret"},
    ):
        await sources.add(store, fields, now=NOON)
    document = await sources.exported(store)
    assert b"secret" not in document
    before = [(s.url, s.categories) for s in await store.sources.all()]
    for source in await store.sources.all():
        await store.sources.remove(source.id)
    answers = await sources.add_all(store, document, now=NOON)
    assert ["created"] * 3 == [answer["status"] for answer in answers]
    assert set(before) == {(s.url, s.categories) for s in await store.sources.all()}
    wrong = document.replace(b"http://a", b"ftp://a")
    answers = await sources.add_all(store, wrong, now=NOON)
    assert ["rejected", "unchanged", "unchanged"] == sorted(a["status"] for a in answers)
    for body in (b"no xml", b"<rss/>"):
        with pytest.raises(InvalidInput, match="OPML"):
            await sources.add_all(store, body, now=NOON)
