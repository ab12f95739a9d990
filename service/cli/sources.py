"""`dateline sources …`: feeds and pages that are polled, as in the API
(service/web/handlers/sources.py).
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import click

from service.cli.options import Duration, Pair, Selection
from service.cli.output import AS_JSON, say_json, show, show_parts
from service.cli.preview import is_failure, show_preview
from service.cli.running import pass_on, settings_from, warn_of_private, with_store
from service.errors import InvalidInput
from service.manage import previews as manage_previews
from service.manage import sources as manage_sources
from service.storage.store import Store


@click.group("sources")
def group() -> None:
    """Manage sources: the feeds and pages that are polled. SOURCE is an id or a URL."""


def settings_of_source(command: Any) -> Any:
    """Add the options that `add` and `set` have in common to a command."""
    for option in reversed(
        (
            click.option("--category", "categories", multiple=True,
                         help="File all its articles under this category. May be repeated."),
            click.option("--map", "mapping", multiple=True, type=Pair("="), metavar="THEIRS=OURS",
                         help="File the source's category THEIRS under OURS, e.g. 'Port*=Harbour' "
                              "(* is any text, ? any character); 'Ads=' drops it. May be "
                              "repeated; --category then applies to articles that no rule "
                              "matches."),
            click.option("--every", "interval_s", type=Duration(), metavar="TIME",
                         help="Poll at this interval: 90 (seconds), 15m, 2h, 1d."),
            click.option("--history", type=click.Choice(["links", "paged", "none"]),
                         help="Older documents to read once for a new source: those that its feed "
                              "names as next or prev-archive (the default), also pages by number "
                              "(?paged=2, as WordPress has them), or none."),
            click.option("--header", "headers", multiple=True, type=Pair(":"), metavar="NAME:VALUE",
                         help="Header to send with requests to the source. May be repeated."),
            click.option("--user", "auth", metavar="NAME:PASSWORD",
                         help="User name and password for HTTP Basic authentication."),
            click.option("--select", "select", multiple=True, type=Selection(),
                         metavar="FIELD=SELECTOR",
                         help="Read articles from a page or JSON that is not a feed: items, title, "
                              "link, date, date_format, content, author, image, category or "
                              "next_page, with CSS, XPath or JSONPath. Repeat it for each field, "
                              "or give all as one JSON object."),
            click.option("--rule", "rules", multiple=True, metavar="RULE",
                         help="Rule for its articles: 'drop title ~ Sponsored', 'tag Fog if "
                              "text ~ fog', 'strip .share' (docs/selectors.md). Repeat it; rules "
                              "apply in their order."),
            click.option("--user-agent", help="User-Agent header of requests to the source."),
            click.option("--cookie", "cookies", multiple=True, type=Pair("="), metavar="NAME=VALUE",
                         help="Cookie to send with requests to the source. May be repeated."),
            click.option("--proxy", metavar="URL",
                         help="Proxy for requests to the source: http://… or socks5://…, also with "
                              "NAME:PASSWORD@ in it."),
            click.option("--tls-ca", type=click.File(), metavar="FILE",
                         help="Certificates (PEM) one of which must have signed that of the "
                              "source."),
            click.option("--tls-fingerprint", metavar="SHA256",
                         help="SHA-256 of the certificate that the source must have."),
            click.option("--window", metavar="DAYS HOURS",
                         help="When it may be polled, e.g. 'mon-fri 8-18' or 22-6."),
            click.option("--full-text", type=click.Choice(["true", "false", "auto"]),
                         help="Fetch the pages of new articles for their texts: true (each that "
                              "may be cut), false, or auto (the default: if the feed is known to "
                              "cut them)."),
            click.option("--selector", metavar="CSS|XPATH",
                         help="CSS or XPath of the article on such a page; "
                              "without it, the article is guessed."),
            click.option("--summary-only/--with-content", default=None,
                         help="Keep and show a summary of each article alone."),
        )
    ):  # fmt: skip
        command = option(command)
    return command


def _fields(options: dict[str, Any]) -> dict[str, object]:
    """The options that the user set, as fields of the API."""
    return {
        name: _FIELD_OF[name](value) if name in _FIELD_OF else value
        for name, value in options.items()
        if value not in (None, ())
    }


def _history(choice: str) -> object:
    return {"links": True, "none": False}.get(choice, choice)


def _select(values: tuple[dict[str, str], ...]) -> dict[str, str]:
    return {field: text for fields in values for field, text in fields.items()}


def _rules(values: tuple[str, ...]) -> list[str]:
    # An empty one takes all rules away.
    return [rule for rule in values if rule.strip()]


_FIELD_OF: dict[str, Callable[[Any], object]] = {
    "mapping": dict,
    "headers": dict,
    "cookies": dict,
    "tls_ca": lambda file: file.read(),
    "history": _history,
    "select": _select,
    "rules": _rules,
    "full_text": lambda choice: {"true": True, "false": False}.get(choice, choice),
}
"""Option → how its value becomes that of the field; others are the same."""


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
        source, added = await manage_sources.add(store, {"url": url, **_fields(options)}, now=now)
        if not added and _fields(options):
            raise InvalidInput("url", url, "is a source already; `dateline sources set` changes it")
        return source.to_public()

    settings = settings_from()
    source = with_store(settings, work)
    show(source, as_json=as_json)
    for url in filter(None, (source["url"], source["proxy"])):
        warn_of_private(url, settings)


@group.command("preview")
@click.argument("url")
@settings_of_source
@click.option("--guess", is_flag=True, help="Propose selectors for the page.")
@click.option("--limit", type=int, help="Show this many items, at most 100; 20 if not set.")
@AS_JSON
def preview_source(url: str, as_json: bool, **options: Any) -> None:
    """Show the articles that a source would bring, without keeping anything.

    Of each item the values as the document has them, and what was read; which rule did what; and
    why an item would be rejected. Options are those of `add`; of a URL that is a source already,
    its settings hold for what is not named. An ingest worker must be running. For example:

    dateline sources preview https://example.org/news --guess
    """
    now = datetime.now(UTC)
    settings = settings_from()

    async def work(store: Store) -> dict[str, Any]:
        fields = {"url": url, **_fields({**options, "guess": options["guess"] or None})}
        return await manage_previews.preview(store, fields, settings=settings, now=now)

    preview = with_store(settings, work)
    if as_json:
        say_json(preview)
    else:
        show_preview(preview)
    if is_failure(preview):
        sys.exit(1)


@group.command("set")
@click.argument("source")
@settings_of_source
@AS_JSON
def set_source(source: str, as_json: bool, **options: Any) -> None:
    """Change settings of a source. Settings that are not named stay as they are."""
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        return (await manage_sources.change(store, source, _fields(options), now=now)).to_public()

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("list")
@AS_JSON
def list_sources(as_json: bool) -> None:
    """List all sources, one a line: id, state, time of the next poll, URL.

    States: new (not polled yet), ok, live (its hub pushes to us), failing, paused.
    """
    now = datetime.now(UTC)

    async def shown(store: Store) -> AsyncIterator[list[dict[str, Any]]]:
        async for part in store.sources.in_parts():
            sources = [await manage_sources.to_public(store, each, now=now) for each in part]
            if not as_json:
                sources = [{**source, "state": _state(source)} for source in sources]
            yield sources

    async def work(store: Store) -> None:
        await show_parts(shown(store), "id", "state", "due", "url", as_json=as_json)

    with_store(settings_from(), work)


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
@click.option("--secrets", is_flag=True, help="Include headers, cookies and passwords of proxies.")
def export_sources(secrets: bool) -> None:
    """Write all sources as OPML to stdout; `dateline import` reads it again.

    Headers, cookies and passwords are secret and are left out, unless --secrets is set.
    """

    async def work(store: Store) -> None:
        async for part in manage_sources.exported_parts(store, with_secrets=secrets):
            sys.stdout.buffer.write(part)

    with_store(settings_from(), work)


@group.command("discover")
@click.argument("url")
@AS_JSON
def discover_feeds(url: str, as_json: bool) -> None:
    """List the feeds of a site without adding any of them."""
    pass_on("discover", (url, *(["--json"] if as_json else [])))
