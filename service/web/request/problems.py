"""Error responses: problem+json (RFC 9457) for programs, an HTML page for people.

Exceptions become HTTP statuses only here. An internal error is logged with its traceback; the
client does not get the traceback.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any

import orjson
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from aiohttp.web_exceptions import HTTPException

from service.errors import (
    DatelineError,
    Gone,
    InvalidInput,
    NoAnswer,
    NotFound,
    NotPermitted,
    ScopeMissing,
    TooManyReads,
    Unavailable,
)
from service.feeds.head import HUB_PATH
from service.printable import printable
from service.settings import Settings
from service.storage.client import redis_errors_as_unavailable
from service.web.html import render
from service.web.request.body import check_length, is_invitation_awaited
from service.web.request.keys import REDIS_WATCH, SETTINGS
from service.web.serving.headers import HTML_HEADERS
from service.web.serving.response import add_common_headers, closing

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# Headers that explain the status of an error (RFC 9110 15.5.2, 15.5.6, 15.5.16, 10.2.3).
_EXPLAINING_HEADERS = ("Allow", "WWW-Authenticate", "Accept-Encoding", "Retry-After")
# Characters of the path that an error shows.
MAX_SHOWN_CHARS = 200
_FOR_PROGRAMS = (
    "/api/", "/feeds", "/livez", "/readyz", "/metrics", "/static/", "/events", "/private",
    "/sitemap", "/news-sitemap",
)  # fmt: skip


def problem(status: int, detail: str, **members: Any) -> dict[str, Any]:
    """The members of a problem; `type` is about:blank, so `title` is the phrase of the status."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": printable(detail),
        # A path, or the name of a parameter or field, may hold any characters.
        **{name: printable(str(value)) for name, value in members.items()},
    }


def of_error(exc: DatelineError) -> dict[str, Any]:
    """The problem that describes one of our own errors; its status is one of `match`."""
    match exc:
        case NotPermitted():
            return problem(403, str(exc), field=exc.field, value=exc.value)
        case ScopeMissing():
            return problem(403, str(exc), scope=exc.scope)
        case InvalidInput():
            return problem(400, str(exc), field=exc.field, value=exc.value)
        case Gone():
            return problem(410, str(exc))
        case NotFound():
            return problem(404, str(exc))
        case TooManyReads():
            return problem(429, str(exc))
        case NoAnswer():
            return problem(503, str(exc))
        case Unavailable():
            # The error names the address of our Redis, which clients need not know. The reply to
            # a command may be lost after the command was executed.
            text = "storage is unavailable or cannot write now; the request may have been stored"
            return problem(503, f"{text}: send it again")
        case _:
            return problem(500, str(exc))


def _explaining_headers(exc: DatelineError) -> dict[str, str]:
    match exc:
        case Unavailable() | TooManyReads() | NoAnswer():
            return {"Retry-After": str(exc.retry_after_s)}
        case ScopeMissing():
            challenge = f'Bearer realm="dateline", error="insufficient_scope", scope="{exc.scope}"'
            return {"WWW-Authenticate": challenge}
        case _:
            return {}


def middleware(settings: Settings) -> Any:
    """Turn every exception of a handler into an error response."""

    @web.middleware
    async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
        headers: dict[str, str] = {}
        try:
            # For every path: do not wait for a body that is too large.
            check_length(request, max_bytes=settings.api_max_bytes)
            watch = request.app[REDIS_WATCH]
            with redis_errors_as_unavailable():
                async with watch.bounded(lambda: bool(request.writer.output_size)):
                    return _closing_uninvited(request, await handler(request))
        except DatelineError as exc:
            if isinstance(exc, Unavailable):
                logger.warning("answered 503", extra={"path": _shown(request), "reason": str(exc)})
            members, headers = of_error(exc), _explaining_headers(exc)
        except HTTPException as exc:
            if exc.status < 400:
                raise
            members, headers = _of_http(exc, request)
        except web.RequestPayloadError as exc:
            members = problem(400, f"the body cannot be read: {exc}")
            # The rest of the body would be read as the next request.
            headers["Connection"] = "close"
        except TimeoutError:
            members = problem(408, "the body did not arrive in time")
            headers["Connection"] = "close"
        except ConnectionError:
            raise  # The client has closed the connection: no response can be sent.
        except Exception:  # The outermost handler: a bug costs one request, not the server.
            logger.exception("a request failed", extra={"path": _shown(request)})
            members = problem(500, "an internal error; the operator's log has it")
        return _closing_uninvited(request, _response(request, members, headers, settings))

    return answer_errors


async def hold_expectation(request: web.Request) -> web.StreamResponse | None:
    """Leave `Expect: 100-continue` unanswered: the handler that reads the body answers it, once
    the request is authorized (`read_body`). Other values are refused."""
    return await refused_expectation(request, request.app)


async def refused_expectation(
    request: web.BaseRequest, app: web.Application
) -> web.StreamResponse | None:
    """The answer to a request with `Expect` that no handler would get, and to which aiohttp would
    answer itself: 417 for what is not known, 413, 404 and 405; it closes the connection. None for
    other requests."""
    expectation = request.headers.get(hdrs.EXPECT, "")
    if not expectation or not isinstance(request, web.Request):
        return None
    settings = app[SETTINGS]
    try:
        if expectation.lower() != "100-continue":
            raise web.HTTPExpectationFailed(text="Expect: only 100-continue is known")
        check_length(request, max_bytes=settings.api_max_bytes)
        refusal = (await app.router.resolve(request)).http_exception
        if refusal is None:
            return None
    except HTTPException as exc:
        refusal = exc
    members, headers = _of_http(refusal, request)
    response = _response(request, members, headers, settings)
    add_common_headers(response.headers)
    response.force_close()
    return response


def _closing_uninvited(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """The response; it closes the connection if the body was not asked for and may follow."""
    if is_invitation_awaited(request) and not response.prepared:
        return closing(response)
    return response


def _of_http(exc: HTTPException, request: web.Request) -> tuple[dict[str, Any], dict[str, str]]:
    headers = {name: exc.headers[name] for name in _EXPLAINING_HEADERS if name in exc.headers}
    if exc.status in (413, 415, 417, 429, 503):
        # What is left of the body stands before the next request; and a client that has too much
        # of something shall not have a connection besides.
        headers["Connection"] = "close"
    return problem(exc.status, _detail(exc, request)), headers


def _detail(exc: HTTPException, request: web.Request) -> str:
    """The text of the exception; for errors of the router, which have no text, one that helps."""
    if exc.text and exc.text != f"{exc.status}: {exc.reason}":
        return exc.text
    path = _shown(request)[:MAX_SHOWN_CHARS]
    if exc.status == HTTPStatus.NOT_FOUND:
        return f"no such path: {path}; see docs/http.md"
    if exc.status == HTTPStatus.METHOD_NOT_ALLOWED:
        return f"{path} takes {exc.headers.get('Allow', '')}, not {request.method[:20]}"
    return exc.reason


def _shown(request: web.Request) -> str:
    """The path for the log; that of a private feed is a secret and is left out."""
    return "/private/…" if request.path.startswith("/private") else request.path


def _response(
    request: web.Request, members: dict[str, Any], headers: dict[str, str], settings: Settings
) -> web.Response:
    if request.writer.output_size and request.transport is not None:
        # The head was sent: a second head would become part of the body.
        request.transport.abort()
        raise ConnectionResetError(members["detail"])
    answer = _answer(request, members, headers, settings)
    if headers.pop("Connection", None):
        answer.force_close()
    return answer


def _answer(
    request: web.Request, members: dict[str, Any], headers: dict[str, str], settings: Settings
) -> web.Response:
    status = int(members["status"])
    headers["Cache-Control"] = "no-store"
    if request.path.startswith(_FOR_PROGRAMS) or request.path.endswith(".json"):
        return web.Response(
            status=status, headers=headers, content_type=MEDIA_TYPE, body=orjson.dumps(members)
        )
    if request.path == HUB_PATH:
        # WebSub 5.1.2: errors are described as plain text.
        headers["X-Content-Type-Options"] = "nosniff"
        return web.Response(status=status, headers=headers, text=f"{members['detail']}\n")
    view = render.ErrorView(
        site_title=settings.site_title,
        base_url=settings.base_url,
        status=status,
        heading=str(members["title"]),
        detail=str(members["detail"]),
    )
    return web.Response(
        status=status, headers={**HTML_HEADERS, **headers}, body=render.render_error(view)
    )
