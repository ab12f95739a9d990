"""Signatures as the reference library judges them; verdicts, delays and matching by tables."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook as Reference
from standardwebhooks import WebhookVerificationError

from service import webhooks
from service.errors import InvalidInput
from service.retries import retry_after_s
from service.webhooks import Answer, Verdict, Webhook

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def make(**fields: Any) -> Webhook:
    """One, from what a client would ask."""
    return webhooks.make(
        {"url": "http://x.example/", **fields}, webhook_id="w", secret="whsec_eA==", created=NOW
    )


def test_the_reference_library_accepts_what_we_sign() -> None:
    """And refuses it with another secret, id or body."""
    secret = webhooks.new_secret()
    payload = webhooks.body(event_type="t", time="x", data='{"title":"é"}'.encode())
    now = datetime.now(UTC)
    headers = webhooks.headers(secret, message_id="m", attempted=now, payload=payload)
    assert {"type": "t", "timestamp": "x", "data": {"title": "é"}} == Reference(secret).verify(
        payload, headers
    )
    for other_secret, body, changed in (
        (webhooks.new_secret(), payload, {}),
        (secret, payload + b" ", {}),
        (secret, payload, {"webhook-id": "n"}),
    ):
        with pytest.raises(WebhookVerificationError):
            Reference(other_secret).verify(body, headers | changed)


def test_secrets_are_long_and_differ() -> None:
    """32 random bytes."""
    first, second = webhooks.new_secret(), webhooks.new_secret()
    assert first != second
    assert 44 == len(first.removeprefix("whsec_"))


def test_a_webhook_is_kept_whole_and_shown_without_its_secret() -> None:
    """from_json(to_json(w)) == w."""
    webhook = make(categories=["Media Center/News"], types=[webhooks.TYPES[0]])
    assert webhook == Webhook.from_json(webhook.to_json())
    assert "secret" not in webhook.shown()
    assert ("media-center/news",) == webhook.categories


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, Verdict.DELIVERED), (204, Verdict.DELIVERED), (299, Verdict.DELIVERED),
     (0, Verdict.RETRY), (199, Verdict.RETRY), (301, Verdict.RETRY), (308, Verdict.RETRY),
     (400, Verdict.RETRY), (404, Verdict.RETRY), (429, Verdict.RETRY), (500, Verdict.RETRY),
     (410, Verdict.GONE)],
)  # fmt: skip
def test_verdicts(status: int, verdict: Verdict) -> None:
    """2xx alone is success."""
    assert verdict is webhooks.judge(Answer(status=status))


@pytest.mark.parametrize(
    ("attempt", "retry_after", "low", "high"),
    [
        (1, "", 4, 6), (2, "", 80, 120), (9, "", 80, 120), (1, "8", 6.4, 9.6), (1, "3", 4, 6),
        (1, "9999", 8, 12), (1, "garbage", 4, 6), (1, "Mon, 05 Jan 2026 12:00:07 GMT", 5.6, 8.4),
        (1, "Mon, 05 Jan 2020 12:00:07 GMT", 4, 6),
    ],
)  # fmt: skip
def test_delays(attempt: int, retry_after: str, low: float, high: float) -> None:
    """By the schedule, its last step repeated; Retry-After up to twice ours; ± 20 %."""

    def delay(chance: float) -> float:
        return webhooks.retry_delay_s(
            attempt, schedule_s=(5, 100), retry_after=retry_after, now=NOW, chance=chance
        )

    assert (pytest.approx(low), pytest.approx(high)) == (delay(0), delay(1))


@pytest.mark.parametrize(
    ("header", "expected"),
    [("120", 120), (" 0 ", 0), ("Mon, 05 Jan 2026 12:01:00 GMT", 60), ("", None), ("-5", None),
     ("1.5", None), ("٥", None), ("Mon, 05 Jan 2026", None)],
)  # fmt: skip
def test_retry_after(header: str, expected: float | None) -> None:
    """Seconds or a date; garbage is nothing."""
    assert expected == retry_after_s(header, NOW)


@pytest.mark.parametrize(
    ("fields", "event_type", "paths", "expected"),
    [
        ({}, "t", [], True),
        ({"categories": ["a"]}, "t", ["a"], True),
        ({"categories": ["a"]}, "t", ["a/b"], True),
        ({"categories": ["a"]}, "t", ["ab"], False),
        ({"categories": ["a/b"]}, "t", ["a"], False),
        ({"categories": ["a", "c"]}, "t", ["b", "c/d"], True),
        ({"categories": ["a"]}, "t", [], False),
        ({"types": [webhooks.TYPES[0]]}, webhooks.TYPES[0], [], True),
        ({"types": [webhooks.TYPES[0]]}, webhooks.TYPES[1], [], False),
    ],
)
def test_matching(
    fields: dict[str, Any], event_type: str, paths: list[str], expected: bool
) -> None:
    """Types, and categories with those below."""
    assert expected == webhooks.matches(make(**fields), event_type=event_type, paths=paths)


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"url": 5}, "url"), ({"url": "http://" + "x" * 3_000}, "url"),
     ({"url": "http://a:b@x/"}, "url"),
     ({"types": ["nope"]}, "types"), ({"types": "x"}, "types"), ({"categories": [5]}, "categories"),
     ({"categories": ["!"]}, "category"), ({"odd": 1}, "odd")],
)  # fmt: skip
def test_what_is_refused(fields: dict[str, Any], field: str) -> None:
    """By the name of the field."""
    with pytest.raises(InvalidInput) as caught:
        make(**fields)
    assert field == caught.value.field


def test_the_timestamp_is_the_attempts() -> None:
    """The id stays over all attempts, the timestamp does not."""
    first = webhooks.headers("whsec_eA==", message_id="m", attempted=NOW, payload=b"x")
    later = NOW + timedelta(seconds=5)
    second = webhooks.headers("whsec_eA==", message_id="m", attempted=later, payload=b"x")
    assert first["webhook-id"] == second["webhook-id"]
    assert 5 == int(second["webhook-timestamp"]) - int(first["webhook-timestamp"])
