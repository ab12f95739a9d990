"""Transport: how the requests of a source are sent, where its operator wants another way. Pure.

The values are checked when they are set; what is secret in them is never in an error text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from urllib.parse import quote, unquote, urlsplit

from service.errors import InvalidInput
from service.http import is_token

PROXY_SCHEMES = {"http": 8080, "socks5": 1080, "socks5h": 1080}
"""Scheme → port where the URL names none. Names are resolved by the proxy with each of them."""
HIDDEN = "***"
MAX_USER_AGENT_CHARS, MAX_COOKIE_CHARS, MAX_COOKIES = 300, 4_000, 50
MAX_CA_CHARS = 100_000
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """How requests are sent; with all fields empty, as those of other sources."""

    user_agent: str = ""
    proxy: str = field(default="", repr=False)
    """`http://` or `socks5://` URL, which may have a user name and a password."""
    tls_ca: str = ""
    """Certificates in PEM: a server must have one that they signed."""
    tls_fingerprint: str = ""
    """SHA-256 of the certificate that a server must have, in hex."""

    def elsewhere(self) -> Transport:
        """The transport of requests to other hosts, whose certificates are the usual ones."""
        return replace(self, tls_ca="", tls_fingerprint="")


DIRECT = Transport()


def checked_user_agent(value: object) -> str:
    """A User-Agent header; empty for the usual one. Raises InvalidInput."""
    text = "" if value is None else value
    if not isinstance(text, str) or not text.isascii() or not (text.isprintable() or not text):
        raise InvalidInput("user_agent", value, "must be one line of ASCII characters")
    if len(text) > MAX_USER_AGENT_CHARS:
        raise InvalidInput("user_agent", text, f"at most {MAX_USER_AGENT_CHARS} characters")
    return text.strip()


def checked_cookies(value: object) -> dict[str, str]:
    """Cookies by name. Raises InvalidInput without a value, which is secret."""
    if not isinstance(value, dict) or len(value) > MAX_COOKIES:
        raise InvalidInput("cookies", "…", f"must be an object of at most {MAX_COOKIES} cookies")
    for name, text in value.items():
        if not is_token(name):
            raise InvalidInput("cookies", name, "is not the name of a cookie")
        is_text = isinstance(text, str) and text.isascii() and (text.isprintable() or not text)
        if not is_text or ";" in text or len(text) > MAX_COOKIE_CHARS:
            raise InvalidInput("cookies", name, "its value must be ASCII, without semicolons")
    return value


def cookie_header(cookies: dict[str, str]) -> dict[str, str]:
    """The Cookie header of these cookies (RFC 6265 5.4); empty without any."""
    pairs = "; ".join(f"{name}={value}" for name, value in cookies.items())
    return {"Cookie": pairs} if pairs else {}


def checked_proxy(value: object) -> str:
    """The URL of a proxy, with its port; empty for none. Raises InvalidInput without the value,
    which may have a password."""
    if value in (None, ""):
        return ""
    hint = f"must be a URL such as socks5://host:1080, with {', '.join(PROXY_SCHEMES)}"
    if not isinstance(value, str) or not value.isprintable() or len(value) > 1_000:
        raise InvalidInput("proxy", "…", hint)
    try:
        parts = urlsplit(value.strip())
        port = parts.scheme in PROXY_SCHEMES and (parts.port or PROXY_SCHEMES[parts.scheme])
    except ValueError as exc:
        raise InvalidInput("proxy", "…", hint) from exc
    if not port or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise InvalidInput("proxy", "…", hint)
    if parts.password == HIDDEN:
        raise InvalidInput("proxy", "…", "its password is hidden here: write it out")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    user = quote(unquote(parts.username or ""), safe="")
    password = f":{quote(unquote(parts.password), safe='')}" if parts.password is not None else ""
    return f"{parts.scheme}://{user}{password}{'@' if user or password else ''}{host}:{port}"


def shown_proxy(proxy: str) -> str:
    """The URL of a proxy as it may be shown: with HIDDEN in place of its password."""
    parts = urlsplit(proxy)
    if parts.password is None:
        return proxy
    user, host = parts.username or "", parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{user}:{HIDDEN}@{host}"


def checked_ca(value: object) -> str:
    """The certificates in a text, in PEM and nothing else; empty for none. Raises InvalidInput."""
    if value in (None, ""):
        return ""
    if not isinstance(value, str) or len(value) > MAX_CA_CHARS:
        raise InvalidInput("tls_ca", "…", f"must be PEM of at most {MAX_CA_CHARS} characters")
    # Imported here: every process would start a tenth later, and few sources need it.
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import Encoding

    try:
        certificates = x509.load_pem_x509_certificates(value.encode())
    except ValueError as exc:
        raise InvalidInput("tls_ca", "…", "has no certificate in PEM that can be read") from exc
    return "".join(each.public_bytes(Encoding.PEM).decode() for each in certificates)


def checked_fingerprint(value: object) -> str:
    """SHA-256 of a certificate in lower-case hex; empty for none. Raises InvalidInput."""
    text = "" if value is None else value
    if not isinstance(text, str):
        raise InvalidInput("tls_fingerprint", value, "must be a string")
    digits = text.strip().lower().removeprefix("sha256").lstrip(":= ").replace(":", "")
    if digits and not _FINGERPRINT.fullmatch(digits):
        raise InvalidInput("tls_fingerprint", text, "must be the SHA-256 of a certificate in hex")
    return digits
