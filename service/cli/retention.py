"""`dateline retention`: what the archive keeps, what was removed, what a policy would remove."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import click

from service.articles.retention import RetentionPolicy
from service.cli.output import AS_JSON, show
from service.cli.running import run, settings_from, with_store
from service.errors import DatelineError
from service.manage import retention as manage
from service.storage.store import Store


@click.command()
@click.option("--dry-run", is_flag=True, help="Look at every article and show which would go.")
@click.option(
    "--policy",
    metavar="RULES",
    help="Try these rules instead of DATELINE_RETENTION; only with --dry-run.",
)
@AS_JSON
def retention(dry_run: bool, policy: str | None, as_json: bool) -> None:
    """Show what the archive keeps, and the last pass that removed the rest.

    Rules are a setting, DATELINE_RETENTION, which the aggregate workers read at their start: for
    example `730d, Media Center/Harbour News=90d 5000 articles, archive=keep`. Try them before:

    dateline retention --dry-run --policy "730d"
    """
    settings = settings_from()

    async def parsed() -> RetentionPolicy:
        if policy is not None and not dry_run:
            raise DatelineError("--policy only tries rules, so it needs --dry-run")
        return settings.retention if policy is None else RetentionPolicy.parse(policy)

    rules = run(parsed())

    async def work(store: Store) -> dict[str, Any]:
        if dry_run:
            shown = asdict(await manage.preview(store, rules, now=datetime.now(UTC)))
            return {**shown, "policy": shown["policy"] or "keep everything"}
        last = await store.removals.last_pass()
        return {
            "policy": str(rules) or "keep everything",
            "last_pass": asdict(last) if last else None,
            "removed": (await store.counters()).get("articles_removed", 0),
        }

    show(with_store(settings, work), as_json=as_json)
