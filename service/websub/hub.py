"""WebSub (W3C REC 2018-01-23), as a hub: requests of subscribers, and what is sent to them. Pure.

A request changes nothing before the callback has confirmed it (5.3); a subscription ends with its
lease whatever happens before; a push has the whole content of the topic at that moment (7).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import orjson

from service.articles.times import from_ms, to_rfc3339
from service.errors import InvalidInput
from service.feeds.formats import FORMATS
from service.feeds.head import HUB_PATH
from service.feeds.page import Page, parse_page
from service.feeds.query import parse_query
from service.http import checked_url, link
from service.settings import Settings

SUBSCRIBE, UNSUBSCRIBE, PUBLISH = MODES = ("subscribe", "unsubscribe", "publish")
DENIED = "denied"
# Parameters of a request to subscribe or unsubscribe (5.1); others are ignored.
PARAMETERS = (
    "hub.mode", "hub.callback", "hub.topic", "hub.secret", "hub.lease_seconds",
    "hub.signature_method",
)  # fmt: skip
MAX_FIELDS = 1_000
# Ten days; an hour and thirty days if less or more is asked for.
LEASE_S, MIN_LEASE_S, MAX_LEASE_S = 864_000, 3_600, 2_592_000
# 5.1: less than 200 bytes.
MAX_SECRET_BYTES = 199
# SHA-1 is weak, and 7.1 does not ask for it.
METHODS = ("sha256", "sha384", "sha512")
_DIGITS = re.compile(r"[0-9]{1,100}")
# RFC 3986 2.3: escaped or not, these are the same.
_UNRESERVED = re.compile(r"%(?:2[de]|3\d|[46][1-9a-f]|[57][0-9a]|5f|7e)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionRequest:
    """What a subscriber asks for until its callback confirms it, or the denial that it gets."""

    mode: str
    """subscribe | unsubscribe | denied."""
    callback: str
    topic: str
    secret: str = ""
    method: str = METHODS[0]
    lease_s: int = LEASE_S

    @property
    def id(self) -> str:
        """Id of the subscription: there is one for each topic and callback (5.1)."""
        name = f"{self.topic} {unescaped(self.callback)}"
        return f"sub_{uuid.uuid5(uuid.NAMESPACE_URL, name).hex}"

    def to_json(self) -> bytes:
        """Encode it for storage, with the secret."""
        return orjson.dumps(self)

    def confirmed(self, now_ms: int, *, networks: Sequence[str] = ()) -> TopicSubscription:
        """Return the subscription that begins now and ends with its lease.

        Args:
            networks: see `TopicSubscription.networks`.
        """
        return TopicSubscription(
            callback=self.callback,
            topic=self.topic,
            secret=self.secret,
            method=self.method,
            expires_ms=now_ms + self.lease_s * 1000,
            networks=tuple(networks),
        )

    def verification_url(self, challenge: str) -> str:
        """Return the callback's URL with what it must confirm appended to its query (5.3)."""
        lease = {"hub.lease_seconds": self.lease_s} if self.mode == SUBSCRIBE else {}
        return _with_query(
            self.callback,
            {"hub.mode": self.mode, "hub.topic": self.topic, "hub.challenge": challenge, **lease},
        )

    def denial_url(self, reason: str) -> str:
        """Return the callback's URL with the denial appended to its query (5.2)."""
        fields = {"hub.mode": DENIED, "hub.topic": self.topic, "hub.reason": reason}
        return _with_query(self.callback, fields)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSubscription:
    """A subscription as it was confirmed."""

    callback: str
    topic: str
    secret: str
    method: str
    expires_ms: int
    networks: Sequence[str] = ()
    """Where its callback was when it confirmed: the addresses that it counts for, see
    `addresses.network_of`. None in subscriptions of earlier versions."""

    @property
    def id(self) -> str:
        """The same id as that of the request."""
        return SubscriptionRequest(mode=SUBSCRIBE, callback=self.callback, topic=self.topic).id

    def to_json(self) -> bytes:
        """Encode it for storage, with the secret; byte for byte as it was stored."""
        fields = asdict(self)
        if not self.networks:
            del fields["networks"]
        return orjson.dumps(fields)

    def headers(self, body: bytes, *, content_type: str, hub_url: str) -> dict[str, str]:
        """Headers of a push (7): one Link header with hub and topic, and a signature if the
        subscription has a secret (7.1)."""
        headers = {
            "Content-Type": content_type,
            "Link": f"{link(hub_url, rel='hub')}, {link(self.topic, rel='self')}",
        }
        if self.secret:
            digest = hmac.new(self.secret.encode(), body, getattr(hashlib, self.method)).hexdigest()
            headers["X-Hub-Signature"] = f"{self.method}={digest}"
        return headers

    def to_public(self, state: Mapping[str, str]) -> dict[str, Any]:
        """Show it as API and CLI do, without the secret."""
        first_ms = int(state.get("first_failure_ms") or 0)
        return {
            "id": self.id,
            "callback": self.callback,
            "topic": self.topic,
            "signature": self.method if self.secret else None,
            "expires": to_rfc3339(from_ms(self.expires_ms)),
            "failures": int(state.get("failures") or 0),
            "failing_since": to_rfc3339(from_ms(first_ms)) if first_ms else None,
        }

    @property
    def denied(self) -> SubscriptionRequest:
        """The denial that its callback gets when it is ended."""
        return SubscriptionRequest(mode=DENIED, callback=self.callback, topic=self.topic)


def form_of(body: bytes) -> list[tuple[str, str]]:
    """Decode a request (5.1: application/x-www-form-urlencoded, UTF-8) to (name, value) pairs.

    Raises:
        InvalidInput: the body cannot be decoded.
    """
    try:
        return parse_qsl(
            body.decode(), keep_blank_values=True, errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as exc:
        reason = f"must be application/x-www-form-urlencoded in UTF-8: {exc}"
        raise InvalidInput("body", f"{len(body)} bytes", reason) from exc


def single_values(form: Sequence[tuple[str, str]], names: Collection[str]) -> dict[str, str]:
    """The values of those parameters that a form has.

    Raises:
        InvalidInput: one of them occurs several times. Which one counts differs between libraries,
            so that a proxy that checks one could pass another.
    """
    values: dict[str, str] = {}
    for name, value in form:
        if name in names and name in values:
            # The value may be a secret.
            raise InvalidInput(name, "…", "is given several times: give it once")
        values[name] = value
    return values


def parse_request(form: Mapping[str, str], *, settings: Settings) -> SubscriptionRequest:
    """Check a request to subscribe or unsubscribe; unknown parameters are ignored (5.1).

    Raises:
        InvalidInput: naming the parameter.
    """
    mode = form.get("hub.mode", "")
    if mode not in MODES:
        raise InvalidInput("hub.mode", mode, f"must be one of {', '.join(MODES)}")
    callback = checked_url(form.get("hub.callback"), field="hub.callback")
    topic = unescaped(form.get("hub.topic", ""))
    if mode == UNSUBSCRIBE:
        # The topic may have been removed since; other parameters have no meaning here.
        return SubscriptionRequest(mode=mode, callback=callback, topic=topic)
    if topic_of(topic, settings) is None:
        reason = "is not a feed of this site; use the URL of the feed's rel=self"
        raise InvalidInput("hub.topic", topic, reason)
    secret = form.get("hub.secret", "")
    if len(secret.encode()) > MAX_SECRET_BYTES:
        raise InvalidInput("hub.secret", "***", f"must be at most {MAX_SECRET_BYTES} bytes")
    method = form.get("hub.signature_method", "").lower() or METHODS[0]
    if method not in METHODS:
        raise InvalidInput("hub.signature_method", method, f"must be one of {', '.join(METHODS)}")
    return SubscriptionRequest(
        mode=mode,
        callback=callback,
        topic=topic,
        secret=secret,
        method=method,
        lease_s=_lease_s(form.get("hub.lease_seconds", "")),
    )


def unescaped(url: str) -> str:
    """Return the URL without unnecessary percent-escapes."""
    return _UNRESERVED.sub(lambda match: unquote(match[0]), url)


def _lease_s(text: str) -> int:
    if not text:
        return LEASE_S
    if not _DIGITS.fullmatch(text) or not int(text):
        raise InvalidInput("hub.lease_seconds", text, "must be a number of seconds")
    return min(max(int(text), MIN_LEASE_S), MAX_LEASE_S)


def topic_of(url: str, settings: Settings) -> tuple[Page, str] | None:
    """Return the page and extension of a topic of this site, spelled exactly as its rel=self; None
    for all other URLs."""
    prefix = f"{settings.base_url}/feeds/"
    path, dot, extension = unquote(url.partition("?")[0].removeprefix(prefix)).rpartition(".")
    if not url.startswith(prefix) or not dot or extension not in FORMATS:
        return None
    page = parse_page(path)
    try:
        query = str(parse_query(urlsplit(url).query, zone=settings.timezone))
    except (InvalidInput, ValueError):
        return None
    if page is None:
        return None
    page = Page(page.category, page.period, query=query)
    return (page, extension) if url == settings.base_url + page.feed_path(extension) else None


def content_type_of(extension: str) -> str:
    """Return the Content-Type with which the feed itself is served."""
    return f"{FORMATS[extension].media_type}; charset=utf-8"


def hub_url(settings: Settings) -> str:
    """Return the URL of our hub."""
    return settings.base_url + HUB_PATH


def _with_query(callback: str, fields: Mapping[str, object]) -> str:
    mark = "" if callback.endswith(("?", "&")) else "&" if "?" in callback else "?"
    return f"{callback}{mark}{urlencode(fields)}"
