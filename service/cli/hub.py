"""`dateline hub …`: subscriptions to our WebSub hub, as in the API
(service/web/handlers/hub.py).
"""

from __future__ import annotations

import click

from service.cli.output import AS_JSON, show_list
from service.cli.running import settings_from, with_store
from service.manage import hub


@click.group("hub")
def group() -> None:
    """Manage the subscribers to which our WebSub hub pushes feeds."""


@group.command("list")
@AS_JSON
def list_subscribers(as_json: bool) -> None:
    """List the subscriptions that their callbacks have confirmed."""
    subscriptions = with_store(settings_from(), hub.all_public)
    show_list(subscriptions, "id", "expires", "failures", "topic", "callback", as_json=as_json)


@group.command("remove")
@click.argument("subscription_id")
def remove_subscriber(subscription_id: str) -> None:
    """End a subscription. Its callback is notified and need not agree.

    `dateline hub list` shows the ids.
    """
    with_store(settings_from(), lambda store: hub.remove(store, subscription_id))
