"""`dateline webhooks …`: URLs that are notified of articles, as in the API
(service/web/handlers/webhooks.py).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click

from service.cli.options import Pair
from service.cli.output import AS_JSON, say, show, show_list, show_parts
from service.cli.running import settings_from, warn_of_private, with_store
from service.manage import webhooks
from service.storage.store import Store
from service.webhooks import payloads, signing, webhook

# Far over signing.MAX_SECRET_BYTES: what is longer is refused, not read to its end.
MAX_SECRET_CHARS = 1_000
_SIGNATURE = click.option(
    "--signature",
    type=click.Choice(signing.VERSIONS),
    help="v1: HMAC with a shared secret; v1a: ed25519, verified with a public key. If not set: v1, "
    "or as before.",
)
_SECRET = click.option(
    "--secret-file",
    "secret",
    type=click.File(errors="replace"),
    help="File with the shared secret (whsec_…) that the receiver has already; - reads stdin. If "
    "not set, a secret is generated.",
)
_LIMIT = click.option(
    "--limit",
    type=click.IntRange(1, webhooks.MAX_LISTED),
    default=webhooks.MAX_LISTED,
    help="Show at most this many.",
)
_SETTINGS = (
    click.option(
        "--category",
        "categories",
        multiple=True,
        help="Send only this category and those below it; may be repeated.",
    ),
    click.option(
        "--type",
        "types",
        multiple=True,
        help="Send only this event type, e.g. dateline.article.published.v1; may be repeated.",
    ),
    click.option(
        "--query", help="Send only matching articles, as in a feed's URL: 'lang=en&tag=ferries'."
    ),
    click.option("--view", help="Send only articles of this view."),
    click.option(
        "--payload",
        type=click.Choice(payloads.PAYLOADS),
        help="full: the whole article; summary: without its text; id: id, URL, revision, status.",
    ),
    click.option("--format", type=click.Choice(payloads.FORMATS), help="Format of the messages."),
    click.option("--batch", type=int, help="Most events in one request; 1 if not set."),
    click.option("--linger-ms", type=int, help="Milliseconds that a batch waits to fill."),
    click.option("--max-bytes", type=int, help="Largest size of a batch in bytes."),
    click.option(
        "--header",
        "headers",
        multiple=True,
        type=Pair(":"),
        metavar="NAME:VALUE",
        help="Header to send with each request; may be repeated.",
    ),
    click.option("--rate-per-s", type=float, help="Most requests per second; 0 for no limit."),
    click.option(
        "--on-failure",
        type=click.Choice(webhook.ON_FAILURE),
        help="block: wait until the failed event is delivered, so that the order is kept; "
        "skip: give it up after all retries and send the next.",
    ),
)


def _with_settings(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_SETTINGS):
        command = option(command)
    return command


def _set_fields(options: dict[str, Any]) -> dict[str, Any]:
    """The options that the user set, as fields of the API."""
    fields = {name: value for name, value in options.items() if value not in (None, ())}
    if "headers" in fields:
        fields["headers"] = dict(fields["headers"])
    if "secret" in fields:
        # A command line is seen by all users of the machine: the secret comes from a file.
        fields["secret"] = fields["secret"].read(MAX_SECRET_CHARS).strip()
        if not fields["secret"]:
            raise click.BadParameter("is empty", param_hint="--secret-file")
    return fields


@click.group("webhooks")
def group() -> None:
    """Manage webhooks: URLs that are notified of articles."""


@group.command("add")
@click.argument("url")
@_with_settings
@_SIGNATURE
@_SECRET
@AS_JSON
def add_webhook(url: str, as_json: bool, **options: Any) -> None:
    """Add a webhook: notify URL of events from now on. The secret is shown only this once.

    Without options, every event is sent. For example:

    dateline webhooks add https://example.org/hook --category news
    """
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        return await webhooks.add(store, {"url": url, **_set_fields(options)}, now=now)

    settings = settings_from()
    show(with_store(settings, work), as_json=as_json)
    warn_of_private(url, settings)


@group.command("set")
@click.argument("webhook_id")
@click.option("--url", help="URL to send to.")
@_with_settings
@click.option(
    "--paused/--not-paused",
    default=None,
    help="Stop sending, or continue from the same position.",
)
@click.option(
    "--reset",
    multiple=True,
    metavar="SETTING",
    help="Reset a setting to its default, e.g. --reset rate-per-s; may be repeated.",
)
@AS_JSON
def set_webhook(webhook_id: str, reset: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Change settings of a webhook. It continues from its present position."""

    async def work(store: Store) -> dict[str, Any]:
        names = (name.replace("-", "_") for name in reset)
        return await webhooks.change(
            store, webhook_id, {**dict.fromkeys(names), **_set_fields(options)}
        )

    settings = settings_from()
    show(with_store(settings, work), as_json=as_json)
    if options["url"]:
        warn_of_private(options["url"], settings)


@group.command("list")
@AS_JSON
def list_webhooks(as_json: bool) -> None:
    """List all webhooks and their states."""

    async def work(store: Store) -> None:
        parts = webhooks.parts_public(store)
        await show_parts(parts, "id", "state", "waiting", "url", as_json=as_json)

    with_store(settings_from(), work)


@group.command("show")
@click.argument("webhook_id")
@AS_JSON
def show_webhook(webhook_id: str, as_json: bool) -> None:
    """Show a webhook: its settings, its state and how many events wait for it."""

    async def work(store: Store) -> dict[str, Any]:
        return (await webhooks.to_public(store, [await webhooks.find(store, webhook_id)]))[0]

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("attempts")
@click.argument("webhook_id")
@_LIMIT
@AS_JSON
def list_attempts(webhook_id: str, limit: int, as_json: bool) -> None:
    """List the latest delivery attempts, newest first."""

    async def work(store: Store) -> list[dict[str, str | int]]:
        await webhooks.find(store, webhook_id)
        return await store.webhooks.attempts(webhook_id, limit=limit)

    attempts = with_store(settings_from(), work)
    show_list(attempts, "time", "status", "duration_ms", "message_id", "error", as_json=as_json)


@group.command("dead-letters")
@click.argument("webhook_id")
@_LIMIT
@AS_JSON
def list_dead_letters(webhook_id: str, limit: int, as_json: bool) -> None:
    """List the events that were given up (--on-failure skip), newest first."""

    async def work(store: Store) -> list[dict[str, str | int]]:
        await webhooks.find(store, webhook_id)
        return await store.webhooks.dead_letters(webhook_id, limit=limit)

    letters = with_store(settings_from(), work)
    show_list(letters, "time", "events", "message_id", "status", "error", as_json=as_json)


@group.command("operations")
@_LIMIT
@AS_JSON
def list_operations(limit: int, as_json: bool) -> None:
    """List what happened to webhooks: disabled, failing, recovered, gap; newest first."""

    async def work(store: Store) -> list[dict[str, Any]]:
        return await store.operations.newest(limit=limit)

    listed = with_store(settings_from(), work)
    show_list(listed, "time", "type", "subject", "data", as_json=as_json)


@group.command("test")
@click.argument("webhook_id")
def test_webhook(webhook_id: str) -> None:
    """Send a test message; `dateline webhooks attempts` shows the result."""

    async def work(store: Store) -> str:
        return await webhooks.request_test(store, webhook_id)

    say(with_store(settings_from(), work))


@group.command("resume")
@click.argument("webhook_id")
@click.option(
    "--from",
    "start",
    default=webhooks.CURSOR,
    show_default=True,
    help="Where to continue: cursor (where it stopped), now, a time (RFC 3339), or the id of an "
    "event (continue after it).",
)
@AS_JSON
def resume_webhook(webhook_id: str, start: str, as_json: bool) -> None:
    """Resume a disabled webhook, or move a webhook to another position.

    For example: dateline webhooks resume WEBHOOK_ID --from 2026-01-05T12:00:00Z
    """
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        return await webhooks.resume(store, webhook_id, {"from": start}, now=now)

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("replay")
@click.argument("webhook_id")
@click.option("--event", help="Send this event, by its id.")
@click.option("--since", help="Send all events from this time on (RFC 3339).")
@click.option("--until", help="With --since: send only events before this time.")
@click.option("--failures-since", help="Send the events that were given up since this time.")
@AS_JSON
def replay_webhook(webhook_id: str, as_json: bool, **options: str | None) -> None:
    """Send events again, with the same ids, while new events are sent as usual.

    Choose one of --event, --since and --failures-since. For example:

    dateline webhooks replay WEBHOOK_ID --since 2026-01-05T12:00:00Z
    """

    fields = _set_fields(options)
    if len(fields.keys() - {"until"}) != 1 or ("until" in fields and "since" not in fields):
        raise click.UsageError("give one of --event, --since (with --until) and --failures-since")

    async def work(store: Store) -> dict[str, Any]:
        return await webhooks.replay(store, webhook_id, fields)

    replay = with_store(settings_from(), work)
    if as_json:
        show(replay, as_json=True)
    elif not replay["ranges"]:
        say("no event to send again")
    else:
        count = replay["ranges"]
        say(f"sending again {count} {'range' if count == 1 else 'ranges'} of events")


@group.command("rotate")
@click.argument("webhook_id")
@click.option(
    "--overlap-s",
    type=click.FloatRange(0, int(webhook.MAX_OVERLAP_S)),
    default=int(webhook.DEFAULT_OVERLAP_S),
    show_default=True,
    help="Seconds for which the old key also signs each message.",
)
@_SIGNATURE
@_SECRET
@AS_JSON
def rotate_webhook(webhook_id: str, as_json: bool, **options: Any) -> None:
    """Replace the signing key of a webhook. The new secret is shown only this once."""
    now = datetime.now(UTC)

    async def work(store: Store) -> dict[str, Any]:
        return await webhooks.rotate(store, webhook_id, _set_fields(options), now=now)

    show(with_store(settings_from(), work), as_json=as_json)


@group.command("remove")
@click.argument("webhook_id")
def remove_webhook(webhook_id: str) -> None:
    """Remove a webhook with its logs and dead letters."""

    async def work(store: Store) -> None:
        await webhooks.remove(store, webhook_id)

    with_store(settings_from(), work)
