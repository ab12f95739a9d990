"""One signed request to a receiver, and what came back of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

import aiohttp
from yarl import URL

from service.webhooks.retry import Answer
from workers.runtime import Stopwatch

# Kept of an answer, for the attempt log.
MAX_ANSWER_BYTES = 2_000
MAX_ERROR_CHARS = 300
# RFC 3986 2.2 and 2.3, and what escapes begin with.
_URL_CHARS = "%:/?#[]@!$&'()*+,;=-._~"


def target(url: str) -> URL | str:
    """A URL read once for many requests, and sent as it is spelled: signatures and routes of
    receivers may hang on it. One that cannot be read fails when it is sent to."""
    try:
        if not urlsplit(url).netloc.isascii():
            return URL(url)
        return URL(quote(url, safe=_URL_CHARS), encoded=True)
    except ValueError:
        return url


async def send(
    client: aiohttp.ClientSession,
    url: URL | str,
    body: bytes | None,
    headers: Mapping[str, str],
    *,
    limits: aiohttp.ClientTimeout,
) -> Answer:
    """POST, or GET without a body, following nothing; never raises for what a receiver or the
    network does."""
    method = "GET" if body is None else "POST"
    # An answer is compared, or shown: nothing of ours unpacks it.
    headers = {"Accept-Encoding": "identity", **headers}
    watch = Stopwatch()
    try:
        async with client.request(
            method, url, data=body, headers=headers, allow_redirects=False, timeout=limits
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
        # Its text has the URL, and that may be a secret.
        error = f"{exc.message} ({type(exc).__name__})"
    except aiohttp.InvalidURL:
        error = "the URL cannot be used"
    except (aiohttp.ClientError, OSError, ValueError) as exc:
        error = str(exc) or type(exc).__name__
    return Answer(status=0, error=error[:MAX_ERROR_CHARS], duration_ms=int(watch.ms))


async def _beginning(response: aiohttp.ClientResponse) -> bytes:
    """Of the body, as far as it comes: what was answered says the status alone."""
    found = b""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError, OSError):
        while len(found) < MAX_ANSWER_BYTES:
            part = await response.content.read(MAX_ANSWER_BYTES - len(found))
            if not part:
                break
            found += part
    return found
