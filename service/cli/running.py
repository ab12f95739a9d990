"""Connection of a command to a running dateline: settings, Redis, and errors as lines on stderr."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

import uvloop

from service import logs
from service.addresses import is_allowed
from service.cli.options import name_of_field
from service.cli.output import say
from service.errors import DatelineError, InvalidInput, InvalidSettings
from service.settings import PREFIX, Settings
from service.storage import embedded_redis
from service.storage.client import redis_errors_as_unavailable
from service.storage.store import Store, open_store

T = TypeVar("T")


def fail(exc: DatelineError) -> None:
    """Print the error, one line for each fault, and exit with status 1."""
    for line in _lines(exc):
        say(f"dateline: {line}", to_stderr=True)
    sys.exit(1)


def _lines(exc: DatelineError) -> Sequence[str]:
    match exc:
        case InvalidSettings():
            return exc.faults
        case InvalidInput():
            return (f"{name_of_field(exc.field)}: {exc.reason} (got {exc.value})",)
        case _:
            return (str(exc),)


def settings_from(**options: object) -> Settings:
    """Read the settings of the environment, which command line options override.

    A wrong setting ends the process with status 1. Configures the logs.
    """
    overrides = {
        f"{PREFIX}{name.upper()}": str(value)
        for name, value in options.items()
        if value is not None
    }
    try:
        settings = Settings.from_env({**os.environ, **overrides})
    except InvalidSettings as exc:
        fail(exc)
        raise
    logs.configure(settings.log_level)
    return settings


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine. A DatelineError is printed without a traceback and ends the process."""
    try:
        with redis_errors_as_unavailable():
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
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def with_store(settings: Settings, work: Callable[[Store], Coroutine[Any, Any, T]]) -> T:
    """Run `work` on the store of a running dateline, and close the store. Logs go to stderr."""
    logs.configure(settings.log_level, is_result_printed=True)

    async def opened() -> T:
        async with open_store(reachable(settings)) as store:
            return await work(store)

    return run(opened())


def reachable(settings: Settings) -> Settings:
    """The settings; without a Redis URL, that of the `dateline up` on the data dir is filled in.

    Raises:
        DatelineError: no Redis URL is set, and nothing runs on the data dir.
    """
    if settings.redis_url:
        return settings
    url = embedded_redis.url_in(settings.data_dir / "redis")
    if url is None:
        raise DatelineError(
            f"no Redis: start `dateline up` (data dir {settings.data_dir}), "
            f"or set DATELINE_REDIS_URL"
        )
    return settings.model_copy(update={"redis_url": url})


def warn_of_private(url: str, settings: Settings) -> None:
    """Say on stderr that the workers cannot reach a URL, if its host is an address that is neither
    public nor allowed; of other names only the workers learn where they lead."""
    host = urlsplit(url).hostname or ""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return
    if is_allowed(str(address), (*settings.allowed_networks, *settings.open_networks)):
        return
    say(
        f"dateline: warning: {host} is not a public address: requests to it fail unless "
        "DATELINE_ALLOWED_NETWORKS of the workers contains it",
        to_stderr=True,
    )


def pass_on(command: str, arguments: tuple[str, ...]) -> None:
    """Replace this process by `python -m workers`, with the same Redis as this command line."""
    environ = dict(os.environ)
    if not {"--help", "-h"} & set(arguments):
        settings = settings_from()
        try:
            environ.update(reachable(settings).to_env())
        except DatelineError as exc:
            fail(exc)
    os.execve(sys.executable, [sys.executable, "-m", "workers", command, *arguments], environ)  # noqa: S606 -- our own program
