"""One request to a receiver, and its answer."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from service.webhooks.retry import Answer
from workers.http_client import STRANGER, OutboundClient, Provenance, reason_of
from workers.runtime import Stopwatch

# Bytes of an answer that are stored in the attempt log.
MAX_ANSWER_BYTES = 2_000
MAX_ERROR_CHARS = 300
# RFC 3986 2.2 and 2.3, and what escapes begin with.
_URL_CHARS = "%:/?#[]@!$&'()*+,;=-._~"


def target(url: str) -> URL | str:
    """Parse a URL once for many requests; one that cannot be parsed fails when it is sent to.

    It is sent as it is spelled: signatures and routes of receivers may depend on that.
    """
    try:
        if not urlsplit(url).netloc.isascii():
            return URL(url)
        return URL(quote(url, safe=_URL_CHARS), encoded=True)
    except ValueError:
        return url


async def send(
    client: OutboundClient,
    url: URL | str,
    body: bytes | None,
    headers: Mapping[str, str],
    *,
    provenance: Provenance = STRANGER,
    limits: aiohttp.ClientTimeout,
) -> Answer:
    """POST, or GET if there is no body, and follow no redirect.

    Whatever the receiver or the network does is an `Answer`, never an exception.
    """
    method = "GET" if body is None else "POST"
    # An answer is compared or shown, never decompressed.
    headers = {"Accept-Encoding": "identity", **headers}
    watch = Stopwatch()
    try:
        async with client.request(
            method, url, provenance=provenance, headers=headers, data=body, timeout=limits
        ) as response:
            # Read a little, so that short answers leave the connection usable.
            text = await _beginning(response)
            return Answer(
                status=response.status,
                retry_after=response.headers.get("Retry-After", ""),
                duration_ms=int(watch.ms),
                text=text.decode("utf-8", "replace"),
            )
    except TimeoutError:
        error = f"no answer in {limits.total:g} s"
    except aiohttp.ClientResponseError as exc:
        # Its text contains the URL, which may be a secret.
        error = f"{exc.message} ({type(exc).__name__})"
    except aiohttp.InvalidURL:
        error = "the URL cannot be used"
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        error = reason_of(exc)
    return Answer(status=0, error=error[:MAX_ERROR_CHARS], duration_ms=int(watch.ms))


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Return the beginning of a body, as far as it arrives: the status alone is the answer."""
    beginning = b""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        while len(beginning) < MAX_ANSWER_BYTES:
            chunk = await response.content.read(MAX_ANSWER_BYTES - len(beginning))
            if not chunk:
                break
            beginning += chunk
    return beginning
