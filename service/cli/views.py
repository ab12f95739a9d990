"""`dateline views …`: saved selections, as in the API (service/web/handlers/views.py)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from service.cli.output import AS_JSON, show, show_list
from service.cli.running import settings_from, with_store
from service.manage import views
from service.storage.store import Store


@click.group("views")
def group() -> None:
    """Manage views: saved selections of articles, each served as a feed."""


@group.command("add")
@click.argument("name")
@click.argument("query")
@click.option("--title", default="", help="Title of the feed; derived from NAME if omitted.")
@click.option(
    "--category",
    default="all",
    show_default=True,
    help="Select from this category and those below it.",
)
@click.option(
    "--private", is_flag=True, help="Serve it only at private addresses; see `dateline private`."
)
@click.option("--replace", is_flag=True, help="Replace an existing view of this name.")
@AS_JSON
def add_view(
    name: str, query: str, title: str, category: str, private: bool, replace: bool, as_json: bool
) -> None:
    """Add a view: serve what QUERY selects at /feeds/views/NAME.rss.

    QUERY has the parameters of a feed's URL, so you can test it there first. For example:

    dateline views add weather 'any=fog,storm&lang=en'
    """
    settings, now = settings_from(), datetime.now(UTC)
    fields = {
        "name": name, "query": query, "title": title, "category": category, "private": private,
    }  # fmt: skip

    async def work(store: Store) -> dict[str, Any]:
        view, _ = await views.put(store, fields, now=now, replace=replace)
        return await views.to_public(store, view, settings)

    show(with_store(settings, work), as_json=as_json)


@group.command("list")
@AS_JSON
def list_views(as_json: bool) -> None:
    """List all views and the progress of their indexes."""
    settings = settings_from()

    async def work(store: Store) -> list[dict[str, Any]]:
        return await views.all_public(store, settings)

    show_list(
        with_store(settings, work), "name", "articles", "indexed", "query", "url", as_json=as_json
    )


@group.command("show")
@click.argument("name")
@AS_JSON
def show_view(name: str, as_json: bool) -> None:
    """Show a view, its URL, and the progress of its index."""
    settings = settings_from()

    async def work(store: Store) -> dict[str, Any]:
        return await views.to_public(store, await views.find(store, name), settings)

    show(with_store(settings, work), as_json=as_json)


@group.command("remove")
@click.argument("name")
def remove_view(name: str) -> None:
    """Remove a view, its index and its private feeds.

    A view that webhooks follow is refused.
    """

    async def work(store: Store) -> None:
        await views.remove(store, name)

    with_store(settings_from(), work)
