"""`dateline layout`: the shards of an archive, and its move into others on another Redis."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from service.articles.times import to_rfc3339
from service.cli.backup import FOLDER, Progress, names_remedy
from service.cli.output import AS_JSON, say, say_json, show, show_list
from service.cli.running import reachable, run, settings_from
from service.errors import DatelineError, InvalidInput
from service.settings import Settings
from service.storage import keys
from service.storage.backup import take_backup
from service.storage.backup_files import (
    MANIFEST,
    Manifest,
    new_folder,
    read_manifest,
    remove_backup,
    verify,
)
from service.storage.client import redis_errors_as_unavailable
from service.storage.layout import VERSION, version_of
from service.storage.layout_sizes import sizes
from service.storage.move_check import differences
from service.storage.placement import can_move
from service.storage.restore import Restore, check_nothing_there, note_of
from service.storage.server_check import check_server
from service.storage.shards import of_new_archive
from service.storage.store import Store, of_client, open_store
from service.storage.write_stop import WriteStop, runs_of

SHOWN_DIFFERENCES = 5


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncIterator[Store]:
    """The store as it is: nothing is checked, migrated or written."""
    with redis_errors_as_unavailable():
        async with open_store(reachable(settings), check=False) as store:
            yield store


@click.group("layout", invoke_without_command=True)
@AS_JSON
@click.pass_context
def group(context: click.Context, as_json: bool) -> None:
    """Show the shards of the archive, their hash tags, slots and servers, and what is at work.

    Keys and bytes of a shard are estimates from a sample of its server's keys.
    """
    if context.invoked_subcommand is None:
        report = run(_report(settings_from()))
        if as_json:
            say_json(report)
        else:
            _show(report)


async def _report(settings: Settings) -> dict[str, Any]:
    async with _opened(settings) as store:
        client, shards = store.client, store.event_stream.shards
        servers, parts = await sizes(client, shards)
        moving = await WriteStop(client).noted()
        restoring = await client.get(keys.RESTORING)
        at_work = []
        if moving:
            texts = {name: moving[name].decode("utf-8", "replace") for name in (b"to", b"since")}
            at_work.append(f"a move to {texts[b'to']} since {texts[b'since']}; writes are refused")
        if restoring:
            at_work.append(f"a restore of the backup {restoring.decode('utf-8', 'replace')}")
        return {
            "layout": await version_of(client),
            "shards": len(shards),
            "at_work": at_work,
            "servers": [asdict(each) for each in servers],
            "parts": [asdict(each) for each in parts],
        }


def _show(report: dict[str, Any]) -> None:
    tables = {"servers": report["servers"], "parts": report["parts"]}
    show({k: v for k, v in report.items() if k not in tables}, as_json=False)
    for rows in tables.values():
        columns = tuple(rows[0]) if rows else ()
        say("")
        show_list([dict(zip(columns, columns, strict=True)), *rows], *columns, as_json=False)
    say("")
    say("keys and bytes of shards are estimates from a sample of the keys")


@group.command()
@click.option("--to", "url", required=True, envvar="MOVE_TO",
              help="URL of an empty Redis, as DATELINE_REDIS_URL. In the environment variable "
              "MOVE_TO other users of the machine cannot read its password.")  # fmt: skip
@click.option("--shards", "count", type=int, required=True,
              help="Number of shards to have there, as many as now or a multiple.")  # fmt: skip
@click.option("--folder", type=FOLDER, help="Where the copy is between the two (a new folder in "
              "the data dir); it contains SECRETS, and is removed at the end.")  # fmt: skip
@AS_JSON
def move(url: str, count: int, folder: Path | None, as_json: bool) -> None:
    """Copy the archive to another, empty Redis, with other shards, while pages are served on.

    From the first moment on the present Redis refuses writes, of other programs, too: posts are
    answered 503 with Retry-After, workers wait. Nothing that is acknowledged is lost. If the copy
    is not complete and equal, writes are taken again. A move that was cut is continued by the same
    command, or given up by `dateline layout undo`.

    At the end, start all of dateline with the URL and the number of shards that it says.
    """
    settings, target = settings_from(), settings_from(redis_url=url, shards=count)
    summary = run(_move(settings, target, folder or settings.data_dir / "layout-move"))
    show(summary, as_json=as_json)


@group.command()
def undo() -> None:
    """Give up a move that was cut, or take the archive back after one: it takes writes again.

    What was written to the other Redis meanwhile is not here.
    """

    async def work() -> bool:
        async with _opened(settings_from()) as store:
            return await WriteStop(store.client).end()

    say("writes are taken again" if run(work()) else "nothing was stopped")


async def _move(settings: Settings, target: Settings, folder: Path) -> dict[str, Any]:
    async with _opened(settings) as source, _opened(target) as into:
        shards = of_new_archive(target)
        await _check(source, into, target, folder)
        stop, to = WriteStop(source.client), _address(target.redis_url)
        try:
            with names_remedy("the archive was not moved, and takes writes again"):
                is_continued = await stop.begin(to=to, since=to_rfc3339(datetime.now(UTC)))
                say("writes are refused from now on; pages are served", to_stderr=True)
                manifest = await _backup(source, folder, is_continued=is_continued)
                restore = Restore(into.client, folder, manifest, shards=shards, progress=Progress())
                await restore.run()
                await of_client(into.client, shards=shards).check_replicated()
                await _compare(source, of_client(into.client, shards=shards), stop)
        except BaseException:
            await _give_up(stop)
            remove_backup(folder)
            raise
    remove_backup(folder)
    return {
        "moved_to": to,
        "articles": manifest.articles,
        "events": manifest.events,
        "streams": [keys.stream(shard) for shard in shards],
        "next": "start all of dateline with this DATELINE_REDIS_URL and "
        f"DATELINE_SHARDS={len(shards)}; the former Redis is not needed any more",
    }


async def _check(source: Store, into: Store, target: Settings, folder: Path) -> None:
    """Refuse what cannot be moved, before anybody notices anything.

    Raises:
        DatelineError: the other Redis is not empty, is this one, or would lose articles; or there
            is the copy of a move that ended.
    """
    former, shards = source.event_stream.shards, of_new_archive(target)
    if not can_move(len(former), len(shards)):
        reason = f"must be {len(former)}, as many as now, or a multiple of that"
        raise InvalidInput("shards", len(shards), reason)
    if await runs_of(source.client) & await runs_of(into.client):
        raise DatelineError(
            "the other Redis is on a server that has this archive, and would refuse writes, too"
        )
    if await source.client.get(keys.RESTORING):
        raise DatelineError("a restore into this archive is not complete: run it again first")
    if await version_of(source.client) != VERSION:
        raise DatelineError("the archive has another layout: start this version on it first")
    moving = (await WriteStop(source.client).noted()).get(b"to", b"").decode("utf-8", "replace")
    if moving not in ("", _address(target.redis_url)):
        raise DatelineError(
            f"the archive is moved, or was moved, to {moving}: `dateline layout undo` takes it back"
        )
    note = ""
    if (folder / MANIFEST).exists():
        if not await WriteStop(source.client).is_intact():
            raise DatelineError(f"{folder} holds the copy of another moment: remove it")
        note = note_of(read_manifest(folder), shards)
    await check_nothing_there(into.client, note)
    await check_server(
        into.client, shards=shards, allow_volatile=target.allow_volatile_redis, restores=True
    )


async def _backup(source: Store, folder: Path, *, is_continued: bool) -> Manifest:
    """The copy in the folder; of a move that was cut the one that is there."""
    if is_continued and (folder / MANIFEST).exists():
        manifest = read_manifest(folder)
        verify(folder, manifest)
        return manifest
    with new_folder(folder):
        return await take_backup(
            source.client,
            folder,
            shards=source.event_stream.shards,
            created=to_rfc3339(datetime.now(UTC)),
            progress=Progress(),
        )


async def _compare(source: Store, copy: Store, stop: WriteStop) -> None:
    lines = await differences(source, copy)
    if lines:
        shown = "; ".join(lines[:SHOWN_DIFFERENCES])
        raise DatelineError(f"the copy is not equal ({len(lines)} differences: {shown})")
    if not await stop.is_intact():
        raise DatelineError(
            "a server was started again or gave way to another meanwhile, so writes may have been "
            "taken that are not in the copy: empty the other Redis (FLUSHDB), and move again"
        )


async def _give_up(stop: WriteStop) -> None:
    try:
        with redis_errors_as_unavailable():
            await stop.end()
    except DatelineError as exc:
        say(f"writes are still refused ({exc}): dateline layout undo", to_stderr=True)


def _address(url: str) -> str:
    """A URL without its user and password."""
    return re.sub(r"//[^/]*@", "//", url).partition("?")[0]
