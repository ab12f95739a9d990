"""`dateline faults`: what could not be done, and another try for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from service.cli.output import AS_JSON, say, show_list
from service.cli.running import settings_from, with_store
from service.errors import NotFound
from service.storage.store import Store


@click.group("faults")
def group() -> None:
    """Show what could not be done, and have it tried again.

    A page that cannot be rendered, an event that cannot be processed, a source or webhook that
    makes our code fail: each costs only itself, and is listed here for a day after the last time.
    """


@group.command("list")
@AS_JSON
def list_faults(as_json: bool) -> None:
    """List the faults of the last day, the newest first, and all dead events.

    A dead event is an article that could not be processed after several tries. It is kept and
    readable, but missing from feeds (group `aggregate`) or not compared with other articles (group
    `duplicates`), until a later try succeeds.
    """

    async def work(store: Store) -> list[dict[str, Any]]:
        faults = await store.faults.all(now=datetime.now(UTC))
        dead = await store.dead_events.all()
        return [
            *(
                {"kind": f.kind, "name": f.name, "reason": f.reason, "count": f.count,
                 "first": f.first, "last": f.last}
                for f in faults
            ),
            *(
                {"kind": "dead event", "name": f"{e.group} {e.article_id}", "reason": e.reason,
                 "count": e.tries, "first": e.since, "last": e.since}
                for e in dead
            ),
        ]  # fmt: skip

    show_list(
        with_store(settings_from(), work), "last", "kind", "name", "count", "reason",
        as_json=as_json,
    )  # fmt: skip


@group.command("retry")
@click.argument("article_ids", nargs=-1, metavar="[ARTICLE-ID]…")
def retry(article_ids: tuple[str, ...]) -> None:
    """Have dead events tried again within seconds: those of these articles, or all."""

    async def work(store: Store) -> int:
        return await store.dead_events.retry(article_ids, now=datetime.now(UTC))

    count = with_store(settings_from(), work)
    if article_ids and not count:
        raise NotFound(f"no dead event of {', '.join(article_ids)}; see dateline faults list")
    say(f"{count} dead event{'' if count == 1 else 's'} will be tried again")
