"""Sources: add, change, show, import and export them, for API and CLI."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from service.articles.times import from_ms, to_ms, to_rfc3339
from service.errors import InvalidInput, NotFound
from service.feeds import opml
from service.http import host_of, pasted_url
from service.sources.source import OUTLINE_FIELDS, Source, change_source, make_source
from service.storage.category_limit import CreatedCategories
from service.storage.store import Store

# Fields of a source that decide what its document becomes.
_READING_FIELDS = frozenset({"category", "mapping", "select", "rules"})


async def add(store: Store, fields: Mapping[str, object], *, now: datetime) -> tuple[Source, bool]:
    """Add a source unless its URL is known; a known one counts as typed by the operator now.

    A source is known by the URL that it was added with, and by the one that it is polled at now.

    Returns:
        (the source as it is stored now, whether it is new).
    """
    return await _add(store, fields, await _ids_by_url(store), is_typed=True, now=now)


async def _ids_by_url(store: Store) -> dict[str, str]:
    return {source.url: source.id for source in await store.sources.all()}


async def _add(
    store: Store, fields: Mapping[str, object], ids_by_url: Mapping[str, str], *, is_typed: bool,
    now: datetime,
) -> tuple[Source, bool]:  # fmt: skip
    source = make_source(fields, created=now, is_typed=is_typed)
    known_id = ids_by_url.get(source.url, source.id)
    if known_id == source.id and await store.sources.add(source, due_ms=to_ms(now)):
        return source, True
    known = await find(store, known_id)
    # Its own site is covered already; and where it was is of no use to one that has moved.
    is_covered = known.operator_url and (
        known.url != source.url or host_of(known.operator_url) == host_of(source.url)
    )
    if is_typed and not is_covered:
        known = replace(known, typed_url=source.url)
        await store.sources.replace(known, now_ms=to_ms(now))
    return known, False


async def add_all(store: Store, body: bytes, *, now: datetime) -> list[dict[str, Any]]:
    """Add the feeds of an OPML document, see `add_links`.

    Raises:
        InvalidInput: the document is not OPML.
    """
    return await add_links(store, opml.read(body), now=now)


async def add_links(
    store: Store, links: Iterable[opml.FeedLink], *, now: datetime,
    is_typed: Callable[[str], bool] = lambda _: True,
) -> list[dict[str, Any]]:  # fmt: skip
    """Add feeds as sources, each by itself; what became of each, in their order: its `status`
    (created, unchanged or rejected), `url`, and `id` or `error`.

    Args:
        is_typed: whether a URL counts as typed by the operator.
    """
    answers = []
    ids_by_url = await _ids_by_url(store)
    for link in links:
        try:
            fields = {"url": link.url, "category": link.category, **_settings(link)}
            source, added = await _add(
                store, fields, ids_by_url, is_typed=is_typed(link.url), now=now
            )
        except InvalidInput as exc:
            answers.append({"status": "rejected", "url": link.url, "error": str(exc)})
        else:
            status = "created" if added else "unchanged"
            answers.append({"status": status, "url": source.url, "id": source.id})
    return answers


def _settings(link: opml.FeedLink) -> dict[str, Any]:
    """The settings of an outline that this version knows."""
    return {name: link.settings[name] for name in OUTLINE_FIELDS if name in link.settings}


async def find(store: Store, name: str) -> Source:
    """A source by its id or its URL. Raises NotFound."""
    source = await store.sources.get(name)
    url, _ = pasted_url(name)
    if source is None and str(url).startswith(("http://", "https://")):
        by_url = (s for s in await store.sources.all() if url in (s.url, s.added_url))
        source = next(by_url, None)
    if source is None:
        raise NotFound(f"{name}: no such source; `dateline sources list` names them")
    return source


async def change(store: Store, name: str, fields: Mapping[str, object], *, now: datetime) -> Source:
    """Change some settings of a source. Raises NotFound, InvalidInput.

    After a change of what decides how its document is read, that is read again at once as a whole,
    so that the articles in it move or change.
    """
    before = await find(store, name)
    source = change_source(before, fields)
    await store.sources.replace(source, now_ms=to_ms(now))
    if any(getattr(before, field) != getattr(source, field) for field in _READING_FIELDS):
        await store.sources.start_afresh(source.id)
        await store.sources.wake(source.id, due_ms=to_ms(now))
    return source


async def refresh(store: Store, name: str, *, now: datetime) -> Source:
    """Make a source due now. Raises NotFound, or InvalidInput if it is paused."""
    source = await find(store, name)
    if source.paused:
        raise InvalidInput("source", name, "is paused; resume it")
    await store.sources.wake(source.id, due_ms=to_ms(now))
    return source


async def remove(store: Store, name: str) -> None:
    """Delete a source; its articles stay. Raises NotFound."""
    source = await find(store, name)
    await store.sources.remove(source.id)


async def to_public(store: Store, source: Source, *, now: datetime) -> dict[str, Any]:
    """A source with the state of its polls and of its hub subscription, as a JSON object."""
    poll = await store.sources.poll(source.id)
    subscription = (
        await store.our_subscriptions.get(poll.subscription) if poll.subscription else None
    )
    is_live = subscription is not None and subscription.is_live(to_ms(now))
    return {
        **_with_categories(source, await store.category_limit.of(source.id)),
        "kind": poll.kind,
        "polled": poll.polled or None,
        "result": poll.result,
        "failures": poll.failures,
        "due": to_rfc3339(from_ms(poll.due_ms)) if poll.due_ms and not source.paused else None,
        "hub": poll.hub or None,
        "hub_until": (
            to_rfc3339(from_ms(subscription.expires_ms)) if subscription and is_live else None
        ),
    }


async def with_categories(store: Store, sources: Iterable[Source]) -> list[dict[str, Any]]:
    """Sources as JSON objects, with how many categories each has created, and in `note` whether it
    may create no more."""
    created = await store.category_limit.all()
    return [_with_categories(source, created.get(source.id)) for source in sources]


def _with_categories(source: Source, created: CreatedCategories | None) -> dict[str, Any]:
    created = created or CreatedCategories()
    notes = (source.note, created.note)
    return {
        **source.to_public(),
        "note": "; ".join(note for note in notes if note),
        "categories_created": created.created,
    }


async def exported(store: Store) -> bytes:
    """All sources as OPML 2.0, in one folder for each category, without their secret headers.

    A source has the URL that it was added with: with another, its articles would be new ones.
    """
    outlines = [
        opml.FeedLink(
            url=source.added_url or source.url,
            title=source.title,
            category=source.category,
            settings=source.to_outline(),
        )
        for source in await store.sources.all()
    ]
    return opml.write(outlines, title="Sources of dateline")
