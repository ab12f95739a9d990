"""`dateline sources …`: feeds and pages that are polled, as in the API
(service/web/handlers/sources.py).
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from typing import Any

import click

from service.cli.output import AS_JSON, show
from service.cli.running import pass_on, settings_from, with_store
from service.errors import InvalidInput
from service.manage import sources as manage_sources
from service.storage.store import Store

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


@click.group("sources")
def group() -> None:
    """Manage sources: the feeds and pages that are polled. SOURCE is an id or a URL."""


class Duration(click.ParamType[float]):
    """A duration such as `90` (seconds), `15m`, `2h` or `1d`."""

    name = "duration"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Convert it to seconds; anything else is a usage error."""
        text = str(value).strip().lower()
        number, unit = (text[:-1], text[-1]) if text[-1:] in _UNITS else (text, "s")
        try:
            return float(number) * _UNITS[unit]
        except ValueError:
            self.fail(f"{value!r} is not a duration such as 90, 15m, 2h or 1d", param, ctx)


def settings_of_source(command: Any) -> Any:
    """Add the options that `add` and `set` have in common to a command."""
    for option in reversed(
        (
            click.option("--category", help="File all its articles under this category."),
            click.option("--map", "rules", multiple=True, metavar="THEIRS=OURS",
                         help="File the source's category THEIRS under OURS, e.g. 'Port*=Harbour' "
                              "(* is any text, ? any character); 'Ads=' drops it. May be "
                              "repeated; --category then applies to articles that no rule "
                              "matches."),
            click.option("--every", type=Duration(), metavar="TIME",
                         help="Poll at this interval: 90 (seconds), 15m, 2h, 1d."),
            click.option("--header", "headers", multiple=True, metavar="NAME:VALUE",
                         help="Header to send with requests to the source. May be repeated."),
            click.option("--user", metavar="NAME:PASSWORD",
                         help="User name and password for HTTP Basic authentication."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def _fields(
    category: str | None, rules: tuple[str, ...], every: float | None, headers: tuple[str, ...],
    user: str | None,
) -> dict[str, object]:  # fmt: skip
    fields: dict[str, object] = {}
    if category is not None:
        fields["category"] = category
    if rules:
        fields["mapping"] = dict(_pair("--map", rule, "=") for rule in rules)
    if every is not None:
        fields["interval_s"] = every
    if headers:
        fields["headers"] = dict(_pair("--header", header, ":") for header in headers)
    if user is not None:
        fields["auth"] = user
    return fields


def _pair(option: str, text: str, mark: str) -> tuple[str, str]:
    name, separator, value = text.partition(mark)
    if not separator or not name.strip():
        raise click.BadParameter(f"needs a {mark!r}, as in NAME{mark}VALUE", param_hint=option)
    return name.strip(), value.strip()


@group.command("add")
@click.argument("url")
@settings_of_source
@AS_JSON
def add_source(url: str, as_json: bool, **options: Any) -> None:
    """Add a source: poll a feed or page from now on.

    URL may be the address of a site; the first poll then looks for its feed. For example:

    dateline sources add https://example.org/feed.xml --every 30m
    """
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        source, added = await manage_sources.add(store, {"url": url, **_fields(**options)}, now=now)
        if not added and _fields(**options):
            raise InvalidInput("url", url, "is a source already; `dateline sources set` changes it")
        return source.to_public()

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("set")
@click.argument("source")
@settings_of_source
@AS_JSON
def set_source(source: str, as_json: bool, **options: Any) -> None:
    """Change settings of a source. Settings that are not named stay as they are."""
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        return (await manage_sources.change(store, source, _fields(**options), now=now)).to_public()

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("list")
@AS_JSON
def list_sources(as_json: bool) -> None:
    """List all sources, one a line: id, state, time of the next poll, URL.

    States: new (not polled yet), ok, live (its hub pushes to us), failing, paused.
    """
    now = datetime.now(UTC)

    async def work(store: Store) -> list[dict[str, Any]]:
        return [
            await manage_sources.to_public(store, s, now=now) for s in await store.sources.all()
        ]

    sources = with_store(settings_from(), work)
    if as_json:
        show(sources, as_json=True)
        return
    for source in sources:
        due = (source["due"] or "-")[:19]
        click.echo(f"{source['id']}  {_state(source):<8}  {due:<19}  {source['url']}")


def _state(source: dict[str, Any]) -> str:
    if source["paused"]:
        return "paused"
    if source["failures"]:
        return "failing"
    if not source["polled"]:
        return "new"
    return "live" if source["hub_until"] else "ok"


@group.command("show")
@click.argument("source")
@AS_JSON
def show_source(source: str, as_json: bool) -> None:
    """Show a source, its settings and the result of its last poll."""
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        return await manage_sources.to_public(
            store, await manage_sources.find(store, source), now=now
        )

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("pause")
@click.argument("source")
def pause_source(source: str) -> None:
    """Stop polling a source until it is resumed."""
    _set_paused(source, paused=True)


@group.command("resume")
@click.argument("source")
def resume_source(source: str) -> None:
    """Resume a paused source and poll it at once."""
    _set_paused(source, paused=False)


def _set_paused(source: str, *, paused: bool) -> None:
    now = datetime.now(UTC)

    async def work(store: Store) -> None:
        await manage_sources.change(store, source, {"paused": paused}, now=now)

    with_store(settings_from(), work)


@group.command("refresh")
@click.argument("source")
def refresh_source(source: str) -> None:
    """Poll a source at once. A paused source is refused."""
    now = datetime.now(UTC)

    async def work(store: Store) -> None:
        await manage_sources.refresh(store, source, now=now)

    with_store(settings_from(), work)


@group.command("remove")
@click.argument("source")
def remove_source(source: str) -> None:
    """Remove a source. Its articles stay."""

    async def work(store: Store) -> None:
        await manage_sources.remove(store, source)

    with_store(settings_from(), work)


@group.command("export")
def export_sources() -> None:
    """Write all sources as OPML to stdout; `dateline import` reads it again.

    Headers and passwords are secret and are left out.
    """
    sys.stdout.buffer.write(with_store(settings_from(), manage_sources.exported))


@group.command("discover")
@click.argument("url")
@AS_JSON
def discover_feeds(url: str, as_json: bool) -> None:
    """List the feeds of a site without adding any of them."""
    pass_on("discover", (url, *(["--json"] if as_json else [])))
