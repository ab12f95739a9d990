"""Commands of `python -m workers`: the roots of all worker processes and of one-off work.

Started by `dateline work`, `dateline up` and `dateline import`, which pass their arguments on.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

import click
import uvloop

from service import logs
from service.cli.output import say, say_json
from service.cli.progress import progress_of
from service.errors import DatelineError, FetchFailed, InvalidSettings, ParseFailed, Unavailable
from service.settings import Settings, load
from service.storage.client import redis_errors_as_unavailable
from service.storage.store import open_store
from workers import runtime
from workers.aggregate.aggregator import Aggregator
from workers.aggregate.duplicate_finder import DuplicateFinder
from workers.deliver.worker import DeliverWorker
from workers.demo import Demo
from workers.http_client import open_client, typed_by_operator, warn_of_open_networks
from workers.ingest.candidates import candidates
from workers.ingest.fetch import Fetched, fetch, user_agent
from workers.ingest.importer import Importer, Summary, expand
from workers.ingest.parse import FEED_KINDS, Document, parse
from workers.ingest.poller import Poller

MAX_SHOWN_REJECTS = 20
# Role → the classes of its loops.
ROLES: dict[str, tuple[Callable[..., Any], ...]] = {
    "ingest": (Poller,),
    "aggregate": (Aggregator, DuplicateFinder),
    "deliver": (DeliverWorker,),
}


@click.group()
def main() -> None:
    """Run the workers of dateline, and the commands that fetch or parse."""


@main.command()
@click.argument("roles", nargs=-1, type=click.Choice(list(ROLES)))
def work(roles: tuple[str, ...]) -> None:
    """Run worker roles until stopped; all of them if none is named."""
    _run(lambda settings: _work(settings, roles or tuple(ROLES)))


async def _work(settings: Settings, roles: tuple[str, ...]) -> None:
    stop = runtime.stop_at_signals()
    warn_of_open_networks(settings)
    async with open_store(settings, stop=stop, roles=roles) as store:
        makers = [make for role in roles for make in ROLES[role]]
        loops = [make(store, settings, now=runtime.now).run for make in makers]
        await runtime.run(loops, stop, drain_s=settings.drain_s)


@main.command()
def demo() -> None:
    """Load the demo archive, then publish an article from time to time."""
    _run(_demo)


async def _demo(settings: Settings) -> None:
    stop = runtime.stop_at_signals()
    async with open_store(settings, stop=stop) as store:
        demo = Demo(store, settings, now=runtime.now)
        await runtime.run([demo.run], stop, drain_s=settings.drain_s)


@main.command("import")
@click.argument("targets", nargs=-1, required=True, metavar="PATH-OR-URL…")
@click.option("--category", default="", help="File everything under this category.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def import_(targets: tuple[str, ...], category: str, as_json: bool) -> None:
    """Import articles or sources from files, folders and URLs, once.

    Reads RSS, RDF, Atom, JSON Feed, K2 JSON, K2 and other HTML pages, pages saved as text,
    NDJSON of articles, and OPML (adds its feeds as sources). Exit status 1 if something was
    rejected.
    """
    summary = _run(lambda settings: _import(settings, targets, category), is_result_printed=True)
    if as_json:
        say_json({**_counts(summary), "rejects": summary.rejects})
    else:
        _show(summary)
    sys.exit(1 if summary.counts["rejected"] else 0)


async def _import(settings: Settings, targets: tuple[str, ...], category: str) -> Summary:
    names = list(expand(targets, settings))
    async with (
        open_store(settings) as store,
        open_client(settings, user_agent=user_agent(settings.base_url, subscribers=1)) as client,
    ):
        importer = Importer(store, settings, client, now=runtime.now, category=category)
        with progress_of("Importing", len(names)) as progress:
            for name in names:
                with redis_errors_as_unavailable():
                    await importer.take(name, progress=progress.add)
                progress.next_item()
        return importer.summary


@main.command()
@click.argument("url")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def discover(url: str, as_json: bool) -> None:
    """List the feeds of a site."""
    feeds = _run(lambda settings: _discover(settings, url), is_result_printed=True)
    if as_json:
        say_json(feeds)
    for feed in () if as_json else feeds:
        say(f"{feed['kind']:<10} {feed['entries']:>4} entries  {feed['url']}  {feed['title']}")
    if not feeds:
        _end(f"{url}: no feed found")


async def _discover(settings: Settings, url: str) -> list[dict[str, Any]]:
    """The feeds among the URL itself and, if it has no articles, its candidates."""
    agent = user_agent(settings.base_url, subscribers=1)
    feeds = []
    typed = typed_by_operator(url)
    async with open_client(settings, user_agent=agent) as client:
        page = await fetch(client, url, settings, provenance=typed)
        document = await asyncio.to_thread(_parsed, page)
        alternates = document.alternates if document else ()
        urls = [] if document and document.entries else candidates(page.url, alternates)
        for candidate in [url, *urls]:
            with contextlib.suppress(FetchFailed):
                if candidate != url:
                    page = await fetch(client, candidate, settings, provenance=typed)
                document = await asyncio.to_thread(_parsed, page)
                if document and document.kind in FEED_KINDS:
                    entries = len(document.entries)
                    feeds.append(
                        {
                            "url": page.url,
                            "kind": document.kind,
                            "title": document.title,
                            "entries": entries,
                        }
                    )
    return feeds


def _parsed(page: Fetched) -> Document | None:
    try:
        return parse(page.body, url=page.url, content_type=page.content_type)
    except ParseFailed:
        return None


def _counts(summary: Summary) -> dict[str, int]:
    return {
        name: summary.counts[name]
        for name in ("new", "updated", "corrected", "unchanged", "rejected", "sources")
    }


def _show(summary: Summary) -> None:
    counts = _counts(summary)
    sources = counts.pop("sources")
    if not counts["corrected"]:
        del counts["corrected"]
    say(", ".join(f"{count} {name}" for name, count in counts.items()))
    if sources:
        added = "1 source added; it is" if sources == 1 else f"{sources} sources added; they are"
        say(f"{added} polled from now on")
    for reject in summary.rejects[:MAX_SHOWN_REJECTS]:
        say(f"  rejected: {reject['where']}: {reject['reason']}", to_stderr=True)
    if len(summary.rejects) > MAX_SHOWN_REJECTS:
        more = len(summary.rejects) - MAX_SHOWN_REJECTS
        say(f"  … and {more} more; --json lists all", to_stderr=True)


def _run(
    make: Callable[[Settings], Coroutine[Any, Any, Any]], *, is_result_printed: bool = False
) -> Any:
    """Run the coroutine of a command; expected errors end the process with one line.

    Args:
        is_result_printed: see `logs.configure`.
    """
    try:
        settings = load()
        logs.configure(settings.log_level, is_result_printed=is_result_printed)
        return uvloop.run(make(settings))
    except InvalidSettings as exc:
        _end(*exc.faults)
    except DatelineError as exc:
        _end(str(exc))
    except runtime.LoopsFailed:
        sys.exit(1)
    except BaseExceptionGroup as group:
        away = group.subgroup(Unavailable)
        if away is not None:
            _end(str(away.exceptions[0]))
        raise


def _end(*faults: str) -> NoReturn:
    """End the process with status 1 and a line for each fault."""
    for fault in faults:
        say(f"dateline: {fault}", to_stderr=True)
    sys.exit(1)
