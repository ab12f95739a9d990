"""Errors as answers: problem+json (RFC 9457) for programs, a page for people.

The one place where exceptions become statuses. What is nobody's fault but ours is logged with its
traceback and shown without it.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import hdrs, web
from aiohttp.http import HttpVersion11
from aiohttp.typedefs import Handler
from aiohttp.web_exceptions import HTTPException

from service.errors import DatelineError, InvalidInput, NotFound, Unavailable
from service.feeds.head import HUB_PATH
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
from service.web.html import render
from service.web.request.body import check_length
from service.web.request.keys import SETTINGS
from service.web.serving.page_loader import HTML_HEADERS

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# What an error's status is explained by (RFC 9110 15.5.2, 15.5.6, 15.5.16).
_EXPLAINING_HEADERS = ("Allow", "WWW-Authenticate", "Accept-Encoding")
# Of the path in an error.
MAX_SHOWN_CHARS = 200
_FOR_PROGRAMS = (
    "/api/", "/feeds", "/livez", "/readyz", "/metrics", "/static/", "/events", "/private",
    "/sitemap", "/news-sitemap",
)  # fmt: skip


def problem(status: int, detail: str, **members: Any) -> dict[str, Any]:
    """The members of a problem. `type` is about:blank, so `title` is the status's own phrase."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **members,
    }


def of_error(exc: DatelineError) -> dict[str, Any]:
    """The problem of one of our own errors."""
    match exc:
        case InvalidInput():
            return problem(400, str(exc), field=exc.field, value=exc.value)
        case NotFound():
            return problem(404, str(exc))
        case Unavailable():
            # The error names our Redis; readers need not know where it is. A reply may be lost
            # after its command was done.
            text = "storage cannot be reached or cannot write now; what was sent may have been kept"
            return problem(503, f"{text}: send it again")
        case _:
            return problem(500, str(exc))


def middleware(settings: Settings) -> Any:
    """Turn whatever a handler raises into an answer."""

    @web.middleware
    async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers: dict[str, str] = {}
        try:
            # Whatever the path: nothing of a body that is too large is waited for.
            check_length(request, max_bytes=settings.api_max_bytes)
            with redis_errors_as_unavailable():
                return await handler(request)
        except Unavailable as exc:
            logger.warning("answered 503", extra={"path": _shown(request), "reason": str(exc)})
            found = of_error(exc)
            headers["Retry-After"] = str(exc.retry_after_s)
        except DatelineError as exc:
            found = of_error(exc)
        except HTTPException as exc:
            if exc.status < 400:
                raise
            found, headers = _of_http(exc, request)
        except web.RequestPayloadError as exc:
            found = problem(400, f"the body cannot be read: {exc}")
            # What is left of the body stands before the next request.
            headers["Connection"] = "close"
        except TimeoutError:
            found = problem(408, "the body did not come in time")
            headers["Connection"] = "close"
        except ConnectionError:
            raise  # The client has left: nobody is to be answered.
        except Exception:  # The border: a bug costs one request, not the server.
            logger.exception("a request failed", extra={"path": _shown(request)})
            found = problem(500, "an error of ours; it is in the log")
        return _response(request, found, headers, settings)

    return answer_errors


async def handle_expect(request: web.Request) -> web.StreamResponse | None:
    """Answer `Expect: 100-continue`: a body that is too large is not asked for."""
    settings = request.app[SETTINGS]
    try:
        check_length(request, max_bytes=settings.api_max_bytes)
        if request.headers[hdrs.EXPECT].lower() != "100-continue":
            raise web.HTTPExpectationFailed(text="Expect: only 100-continue is known")
    except HTTPException as exc:
        found, headers = _of_http(exc, request)
        return _response(request, found, headers, settings)
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # That is no answer yet.
        request.writer.output_size = 0
    return None


def _of_http(exc: HTTPException, request: web.Request) -> tuple[dict[str, Any], dict[str, str]]:
    headers = {name: exc.headers[name] for name in _EXPLAINING_HEADERS if name in exc.headers}
    if exc.status in (413, 415, 417):
        # What is left of the body stands before the next request.
        headers["Connection"] = "close"
    return problem(exc.status, _detail(exc, request)), headers


def _detail(exc: HTTPException, request: web.Request) -> str:
    """The words that it was raised with; aiohttp's router gives the status alone."""
    if exc.text and exc.text != f"{exc.status}: {exc.reason}":
        return exc.text
    path = _shown(request)[:MAX_SHOWN_CHARS]
    if exc.status == HTTPStatus.NOT_FOUND:
        return f"no such path: {path}; see docs/http.md"
    if exc.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{path} takes {exc.headers.get('Allow', '')}, not {request.method[:20]}"
    return exc.reason


def _shown(request: web.Request) -> str:
    """The path, for the log; a private feed's is a secret."""
    return "/private/…" if request.path.startswith("/private") else request.path


def _response(
    request: web.Request, found: dict[str, Any], headers: dict[str, str], settings: Settings
) -> web.Response:
    if request.writer.output_size and request.transport is not None:
        # The head has gone out: a second one would stand inside the body.
        request.transport.abort()
        raise ConnectionResetError(found["detail"])
    answer = _answer(request, found, headers, settings)
    if headers.pop("Connection", None):
        answer.force_close()
    return answer


def _answer(
    request: web.Request, found: dict[str, Any], headers: dict[str, str], settings: Settings
) -> web.Response:
    status = int(found["status"])
    headers["Cache-Control"] = "no-store"
    if request.path.startswith(_FOR_PROGRAMS) or request.path.endswith(".json"):
        return web.Response(
            status=status, headers=headers, content_type=MEDIA_TYPE, body=orjson.dumps(found)
        )
    if request.path == HUB_PATH:
        # WebSub 5.1.2: errors are described as plain text.
        headers["X-Content-Type-Options"] = "nosniff"
        return web.Response(status=status, headers=headers, text=f"{found['detail']}\n")
    view = render.ErrorView(
        site_title=settings.site_title,
        base_url=settings.base_url,
        status=status,
        heading=str(found["title"]),
        detail=str(found["detail"]),
    )
    return web.Response(
        status=status, headers={**HTML_HEADERS, **headers}, body=render.render_error(view)
    )
