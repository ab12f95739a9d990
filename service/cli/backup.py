"""`dateline backup` and `dateline restore`: everything that Redis keeps, in a folder of files."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from service.articles.times import to_rfc3339
from service.cli.data_dir import locked
from service.cli.output import AS_JSON, say, show
from service.cli.running import run, settings_from, with_store
from service.errors import DatelineError, Unavailable
from service.settings import Settings
from service.storage import embedded_redis, keys
from service.storage.backup import take_backup
from service.storage.backup_files import Manifest, new_folder, read_manifest, verify
from service.storage.client import client_of, redis_errors_as_unavailable
from service.storage.commands import Client
from service.storage.embedded_redis import Embedded
from service.storage.restore import Restore, check_empty
from service.storage.server_check import check_server
from service.storage.shards import Shards, of_new_archive
from service.storage.store import Store

FOLDER = click.Path(path_type=Path, file_okay=False)
PROGRESS_EVERY_S = 1.0
# A third of the CPU time that a server gets where there is not enough for both.
NICENESS = 5
# Redis keeps hashes of tokens alone, and may be on another machine than the data dir.
LEFT_OUT = (
    "the file api-token of the data dir, the text of the first API token: copy it, or use the one "
    "that the next start makes (both are in force)"
)


class Progress:
    """Lines on stderr, one a second at most."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + PROGRESS_EVERY_S

    def __call__(self, what: str, count: int) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + PROGRESS_EVERY_S
            say(f"  {what}: {count:,}", to_stderr=True)


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@AS_JSON
def backup(folder: Path, as_json: bool) -> None:
    """Write everything that Redis keeps to files in DIR, while dateline runs.

    DIR is created, or must be empty; a backup in it that was cut is removed and begun anew. It is
    complete when it has a manifest.json.

    The files contain SECRETS: those of webhooks, private feeds and sources. Only their owner can
    read them (files 0600, folder 0700): keep it so wherever you copy them. Of API tokens they have
    hashes alone, so the file api-token of the data dir is left out: copy it separately.
    """

    async def work(store: Store) -> Manifest:
        os.nice(NICENESS)
        with new_folder(folder) as was_cut:
            if was_cut:
                say(f"{folder} held a backup that was cut: it is begun anew", to_stderr=True)
            with names_remedy("the backup is not complete; take it again"):
                return await take_backup(
                    store.client,
                    folder,
                    shards=store.event_stream.shards,
                    created=to_rfc3339(datetime.now(UTC)),
                    progress=Progress(),
                )

    manifest = with_store(settings_from(), work)
    _show(manifest, folder, streams=manifest.layout_shards, as_json=as_json)


@click.command()
@click.argument("folder", metavar="DIR", type=FOLDER)
@click.option(
    "--shards",
    type=int,
    help="Number of shards to have there, that of the backup or a multiple (DATELINE_SHARDS).",
)
@AS_JSON
def restore(folder: Path, shards: int | None, as_json: bool) -> None:
    """Put the backup in DIR back into an empty Redis.

    The archive gets the shards that a new one would have there, and each article and event the
    shard that is its own among them; entry ids of events stay. What else reads the streams finds
    their keys in the summary.

    Without DATELINE_REDIS_URL, that of the data dir is started for it, and stopped again; start
    `dateline up` afterwards. All files are checked before anything is written. A restore that was
    cut can be run again; until it is complete, nothing else starts on that Redis.

    API tokens are those of the backup: one that was revoked since is in force again.

    DIR contains SECRETS, as `dateline backup --help` says.
    """
    settings = settings_from(shards=shards)
    target = of_new_archive(settings)

    async def work() -> Manifest:
        manifest = read_manifest(folder)
        verify(folder, manifest)
        async with _redis(settings) as client:
            await check_empty(client, manifest, shards=target)
            await check_server(
                client,
                shards=target,
                allow_volatile=settings.allow_volatile_redis,
                restores=True,
            )
            with names_remedy("the restore is not complete; run it again with the same backup"):
                await Restore(client, folder, manifest, shards=target, progress=Progress()).run()
        return manifest

    _show(run(work()), folder, streams=target, as_json=as_json)


@contextmanager
def names_remedy(text: str) -> Iterator[None]:
    """Add to a fault of Redis what is to be done once Redis is back.

    Raises:
        DatelineError: Redis cannot serve.
    """
    try:
        with redis_errors_as_unavailable():
            yield
    except Unavailable as exc:
        raise DatelineError(f"{exc}: {text}") from exc


@asynccontextmanager
async def _redis(settings: Settings) -> AsyncIterator[Client]:
    """A client of the Redis that the settings name, or of that of the data dir."""
    async with AsyncExitStack() as stack:
        url = settings.redis_url
        if not url:
            stack.enter_context(locked(settings.data_dir))
            url = await stack.enter_async_context(_embedded(settings))
        client = client_of(settings.model_copy(update={"redis_url": url}))
        stack.push_async_callback(client.aclose)
        yield client


@asynccontextmanager
async def _embedded(settings: Settings) -> AsyncIterator[str]:
    server = Embedded(
        binary=embedded_redis.find_binary(settings.redis_server),
        folder=settings.data_dir / "redis",
        appendfsync=settings.appendfsync,
    )
    process = await server.start()
    try:
        yield server.url
    finally:
        await embedded_redis.end(process)


def _show(manifest: Manifest, folder: Path, *, streams: Shards, as_json: bool) -> None:
    summary: dict[str, Any] = {
        "folder": str(folder),
        "created": manifest.created,
        "articles": manifest.articles,
        "events": manifest.events,
        "bytes": manifest.bytes,
        "streams": [keys.stream(shard) for shard in streams],
        "left_out": LEFT_OUT,
    }
    show(summary, as_json=as_json)
