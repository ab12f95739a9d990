"""At the end: is everything that was acknowledged everywhere it should be, once and in order?

Each check returns pairs of a kind and what it concerns. What is only late is checked again by the
caller, so what remains in the end is lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

import aiohttp
import orjson

from chaos.ledger import WITHDRAWN, Ledger, Record, doubled, first_disorder
from chaos.publishers import CATEGORIES
from chaos.readers import EventReader, ids_in
from chaos.receivers import Receivers, digest_of
from chaos.recovery import STREAM
from chaos.site import Sites
from service.articles import categories

Faults = list[tuple[str, str]]
ABSENT = "(absent)"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamEvent:
    """One event as the stream has it."""

    event_id: str
    subject: str
    digest: str
    content: str
    """The title, or WITHDRAWN."""
    paths: tuple[str, ...]


async def read_stream(admin: Any) -> list[StreamEvent]:
    """All events on the stream, oldest first."""
    events: list[StreamEvent] = []
    first = "-"
    while entries := await admin.xrange(STREAM, min=first, count=1_000):
        events += [_event(fields) for _, fields in entries]
        first = f"({entries[-1][0].decode()}"
    return events


def _event(fields: dict[bytes, bytes]) -> StreamEvent:
    data = orjson.loads(fields[b"data"])
    is_withdrawn = data["status"] == "withdrawn"
    return StreamEvent(
        event_id=fields[b"id"].decode(), subject=fields[b"subject"].decode(),
        digest=digest_of(data), content=WITHDRAWN if is_withdrawn else data["title"],
        paths=tuple(data["categories"]),
    )  # fmt: skip


async def read_articles(session: aiohttp.ClientSession, url: str) -> dict[str, dict[str, Any]]:
    """Id → article, of all that are live."""
    articles: dict[str, dict[str, Any]] = {}
    following: str | None = "/api/v1/articles?limit=1000"
    while following:
        async with session.get(urljoin(url, following)) as response:
            response.raise_for_status()
            answer = await response.json()
        articles |= {article["id"]: article for article in answer["articles"]}
        following = answer["next"]
    return articles


def check_articles(
    ledger: Ledger, live: dict[str, dict[str, Any]], events: list[StreamEvent]
) -> Faults:
    """Every acknowledged article is there, as its publisher or the stream says."""
    faults: Faults = []
    by_guid = {article["guid"]: article for article in live.values()}
    newest = {event.subject: event.content for event in events}
    known = {event.event_id for event in events}
    for record in ledger.records.values():
        article = by_guid.get(record.guid)
        content = article["title"] if article else _without_article(record, newest)
        if record.acked is not None and content not in record.allowed:
            faults.append(("lost", f"{record.guid} is {content}, not {sorted(record.allowed)}"))
        elif record.acked is None and content not in record.maybe | {ABSENT, WITHDRAWN}:
            faults.append(("changed", f"{record.guid} is {content}, never sent"))
        if record.article_id and content != newest.get(record.article_id, ABSENT):
            text = f"{record.guid} is {content}, on the stream {newest.get(record.article_id)}"
            faults.append(("the stream and the article differ", text))
    faults += [
        ("an event is lost", f"{ack.guid} {event_id}")
        for event_id, ack in ledger.acks.items()
        if event_id not in known
    ]
    faults += [("doubled", f"event {name}") for name in doubled(e.event_id for e in events)]
    return faults


def _without_article(record: Record, newest: dict[str, str]) -> str:
    """WITHDRAWN or ABSENT."""
    return WITHDRAWN if newest.get(record.article_id) == WITHDRAWN else ABSENT


async def check_feeds(
    session: aiohttp.ClientSession, url: str, live: dict[str, dict[str, Any]], ledger: Ledger
) -> Faults:
    """The feed of this year, of everything and of each category, has each live article once."""
    year = datetime.now(UTC).year
    faults: Faults = []
    for path in ["all", *(categories.parse(name).path for name in CATEGORIES)]:
        ids = await _ids_of_year(session, f"{url}/feeds/{path}/{year}.json", ledger)
        wanted = {
            article_id
            for article_id, article in live.items()
            if path == "all" or any(_is_within(each, path) for each in article["categories"])
        }
        faults += [("doubled", f"{path}: {name}") for name in doubled(ids)]
        faults += [("lost", f"{name} is not in the feed {path}") for name in wanted - set(ids)]
        faults += [("not live", f"{name} is in the feed {path}") for name in set(ids) - wanted]
    return faults


async def _ids_of_year(session: aiohttp.ClientSession, url: str, ledger: Ledger) -> list[str]:
    ids: list[str] = []
    following: str | None = url
    while following:
        # Links name BASE_URL, where nothing is served.
        path = urlsplit(following)._replace(scheme="", netloc="").geturl()
        async with session.get(urljoin(url, path)) as response:
            if response.status != 200:
                # A category that never had an article is not there.
                break
            body = await response.read()
        ids += ids_in(".json", body, ledger)
        following = orjson.loads(body).get("next_url")
    return ids


def _is_within(path: str, category: str) -> bool:
    return path == category or path.startswith(f"{category}/")


def check_webhooks(receivers: Receivers, events: list[StreamEvent], *, has_cut: bool) -> Faults:
    """Each receiver got what it wants, in the order of the stream, and nothing else."""
    faults: Faults = []
    for receiver in receivers.webhooks.values():
        wanted = [event.event_id for event in events if receiver.wants(list(event.paths))]
        name = f"webhook {receiver.name}"
        faults += _compare(name, list(receiver.order), wanted, has_cut=has_cut)
        faults += _contents(name, receiver.digests, events)
    return faults


def check_event_reader(reader: EventReader, events: list[StreamEvent], *, has_cut: bool) -> Faults:
    """The reader of `/events` got all events since its first one, once and in order."""
    names = [event.event_id for event in events]
    first = next(iter(reader.order), "")
    wanted = names[names.index(first) :] if first in names else names
    faults = _compare("/events", list(reader.order), wanted, has_cut=has_cut)
    faults += _contents("/events", reader.digests, events)
    return faults + [("doubled", f"/events: {name}") for name in reader.again]


def _compare(name: str, seen: list[str], wanted: list[str], *, has_cut: bool) -> Faults:
    known = set(wanted)
    surplus = [] if has_cut else [each for each in seen if each not in known]
    faults = [("an event that is not on the stream", f"{name}: {each}") for each in surplus]
    shortfall = known - set(seen)
    faults += [("lost", f"{name}: {each}") for each in sorted(shortfall)]
    disorder = first_disorder(
        [each for each in seen if each in known],
        [each for each in wanted if each not in shortfall],
    )
    return [*faults, ("disordered", f"{name}: {disorder}")] if disorder else faults


def _contents(name: str, digests: dict[str, str], events: list[StreamEvent]) -> Faults:
    return [
        ("an event id names two contents", f"{name} {event.event_id}")
        for event in events
        if digests.get(event.event_id, event.digest) != event.digest
    ]


def check_sites(sites: Sites, live: dict[str, dict[str, Any]]) -> Faults:
    """Everything that a site showed is there, once."""
    titles = [article["title"] for article in live.values() if article["title"].startswith("s")]
    faults = [("lost", f"{title} of a site") for title in sites.shown.keys() - set(titles)]
    return faults + [("doubled", f"{title} of a site") for title in doubled(titles)]


async def check_pushes(
    session: aiohttp.ClientSession, url: str, receivers: Receivers, topics: Iterable[str]
) -> Faults:
    """The last push of each topic is the feed as it is now."""
    faults: Faults = []
    for topic in topics:
        async with session.get(f"{url}/feeds/{topic}.json") as response:
            items = orjson.loads(await response.read()).get("items", [])
        if [item["id"] for item in items] != receivers.pushed.get(topic):
            faults.append(("lost", f"a push of {topic}"))
    return faults


async def check_health(session: aiohttp.ClientSession, url: str) -> Faults:
    """Servers are ready, and no event is dead."""
    async with session.get(f"{url}/readyz") as response:
        answer = await response.json()
    if response.status != 200:
        return [("not ready", str(answer))]
    return [("dead events", str(answer))] if answer["dead_events"] else []
