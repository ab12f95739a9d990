"""`dateline webhooks …`: who is told of new articles. As the API (service/web/manage.py)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

from service import endpoints, signing
from service.cli import main, settings_from, with_store
from service.commands.showing import AS_JSON, show
from service.storage.store import Store
from service.webhooks import DEFAULT_OVERLAP_S, MAX_OVERLAP_S

_SIGNATURE = click.option(
    "--signature",
    type=click.Choice(("", *signing.VERSIONS)),
    default="",
    show_default="v1, or as before",
    help="v1: HMAC with a shared secret; v1a: ed25519, verified by a public key.",
)


@main.group("webhooks")
def hooks() -> None:
    """Who is told of new articles."""


@hooks.command("add")
@click.argument("url")
@click.option("--category", "paths", multiple=True, help="Only this category; may be repeated.")
@click.option("--type", "types", multiple=True, help="Only this event type; may be repeated.")
@_SIGNATURE
@AS_JSON
def add_webhook(
    url: str, paths: tuple[str, ...], types: tuple[str, ...], signature: str, as_json: bool
) -> None:
    """Tell a URL of everything from now on. The secret is shown this once."""
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        fields = {"url": url, "categories": paths, "types": types, "signature": signature}
        return await endpoints.add(store, fields, now=now)

    show(with_store(settings_from(), work), as_json=as_json)


@hooks.command("list")
@AS_JSON
def list_webhooks(as_json: bool) -> None:
    """All webhooks and their states."""
    show(with_store(settings_from(), endpoints.all_shown), as_json=as_json)


@hooks.command("attempts")
@click.argument("webhook_id")
@AS_JSON
def list_attempts(webhook_id: str, as_json: bool) -> None:
    """The newest attempts at delivery, newest first."""

    async def work(store: Store) -> list[dict[str, str]]:
        await endpoints.find(store, webhook_id)
        return await store.deliveries.attempts(webhook_id, limit=endpoints.MAX_ATTEMPTS)

    show(with_store(settings_from(), work), as_json=as_json)


@hooks.command("test")
@click.argument("webhook_id")
def test_webhook(webhook_id: str) -> None:
    """Send a test message; see `dateline webhooks attempts` for what came of it."""

    async def work(store: Store) -> str:
        return await endpoints.request_test(store, webhook_id)

    click.echo(with_store(settings_from(), work))


@hooks.command("rotate")
@click.argument("webhook_id")
@click.option(
    "--overlap-s",
    type=click.FloatRange(0, MAX_OVERLAP_S),
    default=DEFAULT_OVERLAP_S,
    show_default=True,
    help="How long the old key goes on signing beside the new one.",
)
@_SIGNATURE
@AS_JSON
def rotate_webhook(webhook_id: str, overlap_s: float, signature: str, as_json: bool) -> None:
    """Give it another key. The secret is shown this once."""
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        fields = {"overlap_s": overlap_s, "signature": signature}
        return await endpoints.rotate(store, webhook_id, fields, now=now)

    show(with_store(settings_from(), work), as_json=as_json)


@hooks.command("remove")
@click.argument("webhook_id")
def remove_webhook(webhook_id: str) -> None:
    """Tell it nothing more."""

    async def work(store: Store) -> None:
        await endpoints.remove(store, webhook_id)

    with_store(settings_from(), work)
