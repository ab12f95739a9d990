"""`dateline webhooks …`: who is notified of new articles. The same as the API
(service/web/handlers/webhooks.py)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from service.cli.output import AS_JSON, show
from service.cli.running import settings_from, with_store
from service.manage import webhooks
from service.storage.store import Store
from service.webhooks import payloads, signing, webhook

_SIGNATURE = click.option(
    "--signature",
    type=click.Choice(("", *signing.VERSIONS)),
    default="",
    show_default="v1, or as before",
    help="v1: HMAC with a shared secret; v1a: ed25519, verified by a public key.",
)
_LIMIT = click.option(
    "--limit",
    type=click.IntRange(1, webhooks.MAX_LISTED),
    default=webhooks.MAX_LISTED,
    help="Show at most this many.",
)
_SETTINGS = (
    click.option(
        "--category", "categories", multiple=True, help="Only this and below; may be repeated."
    ),
    click.option("--type", "types", multiple=True, help="Only this event type; may be repeated."),
    click.option("--query", help="Only what matches, as in a feed's URL: 'lang=en&tag=ferries'."),
    click.option("--view", help="Only what is in this view."),
    click.option("--payload", type=click.Choice(payloads.PAYLOADS), help="How much of an article."),
    click.option("--format", type=click.Choice(payloads.FORMATS), help="Of the messages."),
    click.option("--batch", type=int, help="At most so many events in a request; 1 unless set."),
    click.option("--linger-ms", type=int, help="How long a batch that is not full waits."),
    click.option("--max-bytes", type=int, help="Of a batch."),
    click.option(
        "--header", "headers", multiple=True, help="'Name: value' to send; may be repeated."
    ),
    click.option("--rate-per-s", type=float, help="Requests a second at most; 0 for no limit."),
    click.option(
        "--on-failure",
        type=click.Choice(webhook.ON_FAILURE),
        help="block keeps the order, skip goes on after all retries.",
    ),
)


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """Of the options those that were given, as the API has them."""
    fields = {name: value for name, value in options.items() if value not in (None, ())}
    if "headers" in fields:
        pairs = (header.partition(":") for header in fields["headers"])
        fields["headers"] = {name.strip(): value.strip() for name, _, value in pairs}
    return fields


@click.group("webhooks")
def group() -> None:
    """Notify URLs of new articles."""


@group.command("add")
@click.argument("url")
@_with_settings
@_SIGNATURE
@AS_JSON
def add_webhook(url: str, signature: str, as_json: bool, **options: Any) -> None:
    """Notify a URL of everything from now on. The secret is shown only this once."""
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        fields = {"url": url, "signature": signature, **_given(options)}
        return await webhooks.add(store, fields, now=now)

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("set")
@click.argument("webhook_id")
@click.option("--url", help="Where to send.")
@_with_settings
@click.option("--paused/--not-paused", default=None, help="Send nothing meanwhile, or go on.")
@click.option("--reset", multiple=True, help="Put a setting back to its default: its name.")
@AS_JSON
def set_webhook(webhook_id: str, reset: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Change settings; it goes on from where it is."""

    async def work(store: Store) -> dict[str, Any]:
        names = (name.replace("-", "_") for name in reset)
        return await webhooks.change(store, webhook_id, {**dict.fromkeys(names), **_given(options)})

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("list")
@AS_JSON
def list_webhooks(as_json: bool) -> None:
    """All webhooks and their states."""
    show(with_store(settings_from(), webhooks.all_public), as_json=as_json)


@group.command("show")
@click.argument("webhook_id")
@AS_JSON
def show_webhook(webhook_id: str, as_json: bool) -> None:
    """One webhook: settings, state, how far it is behind."""

    async def work(store: Store) -> dict[str, Any]:
        return (await webhooks.to_public(store, [await webhooks.find(store, webhook_id)]))[0]

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("attempts")
@click.argument("webhook_id")
@_LIMIT
@AS_JSON
def list_attempts(webhook_id: str, limit: int, as_json: bool) -> None:
    """The newest attempts at delivery, newest first."""

    async def work(store: Store) -> list[dict[str, str | int]]:
        await webhooks.find(store, webhook_id)
        return await store.webhooks.attempts(webhook_id, limit=limit)

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("dead-letters")
@click.argument("webhook_id")
@_LIMIT
@AS_JSON
def list_dead_letters(webhook_id: str, limit: int, as_json: bool) -> None:
    """Events that were given up (--on-failure skip), newest first."""

    async def work(store: Store) -> list[dict[str, str | int]]:
        await webhooks.find(store, webhook_id)
        return await store.webhooks.dead_letters(webhook_id, limit=limit)

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("operations")
@_LIMIT
@AS_JSON
def list_operations(limit: int, as_json: bool) -> None:
    """Events for operators: disabled, failing, recovered, gap; newest first."""

    async def work(store: Store) -> list[dict[str, Any]]:
        return await store.webhooks.operations(limit=limit)

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("test")
@click.argument("webhook_id")
def test_webhook(webhook_id: str) -> None:
    """Send a test message; `dateline webhooks attempts` shows the result."""

    async def work(store: Store) -> str:
        return await webhooks.request_test(store, webhook_id)

    click.echo(with_store(settings_from(), work))


@group.command("resume")
@click.argument("webhook_id")
@click.option(
    "--from",
    "start",
    default=webhooks.CURSOR,
    show_default=True,
    help="cursor: where it stood; now; a time (RFC 3339); or the id of the event to go on after.",
)
@AS_JSON
def resume_webhook(webhook_id: str, start: str, as_json: bool) -> None:
    """Go on with a webhook that was disabled, or from another place."""
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        return await webhooks.resume(store, webhook_id, {"from": start}, now=now)

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("replay")
@click.argument("webhook_id")
@click.option("--event", help="This one, by its id.")
@click.option("--since", help="All from this time on (RFC 3339).")
@click.option("--until", help="With --since: those before this time.")
@click.option("--failures-since", help="Those given up since this time.")
@AS_JSON
def replay_webhook(webhook_id: str, as_json: bool, **options: str | None) -> None:
    """Send events again, under the same ids, beside what comes."""

    async def work(store: Store) -> dict[str, Any]:
        return await webhooks.replay(store, webhook_id, _given(options))

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("rotate")
@click.argument("webhook_id")
@click.option(
    "--overlap-s",
    type=click.FloatRange(0, webhook.MAX_OVERLAP_S),
    default=webhook.DEFAULT_OVERLAP_S,
    show_default=True,
    help="How long the old key goes on signing beside the new one.",
)
@_SIGNATURE
@AS_JSON
def rotate_webhook(webhook_id: str, overlap_s: float, signature: str, as_json: bool) -> None:
    """Replace the signing key. The secret is shown only this once."""
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        fields = {"overlap_s": overlap_s, "signature": signature}
        return await webhooks.rotate(store, webhook_id, fields, now=now)

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("remove")
@click.argument("webhook_id")
def remove_webhook(webhook_id: str) -> None:
    """Remove a webhook and everything about it."""

    async def work(store: Store) -> None:
        await webhooks.remove(store, webhook_id)

    with_store(settings_from(), work)
