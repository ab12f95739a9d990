"""Signatures as the reference library judges them; verdicts, delays and matching by tables."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from cloudevents.core.formats.json import JSONFormat
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook as Reference
from standardwebhooks import WebhookVerificationError

from service.articles.article import Entry
from service.articles.compose import compose
from service.articles.encoded import encode
from service.articles.event import EVENT_TYPES, Event
from service.errors import InvalidInput
from service.feeds.view import make_view
from service.http import retry_after_s
from service.webhooks import signing
from service.webhooks.payloads import PAYLOADS
from service.webhooks.retry import Answer, Verdict, retry_delay_s
from service.webhooks.selection import Selection
from service.webhooks.webhook import MAX_KEYS, Webhook, change_webhook, make_webhook, rotate_webhook

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


def make(**fields: Any) -> Webhook:
    """One, from what a client would ask."""
    return make_webhook({"url": "http://x.example/", **fields}, webhook_id="w", created=NOW)


def event(**fields: Any) -> Event:
    """An event on an article."""
    entry = Entry(
        guid="a", title="Fog holds the ferry", url="https://tern.example/fog", language="en",
        content_html="<p>All day.</p>", categories=("Harbour/Ferries",), tags=("Weather",),
        published=NOW,
    )  # fmt: skip
    draft = compose(entry, source="https://tern.example/feed")
    stored = {"first_seen": "2026-01-05T12:00:00Z", "revision": 1, "content_hash": "x",
              "status": "live", "published": "2026-01-05T12:00:00Z",
              "updated": "2026-01-05T12:00:00Z"}  # fmt: skip
    data = orjson.dumps({**orjson.loads(encode(draft).doc), **stored})
    given = {"entry_id": "5-0", "shard": 0, "id": "a_1", "type": EVENT_TYPES[0],
             "subject": "a", "time": "2026-01-05T12:00:00Z", "data": data}  # fmt: skip
    return Event(**{**given, **fields})


def test_the_reference_library_accepts_what_we_sign() -> None:
    """And refuses it with another secret, id or body."""
    key = signing.new_key("v1")
    payload = '{"type":"t","timestamp":"x","data":{"title":"é"}}'.encode()
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
    """Each secret is 32 random bytes."""
    first, second = signing.new_key("v1").secret, signing.new_key("v1").secret
    assert first != second
    assert 44 == len(first.removeprefix("whsec_"))


def test_v1a_is_verified_by_the_public_key_alone() -> None:
    """ed25519 over `{id}.{timestamp}.{body}`; the public key is shown, the private one never."""
    webhook = make(signature="v1a")
    (shown,) = webhook.to_public_once()["public_keys"]
    assert "secret" not in webhook.to_public_once()
    assert "whsk_" not in str(webhook.to_public_once())
    headers = signing.headers(webhook.keys, message_id="m", attempted=NOW, payload=b"{}")
    version, _, signature = headers["webhook-signature"].partition(",")
    assert "v1a" == version
    public = Ed25519PublicKey.from_public_bytes(base64.b64decode(shown.removeprefix("whpk_")))
    signed = f"m.{headers['webhook-timestamp']}.{{}}".encode()
    public.verify(base64.b64decode(signature), signed)
    with pytest.raises(InvalidSignature):
        public.verify(base64.b64decode(signature), signed + b" ")


def test_a_rotated_key_signs_beside_the_new_one_until_its_end() -> None:
    """The reference library takes the event by either; after the overlap by the new one alone."""
    before = make()
    now = datetime.now(UTC)
    after = rotate_webhook(before, {"overlap_s": 60}, now=now)
    old, new = before.keys[0].secret, after.keys[0].secret
    both = signing.headers(after.keys, message_id="m", attempted=now, payload=b"{}")
    assert {} == Reference(old).verify(b"{}", both) == Reference(new).verify(b"{}", both)
    late = signing.headers(
        after.keys, message_id="m", attempted=now + timedelta(seconds=61), payload=b"{}"
    )
    assert {} == Reference(new).verify(b"{}", late)
    with pytest.raises(WebhookVerificationError):
        Reference(old).verify(b"{}", late)


def test_rotations_in_a_row_keep_few_keys_and_no_end_is_postponed() -> None:
    """The newest first, MAX_KEYS at most; an old key's end stays where it was put."""
    webhook = rotate_webhook(make(), {"overlap_s": 60}, now=NOW)
    first_end = webhook.keys[1].until
    for _ in range(4):
        webhook = rotate_webhook(webhook, {}, now=NOW)
    assert MAX_KEYS == len(webhook.keys)
    again = rotate_webhook(rotate_webhook(make(), {"overlap_s": 60}, now=NOW), {}, now=NOW)
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
        rotate_webhook(make(), {"overlap_s": overlap_s}, now=NOW)


def test_a_webhook_kept_with_one_secret_is_read() -> None:
    """As archives of before the rotation have it."""
    fields = {"id": "w", "url": "http://x.example/", "secret": "whsec_eA==", "created": "",
              "categories": [], "types": []}  # fmt: skip
    assert "whsec_eA==" == Webhook.from_json(orjson.dumps(fields)).keys[0].secret


def test_a_webhook_is_kept_whole_and_shown_without_its_secret() -> None:
    """A webhook read back from its JSON equals the one that was written."""
    webhook = make(categories=["Media Center/News"], types=[EVENT_TYPES[0]])
    assert webhook == Webhook.from_json(webhook.to_json())
    assert "secret" not in webhook.to_public()
    assert ("media-center/news",) == webhook.selection.categories


@pytest.mark.parametrize(
    ("status", "verdict"),
    [(200, Verdict.DELIVERED), (204, Verdict.DELIVERED), (299, Verdict.DELIVERED),
     (0, Verdict.RETRY), (199, Verdict.RETRY), (300, Verdict.RETRY), (301, Verdict.RETRY),
     (308, Verdict.RETRY),
     (400, Verdict.RETRY), (404, Verdict.RETRY), (429, Verdict.RETRY), (500, Verdict.RETRY),
     (410, Verdict.GONE)],
)  # fmt: skip
def test_verdicts(status: int, verdict: Verdict) -> None:
    """Only a status from 200 to 299 is a success."""
    assert verdict is Answer(status=status).verdict


@pytest.mark.parametrize(
    ("attempt", "retry_after", "low", "high"),
    [
        (1, "", 4, 6), (2, "", 80, 120), (9, "", 80, 120), (1, "8", 8, 9.6), (1, "3", 4, 6),
        (1, "9999", 9999, 11998.8), (1, "999999", 86_400, 103_680), (1, "garbage", 4, 6),
        (1, "Mon, 05 Jan 2026 12:00:07 GMT", 7, 8.4),
        (1, "Mon, 05 Jan 2020 12:00:07 GMT", 4, 6),
    ],
)  # fmt: skip
def test_delays(attempt: int, retry_after: str, low: float, high: float) -> None:
    """By the schedule, its last step repeated, ± 20 %; never before a Retry-After of up to a
    day."""

    def delay(chance: float) -> float:
        return retry_delay_s(
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
    ("fields", "expected"),
    [
        ({}, True),
        ({"categories": ["Harbour"]}, True),
        ({"categories": ["all"]}, True),
        ({"categories": ["Harbour/Ferries"]}, True),
        ({"categories": ["Harb"]}, False),
        ({"categories": ["Harbour/Ferries/Night"]}, False),
        ({"categories": ["Sports", "Harbour"]}, True),
        ({"types": [EVENT_TYPES[0]]}, True),
        ({"types": [EVENT_TYPES[1]]}, False),
        ({"query": "lang=en"}, True),
        ({"query": "?lang=fr"}, False),
        ({"query": "q=fog&tag=Weather"}, True),
        ({"query": "none=weather"}, False),
        ({"query": "source=tern.example"}, True),
        ({"view": "foggy"}, True),
        ({"view": "foggy", "categories": ["Sports"]}, False),
        ({"view": "french"}, False),
        ({"view": "gone"}, False),
    ],
)
def test_matching(fields: dict[str, Any], expected: bool) -> None:
    """Types, categories with those below, what feeds filter by, and views; all of them."""
    found = [
        make_view({"name": "foggy", "category": "Harbour", "query": "q=fog"}, created=NOW),
        make_view({"name": "french", "query": "lang=fr"}, created=NOW),
    ]
    selection = make(**fields).selection
    assert expected == selection.matches(event(), {view.name: view for view in found})


def test_what_is_no_event_goes_to_nobody() -> None:
    """A stream entry that is not an event matches no webhook."""
    assert not Selection().matches(event(data=b"{"), {})
    assert not Selection().matches(event(type=""), {})


def test_a_batch_is_a_list_under_an_id_of_its_own() -> None:
    """Standard Webhooks: one event whose data lists them; the same events, the same id."""
    webhook = make(batch=10)
    two = [event(), event(entry_id="6-0", id="other_1")]
    parcel = webhook.payload_for(two)
    body = orjson.loads(parcel.body)
    assert ("application/json", "dateline.batch.v1") == (parcel.content_type, body["type"])
    assert ["a_1", "other_1"] == [each["id"] for each in body["data"]]
    assert {"id", "type", "timestamp", "data"} == body["data"][0].keys()
    assert parcel.id == webhook.payload_for(two).id != webhook.payload_for(two[:1]).id
    assert "." not in parcel.id
    assert isinstance(orjson.loads(webhook.payload_for(two[:1]).body)["data"], list)


def test_a_batch_stays_under_its_bytes_but_never_empty() -> None:
    """max_bytes: what does not fit waits; what is larger by itself goes alone."""
    webhook = make(batch=10)
    one, two = (len(webhook.payload_for([event()] * count).body) for count in (1, 2))
    size = two - one - 1
    three = [event(), event(entry_id="6-0"), event(entry_id="7-0")]
    assert 2 == len(make(batch=10, max_bytes=2 * size + 10).payload_for(three).events)
    large = [event(data=orjson.dumps({"title": "x" * 3_000}))] * 2
    assert 1 == len(make(batch=10, max_bytes=1_000).payload_for(large).events)


@pytest.mark.parametrize("batch", [1, 5])
def test_cloudevents_are_those_of_the_specification(batch: int) -> None:
    """As its library reads them: structured, or the JSON Batch Format."""
    parcel = make(format="cloudevents", batch=batch).payload_for([event()])
    body = orjson.loads(parcel.body)
    many = "-batch" if batch > 1 else ""
    assert f"application/cloudevents{many}+json" == parcel.content_type
    read = JSONFormat().read(None, orjson.dumps(body[0] if batch > 1 else body))
    assert ("a_1", "/articles", EVENT_TYPES[0], "a") == (
        read.get_id(), read.get_source(), read.get_type(), read.get_subject(),
    )  # fmt: skip
    assert "application/json" == read.get_datacontenttype()
    data = read.get_data()
    assert isinstance(data, dict)
    assert "Fog holds the ferry" == data["title"]


def test_payloads() -> None:
    """All of the article, without its text, or what it takes to fetch it."""
    data = {p: orjson.loads(make(payload=p).payload_for([event()]).body)["data"] for p in PAYLOADS}
    assert "content_html" in data["full"]
    assert data["full"].keys() - data["summary"].keys() == {"content_html"}
    assert {"id", "url", "revision", "status"} == data["id"].keys()


def test_settings_are_changed_one_by_one_and_put_back() -> None:
    """`null` is the default again; what is not named stays."""
    webhook = change_webhook(make(batch=5, query="lang=en"), {"batch": None, "rate_per_s": 2})
    assert (1, 2, "lang=en") == (webhook.batch, webhook.rate_per_s, webhook.selection.query)
    assert change_webhook(webhook, {"query": None}).selection == Selection()
    with pytest.raises(InvalidInput, match="url"):
        change_webhook(webhook, {"url": None})
    with pytest.raises(InvalidInput, match="secret"):
        change_webhook(webhook, {"secret": "x"})


def test_headers_are_sent_and_never_shown() -> None:
    """They are secrets; ours cannot be overridden."""
    webhook = make(headers={"Authorization": "Bearer hush"})
    sent = webhook.request_headers(webhook.payload_for([event()]), now=NOW)
    assert "Bearer hush" == sent["Authorization"]
    assert "hush" not in str(webhook.to_public())
    with pytest.raises(InvalidInput, match="Webhook-Id"):
        make(headers={"Webhook-Id": "x"})


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
