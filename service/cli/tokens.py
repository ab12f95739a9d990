"""`dateline tokens …`: API tokens, as in the API (service/web/handlers/tokens.py)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from service.cli.output import AS_JSON, show, show_list
from service.cli.running import settings_from, with_store
from service.manage import tokens
from service.storage.store import Store
from service.tokens.token import Scope

SCOPES = [scope.value for scope in Scope]


@click.group("tokens")
def group() -> None:
    """Manage API tokens: who may publish, read and manage through the API."""


@group.command("add")
@click.option("--name", required=True, help="Name of its user; no two tokens have the same name.")
@click.option("--scope", "scopes", required=True, multiple=True, type=click.Choice(SCOPES),
              help="Scope of the token; may be repeated. admin covers everything.")  # fmt: skip
@click.option("--category", "categories", multiple=True,
              help="Publish only to this category and those below it; "
                   "may be repeated.")  # fmt: skip
@click.option("--source", default="", help="Publish only as this source (a URI).")
@click.option("--expires", default="", help="A duration such as 90d, a day, or a time (RFC 3339).")
@AS_JSON
def add_token(
    name: str, scopes: tuple[str, ...], categories: tuple[str, ...], source: str, expires: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Create a token. Its text is shown only this once.

    For example: dateline tokens add --name "Harbour desk" --scope publish --category harbour-news
    """
    settings, now = settings_from(), datetime.now(UTC)
    fields = {
        "name": name, "scope": " ".join(scopes), "categories": categories, "source": source,
        "expires": expires,
    }  # fmt: skip

    async def work(store: Store) -> dict[str, Any]:
        return await tokens.add(store, fields, settings, now=now)

    show(with_store(settings, work), as_json=as_json)


@group.command("list")
@AS_JSON
def list_tokens(as_json: bool) -> None:
    """List all tokens with their last use, without their texts."""
    listed = with_store(settings_from(), tokens.all_public)
    columns = ("id", "name", "scope", "categories", "source", "expires", "last_used")
    show_list(listed, *columns, as_json=as_json)


@group.command("revoke")
@click.argument("token")
def revoke_token(token: str) -> None:
    """Revoke TOKEN, an id or a name: servers refuse it within 3 seconds.

    `dateline tokens list` shows both.
    """
    settings, now = settings_from(), datetime.now(UTC)

    async def work(store: Store) -> None:
        await tokens.revoke(store, token, settings, now=now)

    with_store(settings, work)
