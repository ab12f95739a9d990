"""`dateline`: the command line.

A root: it reads the environment, configures logs, and turns errors into one line on stderr and an
exit status. Worker commands are passed on to `python -m workers`, which `service` never imports.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import click
import uvloop

from service import logs
from service.errors import DatelineError, InvalidSettings
from service.settings import PREFIX, Settings
from service.storage import embedded
from service.storage.connecting import translated
from service.storage.store import Store, open_store
from service.web.tokens import api_token, token_path

T = TypeVar("T")
_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}
ROLES = ("ingest", "aggregate", "deliver")


@click.group(context_settings={"max_content_width": 100})
@click.version_option(package_name="dateline")
def main() -> None:
    """Feeds per category and date, a Redis stream and webhooks, from articles of anywhere.

    Settings are environment variables DATELINE_… or lines of a .env file: see docs/settings.md.
    """


def fail(exc: DatelineError) -> None:
    """End with the error's own lines."""
    lines = exc.faults if isinstance(exc, InvalidSettings) else (str(exc),)
    for line in lines:
        click.echo(f"dateline: {line}", err=True)
    sys.exit(1)


def settings_from(**options: object) -> Settings:
    """Settings of the environment, with command line options over them; ends on a wrong one."""
    given = {
        f"{PREFIX}{name.upper()}": str(value)
        for name, value in options.items()
        if value is not None
    }
    try:
        settings = Settings.from_env({**os.environ, **given})
    except InvalidSettings as exc:
        fail(exc)
        raise
    logs.configure(settings.log_level)
    return settings


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; errors of ours are lines, not tracebacks."""
    try:
        with translated():
            return uvloop.run(work)
    except DatelineError as exc:
        fail(exc)
        raise
    except BaseExceptionGroup as group:
        ours = group.subgroup(DatelineError)
        if ours is None:
            raise
        fail(_first(ours))
        raise


def _first(group: BaseExceptionGroup[Any]) -> DatelineError:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def with_store(settings: Settings, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    """Run something on the store of a running dateline."""

    async def opened() -> T:
        async with open_store(reachable(settings)) as store:
            return await work(store)

    return run(opened())


def reachable(settings: Settings) -> Settings:
    """The settings with the Redis of the `dateline up` on the data dir, if none is set."""
    if settings.redis_url:
        return settings
    url = embedded.url_in(settings.data_dir / "redis")
    if url is None:
        raise DatelineError(
            f"no Redis: start `dateline up` (data dir {settings.data_dir}), "
            f"or set DATELINE_REDIS_URL"
        )
    return settings.model_copy(update={"redis_url": url})


@main.command()
@click.option("--demo", is_flag=True, help="Load a small archive, and publish now and then.")
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where everything is kept.")
@click.option("--servers", default=1, show_default=True, type=click.IntRange(1, 64),
              help="Server processes on the port.")  # fmt: skip
@click.option("--redis-port", default=0, type=click.IntRange(0, 65535),
              help="Open the embedded Redis on this loopback port, too.")  # fmt: skip
def up(
    demo: bool, host: str | None, port: int | None, data_dir: Path | None, servers: int,
    redis_port: int,
) -> None:  # fmt: skip
    """Run everything: an embedded Redis, the workers, the servers. Ctrl-C stops it."""
    from service import up as everything

    settings = settings_from(host=host, port=port, data_dir=data_dir)
    if settings.port == 0:
        raise click.UsageError("--port 0 is for tests of `serve`; choose a port")

    async def work() -> None:
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            greeting = group.create_task(_greet(settings, ready, redis_port))
            await everything.up(
                settings, servers=servers, demo=demo, redis_port=redis_port, ready=ready
            )
            greeting.cancel()

    run(work())


async def _greet(settings: Settings, ready: asyncio.Event, redis_port: int) -> None:
    await ready.wait()
    base = settings.base_url
    lines = [
        "", "dateline is up.", "",
        f"  the newest, for people   {base}/",
        f"  the newest, as a feed    {base}/feeds/all.rss   (.atom, .json)",
        f"  all feeds                {base}/feeds.opml",
        f"  state                    {base}/readyz   {base}/metrics",
    ]  # fmt: skip
    if not settings.api_token:
        lines.append(f"  API token                {token_path(settings)}")
    if redis_port and not settings.redis_url:
        password = settings.data_dir / "redis" / "password"
        lines.append(f"  Redis                    127.0.0.1:{redis_port}, password in {password}")
    lines += ["", "Watch the stream:  dateline tail      Stop: Ctrl-C", ""]
    click.echo("\n".join(lines))


@main.command()
def serve() -> None:
    """Run one server. Several may share a port."""
    from service.web.server import serve as serve_until_stopped

    settings = settings_from()

    async def work() -> None:
        await serve_until_stopped(reachable(settings), token=api_token(settings))

    run(work())


@main.command(context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def work(arguments: tuple[str, ...]) -> None:
    """Run worker roles: ingest, aggregate, deliver; all if none is named."""
    pass_on("work", arguments)


@main.command("import", context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def import_(arguments: tuple[str, ...]) -> None:
    """Take in files, folders and URLs, once."""
    pass_on("import", arguments)


def pass_on(command: str, arguments: tuple[str, ...]) -> None:
    """Become `python -m workers`, on the Redis that this command line would use."""
    environ = dict(os.environ)
    if not {"--help", "-h"} & set(arguments):
        settings = settings_from()
        try:
            environ.update(reachable(settings).to_env())
        except DatelineError as exc:
            fail(exc)
    os.execve(sys.executable, [sys.executable, "-m", "workers", command, *arguments], environ)  # noqa: S606 -- our own program
