"""Signatures as the reference library judges them; verdicts, delays and matching by tables."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook as Reference
from standardwebhooks import WebhookVerificationError

from service import signing, webhooks
from service.errors import InvalidInput
from service.retries import retry_after_s
from service.webhooks import Answer, Verdict, Webhook

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def make(**fields: Any) -> Webhook:
    """One, from what a client would ask."""
    return webhooks.make({"url": "http://x.example/", **fields}, webhook_id="w", created=NOW)


def test_the_reference_library_accepts_what_we_sign() -> None:
    """And refuses it with another secret, id or body."""
    key = signing.new_key("v1")
    payload = webhooks.body(event_type="t", time="x", data='{"title":"é"}'.encode())
    now = datetime.now(UTC)
    headers = signing.headers([key], message_id="m", attempted=now, payload=payload)
    assert {"type": "t", "timestamp": "x", "data": {"title": "é"}} == Reference(key.secret).verify(
        payload, headers
    )
    for other_secret, body, changed in (
        (signing.new_key("v1").secret, payload, {}),
        (key.secret, payload + b" ", {}),
        (key.secret, payload, {"webhook-id": "n"}),
    ):
        with pytest.raises(WebhookVerificationError):
            Reference(other_secret).verify(body, headers | changed)


def test_secrets_are_long_and_differ() -> None:
    """32 random bytes."""
    first, second = signing.new_key("v1").secret, signing.new_key("v1").secret
    assert first != second
    assert 44 == len(first.removeprefix("whsec_"))


def test_v1a_is_verified_by_the_public_key_alone() -> None:
    """ed25519 over `{id}.{timestamp}.{body}`; the public key is shown, the private one never."""
    webhook = make(signature="v1a")
    (shown,) = webhook.shown_once()["public_keys"]
    assert "secret" not in webhook.shown_once()
    assert "whsk_" not in str(webhook.shown_once())
    headers = signing.headers(webhook.keys, message_id="m", attempted=NOW, payload=b"{}")
    version, _, signature = headers["webhook-signature"].partition(",")
    assert "v1a" == version
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(shown.removeprefix("whpk_")))
    signed = f"m.{headers['webhook-timestamp']}.{{}}".encode()
    public.verify(base64.b64decode(signature), signed)
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(signature), signed + b" ")


def test_a_rotated_key_signs_beside_the_new_one_until_its_end() -> None:
    """The reference library takes the message by either; after the overlap by the new one alone."""
    before = make()
    now = datetime.now(UTC)
    after = webhooks.rotate(before, {"overlap_s": 60}, now=now)
    old, new = before.keys[0].secret, after.keys[0].secret
    both = signing.headers(after.keys, message_id="m", attempted=now, payload=b"{}")
    assert {} == Reference(old).verify(b"{}", both) == Reference(new).verify(b"{}", both)
    late = signing.headers(
        after.keys, message_id="m", attempted=now + timedelta(seconds=61), payload=b"{}"
    )
    assert {} == Reference(new).verify(b"{}", late)
    with pytest.raises(WebhookVerificationError):
        Reference(old).verify(b"{}", late)


def test_rotations_in_a_row_keep_few_keys_and_no_end_is_put_off() -> None:
    """The newest first, MAX_KEYS at most; an old key's end stays where it was put."""
    webhook = webhooks.rotate(make(), {"overlap_s": 60}, now=NOW)
    first_end = webhook.keys[1].until
    for _ in range(4):
        webhook = webhooks.rotate(webhook, {}, now=NOW)
    assert webhooks.MAX_KEYS == len(webhook.keys)
    again = webhooks.rotate(webhooks.rotate(make(), {"overlap_s": 60}, now=NOW), {}, now=NOW)
    assert first_end == again.keys[2].until


def test_a_receiver_can_bring_its_secret() -> None:
    """`whsec_` and 24 to 64 bytes; anything else is refused without being repeated."""
    secret = "whsec_" + base64.b64encode(bytes(24)).decode()
    assert secret == make(secret=secret).keys[0].secret
    for wrong in ("whsec_eA==", "plain", 5, "whsec_é", "whsec_" + "A" * 200):
        with pytest.raises(InvalidInput) as caught:
            make(secret=wrong)
        assert "secret" == caught.value.field
        assert str(wrong) not in str(caught.value)
    with pytest.raises(InvalidInput, match="v1"):
        make(secret=secret, signature="v1a")
    with pytest.raises(InvalidInput, match="v2"):
        make(signature="v2")


@pytest.mark.parametrize("overlap_s", [-1, True, "5", 10**9, float("nan")])
def test_an_overlap_is_seconds(overlap_s: object) -> None:
    """From none to thirty days."""
    with pytest.raises(InvalidInput, match="overlap_s"):
        webhooks.rotate(make(), {"overlap_s": overlap_s}, now=NOW)


def test_a_webhook_kept_with_one_secret_is_read() -> None:
    """As archives of before the rotation have it."""
    fields = {"id": "w", "url": "http://x.example/", "secret": "whsec_eA==", "created": "",
              "categories": [], "types": []}  # fmt: skip
    assert "whsec_eA==" == Webhook.from_json(orjson.dumps(fields)).keys[0].secret


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
    keys = [signing.new_key("v1")]
    first = signing.headers(keys, message_id="m", attempted=NOW, payload=b"x")
    later = NOW + timedelta(seconds=5)
    second = signing.headers(keys, message_id="m", attempted=later, payload=b"x")
    assert first["webhook-id"] == second["webhook-id"]
    assert 5 == int(second["webhook-timestamp"]) - int(first["webhook-timestamp"])
