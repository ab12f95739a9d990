"""Those who are pushed to: receivers of webhooks, and a subscriber of the hub.

The harness's own server has them; it stays up in every fault. Now and then it answers 500, so that
messages are sent again, too. Contents are kept as hashes.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import time
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from standardwebhooks import Webhook, WebhookVerificationError

from chaos.ledger import Ledger, doubled

FAILS = 0.01
"""Share of the messages that are answered with 500."""
HUB_SECRET = "a secret of the subscriber"


@dataclass(slots=True, kw_only=True)
class Receiver:
    """One webhook."""

    name: str
    fields: dict[str, Any]
    """What it is registered with."""
    webhook_id: str = ""
    secret: str = ""
    order: dict[str, float] = field(default_factory=dict)
    """Event id → when it came first (`time.monotonic`), in this order."""
    digests: dict[str, str] = field(default_factory=dict)
    """Event id → digest of its data."""
    again: int = 0
    """Events that had come before."""

    def wants(self, categories: list[str]) -> bool:
        """Whether an article of these categories is for this webhook."""
        wanted: list[str] = self.fields.get("categories", [])
        return not wanted or any(
            path == each or path.startswith(f"{each}/") for path in categories for each in wanted
        )


def receivers() -> list[Receiver]:
    """One of each kind: singly, in batches, as CloudEvents of one category."""
    return [
        Receiver(name="single", fields={}),
        Receiver(name="batch", fields={"batch": 20}),
        Receiver(name="cloudevents", fields={"format": "cloudevents", "categories": ["harbour"]}),
    ]


class Receivers:
    """Handlers of webhooks and of the hub's pushes."""

    def __init__(self, ledger: Ledger, *, seed: int) -> None:
        self.webhooks = {receiver.name: receiver for receiver in receivers()}
        self.pushed: dict[str, list[str]] = {}
        """Topic → ids of the articles in the feed that was pushed last."""
        self.pushes = 0
        self.verified: set[str] = set()
        """Topics whose subscription was confirmed."""
        self._ledger = ledger
        self._chance = random.Random(f"receivers {seed}")

    async def take(self, request: web.Request) -> web.StreamResponse:
        """Take a message of a webhook."""
        receiver = self.webhooks[request.match_info["name"]]
        body = await request.read()
        try:
            Webhook(receiver.secret).verify(body, dict(request.headers))
        except WebhookVerificationError as exc:
            self._ledger.violate("a webhook with a wrong signature", f"{receiver.name}: {exc}")
            return web.Response(status=400)
        if self._chance.random() < FAILS:
            return web.Response(status=500)
        for event_id, data in _events(orjson.loads(body), request.headers["webhook-id"]):
            self._note(receiver, event_id, data)
        return web.Response()

    def _note(self, receiver: Receiver, event_id: str, data: dict[str, Any]) -> None:
        digest = digest_of(data)
        if event_id not in receiver.order:
            receiver.order[event_id] = time.monotonic()
            receiver.digests[event_id] = digest
            return
        receiver.again += 1
        if receiver.digests[event_id] != digest:
            self._ledger.violate("an event id names two contents", f"{receiver.name} {event_id}")

    async def confirm(self, request: web.Request) -> web.StreamResponse:
        """Confirm a subscription."""
        if request.query.get("hub.mode") == "denied":
            self._ledger.violate("a subscription was denied", dict(request.query))
            return web.Response()
        self.verified.add(request.match_info["name"])
        return web.Response(text=request.query["hub.challenge"])

    async def take_push(self, request: web.Request) -> web.StreamResponse:
        """Take a whole feed."""
        body = await request.read()
        signature = hmac.new(HUB_SECRET.encode(), body, hashlib.sha256).hexdigest()
        if request.headers.get("X-Hub-Signature") != f"sha256={signature}":
            self._ledger.violate("a push with a wrong signature", request.path)
            return web.Response(status=400)
        ids = [item["id"] for item in orjson.loads(body)["items"]]
        if doubled(ids):
            self._ledger.violate("doubled", f"push {request.path}: {doubled(ids)}")
        self.pushed[request.match_info["name"]] = ids
        self.pushes += 1
        return web.Response()


def digest_of(data: dict[str, Any]) -> str:
    """A short name of an event's content, whatever the order of its fields is."""
    return hashlib.sha256(orjson.dumps(data, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def _events(message: Any, message_id: str) -> list[tuple[str, dict[str, Any]]]:
    """(event id, data) of each event in a message of any format."""
    if isinstance(message, dict) and "specversion" in message:
        return [(message["id"], message["data"])]
    if isinstance(message["data"], list):
        return [(event["id"], event["data"]) for event in message["data"]]
    return [(message_id, message["data"])]
