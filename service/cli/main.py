"""`dateline`: the command line.

A root: it reads the environment, configures logs, and turns errors into one line on stderr and an
exit status. Worker commands are passed on to `python -m workers`, which `service` never imports.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
import sys
from pathlib import Path

import click

from service.cli import (
    backup,
    erase,
    faults,
    hub,
    layout,
    private_feeds,
    retention,
    sources,
    tokens,
    views,
    watch,
    webhooks,
)
from service.cli.output import say_lines
from service.cli.running import pass_on, reachable, run, settings_from
from service.settings import Settings
from service.web.api_token import first_api_token, token_path

_PASSED_ON = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


@click.group(context_settings={"max_content_width": 100})
@click.version_option(package_name="dateline")
def main() -> None:
    """Collect articles and publish them as feeds, an event stream and webhooks.

    Start everything with `dateline up`; the other commands talk to the running service. Add a
    first source with:

    dateline sources add https://example.org/feed.xml

    Settings are read from environment variables DATELINE_… or from a .env file in the working
    directory: see docs/settings.md.
    """


@main.command()
@click.option(
    "--demo", is_flag=True, help="Load a small archive and publish an article from time to time."
)
@click.option("--host", help="Address to listen on (DATELINE_HOST).")
@click.option("--port", type=int, help="Port to listen on (DATELINE_PORT).")
@click.option(
    "--data-dir", type=click.Path(path_type=Path), help="Folder of all data (DATELINE_DATA_DIR)."
)
@click.option("--servers", default=1, show_default=True, type=click.IntRange(1, 64),
              help="Number of server processes, which share the port.")  # fmt: skip
@click.option("--redis-port", default=0, type=click.IntRange(0, 65535),
              help="Also open the embedded Redis on this loopback port; 0 opens none.")  # fmt: skip
def up(
    demo: bool, host: str | None, port: int | None, data_dir: Path | None, servers: int,
    redis_port: int,
) -> None:  # fmt: skip
    """Run everything: an embedded Redis, the workers and the servers. Ctrl-C stops it.

    With DATELINE_REDIS_URL set, that Redis is used and no embedded one is started.
    """
    from service.cli import up as everything
    from service.cli.forked_parts import fork_parts

    settings = settings_from(host=host, port=port, data_dir=data_dir)
    if settings.port == 0:
        raise click.UsageError("--port 0 is for tests of `serve`; choose a port")
    parts = everything.all_parts(servers=servers, demo=demo)
    # Here, because no process may fork once it has an event loop.
    forked = fork_parts(parts)

    async def work() -> None:
        ready = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            greeting = group.create_task(_greet(settings, ready, redis_port))
            await everything.up(settings, parts, forked, redis_port=redis_port, ready=ready)
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
    lines += ["", f"Watch the stream:  {_command(settings)} tail      Stop: Ctrl-C", ""]
    say_lines(lines)


def _command(settings: Settings) -> str:
    """How to call this dateline from a shell that may not have it on its PATH."""
    program = Path(sys.executable).parent / "dateline"
    installed = shlex.quote(str(program)) if program.exists() else "python -m service"
    command = "dateline" if shutil.which("dateline") else installed
    if settings.data_dir == Settings().data_dir:
        return command
    return f"DATELINE_DATA_DIR={shlex.quote(str(settings.data_dir.resolve()))} {command}"


@main.command()
def serve() -> None:
    """Run one server process. Several of them may share a port.

    It needs a Redis: that of a running `dateline up` on the same data dir, or DATELINE_REDIS_URL.
    """
    from service.web.server import serve as serve_until_stopped

    settings = settings_from()

    async def work() -> None:
        await serve_until_stopped(reachable(settings), first_token=first_api_token(settings))

    run(work())


@main.command(context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def work(arguments: tuple[str, ...]) -> None:
    """Run worker roles: ingest, aggregate, deliver; all three if none is named."""
    pass_on("work", arguments)


@main.command("import", context_settings=_PASSED_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def import_(arguments: tuple[str, ...]) -> None:
    """Import articles or sources from files, folders and URLs, once."""
    pass_on("import", arguments)


for command in (
    backup.backup,
    backup.restore,
    erase.erase,
    faults.group,
    hub.group,
    layout.group,
    private_feeds.group,
    retention.retention,
    sources.group,
    tokens.group,
    views.group,
    webhooks.group,
    watch.export,
    watch.status,
    watch.tail,
):
    main.add_command(command)


def start() -> None:
    """Run the command line. Help and errors call it `dateline`, however it was started."""
    main(prog_name="dateline")
