"""WebSub (W3C REC 2018-01-23), as a subscriber: subscriptions, verification, signatures. Pure.

A callback URL is unguessable and new at each renewal; a push to it is accepted only if it is signed
with the secret that only the hub knows.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace

# 10 days, what most hubs give.
LEASE_S = 864_000
# Share of a lease after which it is renewed; the rest is for hubs that are unreachable for a time.
RENEW_AT = 0.8
# Delay until the next request to a hub that refused or did not verify: doubled at each failure.
FIRST_RETRY_S, LONGEST_RETRY_S = 300, 86_400
# One that is in use is renewed or asked for again long before.
FORGET_AFTER_S = 7 * LONGEST_RETRY_S
# Section 7.1: recognised methods; SHA-1 is weak, but old hubs still send it.
_METHODS = ("sha1", "sha256", "sha384", "sha512")


@dataclass(frozen=True, slots=True, kw_only=True)
class HubSubscription:
    """One of our subscriptions at a hub, as it was requested and verified."""

    id: str
    """The unguessable end of its callback URL."""
    source_id: str
    hub: str
    topic: str
    secret: str
    expires_ms: int = 0
    """End of the lease; 0 until the hub has verified."""
    renew_ms: int = 0
    """When to send the next request to the hub."""
    failures: int = 0
    """Failures in a row, those of the subscriptions that it replaces included."""
    replaces: str = ""
    """Id of the previous subscription, which is ended when this one is verified."""
    is_ending: bool = False
    """Whether we requested its end from the hub."""

    def is_live(self, now_ms: int) -> bool:
        """Whether the hub pushes new documents to it."""
        return self.expires_ms > now_ms and not self.is_ending

    def is_over(self, now_ms: int) -> bool:
        """Whether nobody needs it any more: its lease has ended, and it is not to be renewed."""
        has_ended = self.expires_ms <= now_ms
        return has_ended and (self.is_ending or self.renew_ms < now_ms - FORGET_AFTER_S * 1000)

    def requested(self, now_ms: int) -> HubSubscription:
        """Return a copy after a request to the hub; the request is repeated unless the hub
        verifies it."""
        wait_s = min(FIRST_RETRY_S * 2.0 ** min(self.failures, 16), LONGEST_RETRY_S)
        return replace(self, renew_ms=now_ms + int(wait_s * 1000), failures=self.failures + 1)

    def ended(self) -> HubSubscription:
        """Return a copy after the hub has ended the subscription."""
        return replace(self, expires_ms=0)

    def verified(self, lease_s: int, now_ms: int) -> HubSubscription:
        """Return a copy after the hub has verified the subscription for `lease_s` seconds."""
        return replace(
            self,
            expires_ms=now_ms + lease_s * 1000,
            # A hub that gives a second is not asked every second.
            renew_ms=now_ms + int(max(lease_s * RENEW_AT, FIRST_RETRY_S) * 1000),
            failures=0,
        )


def is_signed(body: bytes, *, signature: str, secret: str) -> bool:
    """Whether an X-Hub-Signature (`method=hex`) is a valid signature of the body (7.1)."""
    method, _, digest = signature.strip().partition("=")
    if method not in _METHODS:
        return False
    expected = hmac.new(secret.encode(), body, getattr(hashlib, method)).hexdigest()
    return hmac.compare_digest(expected.encode(), digest.lower().encode("utf-8", "replace"))
