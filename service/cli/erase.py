"""`dateline erase`: articles of which nothing but a tombstone remains."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime

import click

from service.articles.article import Article
from service.cli.output import AS_JSON, say, show
from service.cli.running import fail, run, settings_from, with_store
from service.errors import DatelineError
from service.manage import erasure
from service.manage.erasure import Erasure
from service.storage.store import Store

MAX_SHOWN_CHARS = 80


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID…")
@click.option("--yes", is_flag=True, help="Erase without asking for confirmation.")
@AS_JSON
def erase(ids: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Erase articles for good: a tombstone remains, and no text anywhere in Redis.

    ID is the id of an article, or its URL here. It answers 410 from then on, feeds and events name
    it as withdrawn, and nothing takes it in again. This cannot be undone. Backups and logs are not
    touched: see docs/retention.md.
    """
    settings = settings_from()
    article_ids = run(_ids(ids))
    if not yes:
        _confirm(with_store(settings, lambda store: erasure.find(store, article_ids)), article_ids)

    async def work(store: Store) -> Erasure:
        return await erasure.erase(store, article_ids, now=datetime.now(UTC))

    done = with_store(settings, work)
    show(
        {
            "articles": [asdict(receipt) for receipt in done.articles],
            "deleted": asdict(done.deleted),
            "copies": list(done.copies),
        },
        as_json=as_json,
    )


async def _ids(ids: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(map(erasure.article_id_of, ids)))


def _confirm(articles: Sequence[Article | None], article_ids: Sequence[str]) -> None:
    """Show what would be erased and ask; end the process unless the answer is yes."""
    for article, article_id in zip(articles, article_ids, strict=True):
        title = article.title if article else "(retention has removed it)"
        say(f"{article_id}  {title[:MAX_SHOWN_CHARS]}".rstrip(), to_stderr=True)
    if not sys.stdin.isatty():
        fail(DatelineError("nothing was erased: --yes confirms where nobody can be asked"))
    count = len(article_ids)
    what = "this article" if count == 1 else f"these {count} articles"
    click.confirm(f"Erase {what} for good?", abort=True, err=True)
