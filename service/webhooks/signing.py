"""Secrets of webhooks and what is signed with them (Standard Webhooks 1.0.0). Pure.

    v1    HMAC-SHA256 with a secret that both sides know: `whsec_` and base64 of 32 random bytes
    v1a   ed25519: we keep `whsk_`, receivers verify by `whpk_`, which can sign nothing

A webhook has the key that it signs with, and for some time after a rotation the previous one: every
message then carries a signature by each, so that receivers can change over when they like.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service.articles.times import from_rfc3339, to_ms, to_rfc3339
from service.errors import InvalidInput

SECRET, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"
KEY_BYTES = 32
# Length of a secret that a receiver may bring: the specification's 24 to 64 bytes.
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
VERSIONS = ("v1", "v1a")


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One key, and the time until which it signs."""

    secret: str
    """`whsec_…` or `whsk_…`."""
    until: str = ""
    """RFC 3339; empty: until it is rotated."""

    @property
    def version(self) -> str:
        """`v1` (HMAC-SHA256) or `v1a` (Ed25519)."""
        return "v1a" if self.secret.startswith(PRIVATE) else "v1"

    @property
    def public(self) -> str:
        """The key that verifies, `whpk_…`; empty for v1, where only the secret verifies."""
        if self.version == "v1":
            return ""
        raw = _private(self.secret).public_key().public_bytes_raw()
        return PUBLIC + base64.b64encode(raw).decode()

    def is_live(self, now: datetime) -> bool:
        """Whether it signs at this time."""
        return not self.until or from_rfc3339(self.until) > now

    def ending(self, moment: datetime) -> Key:
        """Return the key with an end at a moment, or at its present end if that is earlier."""
        is_sooner = self.until and from_rfc3339(self.until) <= moment
        return self if is_sooner else Key(secret=self.secret, until=to_rfc3339(moment))


def new_key(version: str) -> Key:
    """Create a key. Raises InvalidInput if the version is unknown."""
    if version not in VERSIONS:
        raise InvalidInput("signature", version, f"must be one of {', '.join(VERSIONS)}")
    prefix = SECRET if version == "v1" else PRIVATE
    return Key(secret=prefix + base64.b64encode(secrets.token_bytes(KEY_BYTES)).decode())


def given_key(secret: object) -> Key:
    """Return the v1 key with a secret that a receiver has already.

    Raises:
        InvalidInput: it is not `whsec_` and base64 of 24 to 64 bytes. The value is not repeated.
    """
    fault = InvalidInput(
        "secret", "***", f"must be {SECRET} and base64 of {MIN_SECRET_BYTES} to "
        f"{MAX_SECRET_BYTES} bytes",
    )  # fmt: skip
    if not isinstance(secret, str) or not secret.startswith(SECRET):
        raise fault
    try:
        raw = base64.b64decode(secret.removeprefix(SECRET), validate=True)
    except ValueError:
        raise fault from None
    if not MIN_SECRET_BYTES <= len(raw) <= MAX_SECRET_BYTES:
        raise fault
    return Key(secret=secret)


def headers(
    keys: Iterable[Key], *, message_id: str, attempted: datetime, payload: bytes
) -> dict[str, str]:
    """Return the `webhook-*` headers of one attempt; the id is the same in all attempts."""
    timestamp = str(to_ms(attempted) // 1000)
    signed = f"{message_id}.{timestamp}.".encode() + payload
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(
            sign(key.secret, signed) for key in keys if key.is_live(attempted)
        ),
    }


def sign(secret: str, signed: bytes) -> str:
    """Return `v1,` or `v1a,` and base64 of the signature over `{id}.{timestamp}.{body}`."""
    if secret.startswith(PRIVATE):
        return "v1a," + base64.b64encode(_private(secret).sign(signed)).decode()
    digest = hmac.digest(_raw(secret), signed, hashlib.sha256)
    return "v1," + base64.b64encode(digest).decode()


@lru_cache(maxsize=1_024)
def _private(secret: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(_raw(secret))


@lru_cache(maxsize=16_384)
def _raw(secret: str) -> bytes:
    return base64.b64decode(secret.partition("_")[2])
