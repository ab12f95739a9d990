"""Sources: add, change, show, import and export them, for API and CLI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from service.articles.times import from_ms, to_ms, to_rfc3339
from service.errors import InvalidInput, NotFound
from service.feeds import opml
from service.http import checked_url, host_of, pasted_url
from service.sources.schedule import Poll
from service.sources.source import (
    FIELDS,
    OMITTED,
    Source,
    change_source,
    make_source,
    source_id_of,
)
from service.storage.category_limit import CreatedCategories
from service.storage.key_reader import chunks
from service.storage.store import Store

# Fields of a source that decide what its document becomes.
_READING_FIELDS = frozenset({"categories", "mapping", "select", "rules", "summary_only"})
# How the note of a source begins that was imported without its secret settings.
_LACKS = "was exported without what is secret: set its "
_TITLE = "Sources of dateline"
# Feeds of a list that are checked and stored between two turns of the event loop.
AT_ONCE = 100


async def add(store: Store, fields: Mapping[str, object], *, now: datetime) -> tuple[Source, bool]:
    """Add a source unless its URL is known; a known one counts as typed by the operator now.

    A source is known by the URL that it was added with, and by the one that it is polled at now.

    Returns:
        (the source as it is stored now, whether it is new).
    """
    source = make_source(fields, created=now)
    (result,) = await _add_all(store, [source], now=now)
    return result


async def _add_all(
    store: Store, sources: Sequence[Source], *, now: datetime
) -> list[tuple[Source, bool]]:
    """Add those that are new; for each the source as it is stored now, and whether it is new. The
    cost depends on their number, and not on that of all sources."""
    known = await store.sources.known(sources)
    new = {s.id: s for s in sources if s.url not in known and s.id not in known}
    added = await store.sources.add_all(list(new.values()), due_ms=to_ms(now))
    is_new = dict(zip(new, added, strict=True))
    results = []
    for source in sources:
        if is_new.pop(source.id, False):
            known |= {source.url: source, source.id: source}
            results.append((source, True))
        else:
            before = known.get(source.url) or known.get(source.id) or await find(store, source.id)
            results.append((await _typed_again(store, before, source, now=now), False))
    return results


async def _typed_again(store: Store, known: Source, named: Source, *, now: datetime) -> Source:
    """The known source, which counts as typed by the operator if the one named now is."""
    # Its own site is covered already; and where it was is of no use to one that has moved.
    is_covered = known.operator_url and (
        known.url != named.url or host_of(known.operator_url) == host_of(named.url)
    )
    if not named.operator_url or is_covered:
        return known
    known = replace(known, typed_url=named.url)
    await store.sources.replace(known, now_ms=to_ms(now))
    return known


async def add_all(store: Store, body: bytes, *, now: datetime) -> list[dict[str, Any]]:
    """Add the feeds of an OPML document, see `add_links`.

    Raises:
        InvalidInput: the document is not OPML.
    """
    return await add_links(store, await asyncio.to_thread(opml.read, body), now=now)


async def add_links(
    store: Store, links: Iterable[opml.FeedLink], *, now: datetime,
    is_typed: Callable[[str], bool] = lambda _: True, with_settings: bool = True,
    progress: Callable[[float], None] = lambda _: None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Add feeds as sources, each by itself; what became of each, in their order: its `status`
    (created, unchanged or rejected), `url`, and `id` or `error`.

    A feed that is listed several times is one source in all of its folders. Feeds are stored many
    at a time, and the event loop has its turn in between, however long the list is.

    Args:
        is_typed: whether a URL counts as typed by the operator.
        with_settings: whether the settings that the list states are taken: they may send requests
            through somebody's proxy.
        progress: is called with the share of the list that was done since its last call.
    """
    answers: list[dict[str, Any]] = []
    feeds = await asyncio.to_thread(_merged, links, with_settings=with_settings)
    for batch in chunks(feeds, AT_ONCE):
        sources = [_made(fields, is_typed=is_typed, now=now) for fields in batch]
        results = iter(
            await _add_all(store, [s for s in sources if isinstance(s, Source)], now=now)
        )
        for fields, source in zip(batch, sources, strict=True):
            if isinstance(source, InvalidInput):
                answers.append({"status": "rejected", "url": fields["url"], "error": str(source)})
                continue
            stored, is_new = next(results)
            status = "created" if is_new else "unchanged"
            answers.append({"status": status, "url": stored.url, "id": stored.id})
        progress(len(batch) / len(feeds))
        # Where all of them are known, nothing else waits.
        await asyncio.sleep(0)
    return answers


def _merged(links: Iterable[opml.FeedLink], *, with_settings: bool) -> list[dict[str, Any]]:
    """The fields of a source for each feed of a list, with the folders of all of its outlines."""
    merged: dict[str, dict[str, Any]] = {}
    for link in links:
        # The same feed as `feed:` and as `http:`, or with a fragment, is one source.
        url = str(pasted_url(link.url)[0]).partition("#")[0]
        fields = merged.setdefault(url, {"url": link.url, "categories": []})
        if with_settings:
            places = {name: fields[name] for name in ("url", "categories")}
            fields.update({**link.settings, **places})
        fields["categories"] += [link.category] if link.category else []
    return list(merged.values())


def _made(
    fields: Mapping[str, Any], *, is_typed: Callable[[str], bool], now: datetime
) -> Source | InvalidInput:
    """The source of a list; its note says which settings of the list it lacks."""
    omitted = fields.get(OMITTED)
    notes = []
    if omitted:
        names = ", ".join(map(str, omitted)) if isinstance(omitted, list) else str(omitted)
        notes.append(f"{_LACKS}{names}")
    unknown = sorted(fields.keys() - {*FIELDS, OMITTED})
    if unknown:
        notes.append(f"this version does not know its {', '.join(unknown)}")
    known = {name: value for name, value in fields.items() if name in FIELDS}
    try:
        source = make_source(known, created=now, is_typed=is_typed(fields["url"]))
    except InvalidInput as exc:
        return exc
    return replace(source, note="; ".join(notes)[:200]) if notes else source


async def find(store: Store, name: str) -> Source:
    """A source by its id or its URL. Raises NotFound."""
    source = await store.sources.get(name)
    url, _ = pasted_url(name)
    if source is None and str(url).startswith(("http://", "https://")):
        with suppress(InvalidInput):
            url = checked_url(url)
            named = Source(id=source_id_of(url), url=url)
            known = await store.sources.known([named])
            source = known.get(url) or known.get(named.id)
    if source is None:
        raise NotFound(f"{name}: no such source; `dateline sources list` names them")
    return source


async def change(store: Store, name: str, fields: Mapping[str, object], *, now: datetime) -> Source:
    """Change some settings of a source. Raises NotFound, InvalidInput.

    After a change of what decides how its document is read, that is read again at once as a whole,
    so that the articles in it move or change.
    """
    before = await find(store, name)
    source = _with_secrets_noted(change_source(before, fields), fields)
    await store.sources.replace(source, now_ms=to_ms(now))
    if any(getattr(before, field) != getattr(source, field) for field in _READING_FIELDS):
        is_another_kind = before.select != source.select
        await store.sources.start_afresh(source.id, is_another_kind=is_another_kind)
        await store.sources.wake(source.id, due_ms=to_ms(now))
    if source.history and source.history != before.history:
        await store.sources.start_afresh(source.id, with_history=True)
        await store.sources.wake(source.id, due_ms=to_ms(now))
    if before.paused and not source.paused:
        await store.sources.wake(source.id, due_ms=to_ms(now))
    return source


def _with_secrets_noted(source: Source, fields: Mapping[str, object]) -> Source:
    """The source with a note of those secret settings alone that it still lacks."""
    lacks, separator, rest = source.note.partition("; ")
    if not lacks.startswith(_LACKS):
        return source
    named = {*fields, "headers"} if "auth" in fields else {*fields}
    missing = [name for name in lacks.removeprefix(_LACKS).split(", ") if name not in named]
    note = f"{_LACKS}{', '.join(missing)}{separator}{rest}" if missing else rest
    return replace(source, note=note)


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
        "history_state": _history_of(poll),
        "full_text_result": poll.full_text,
        "hub": poll.hub or None,
        "hub_until": (
            to_rfc3339(from_ms(subscription.expires_ms)) if subscription and is_live else None
        ),
    }


def _history_of(poll: Poll) -> dict[str, Any] | None:
    history = poll.history
    if history is None:
        return None
    return {
        "state": history.state,
        "documents": history.documents,
        "articles": history.articles,
        "next": history.url or None,
        "note": history.note,
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


async def exported_parts(store: Store, *, with_secrets: bool = False) -> AsyncIterator[bytes]:
    """All sources as OPML 2.0 in parts, each in the folders of its categories, with its settings. A
    folder is named once in each part.

    A source has the URL that it was added with: with another, its articles would be new ones.
    """
    # Nothing is yielded before Redis has answered: a response that has begun cannot say that
    # it fails.
    before, empty, end = opml.write_in_parts((), title=_TITLE)
    async for part in store.sources.in_parts():
        outlines = [
            opml.FeedLink(
                url=source.added_url or source.url,
                title=source.title,
                category=category,
                settings=source.to_exported(with_secrets=with_secrets),
            )
            for source in part
            for category in source.categories or ("",)
        ]
        yield before + opml.write_in_parts(outlines, title=_TITLE)[1]
        before = empty = b""
    yield before + empty + end


async def exported(store: Store, *, with_secrets: bool = False) -> bytes:
    """The parts of `exported_parts` as one document."""
    return b"".join([part async for part in exported_parts(store, with_secrets=with_secrets)])
