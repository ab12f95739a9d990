"""Connections whose bytes are not HTTP: answered without a word about the software behind."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from service.web.serving.response import add_common_headers


class ErrorConnection(RequestHandler):
    """aiohttp's protocol of one connection, with error responses of our own.

    aiohttp's name its version and that of Python, and repeat bytes of the request.
    """

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, *args: Any, **options: Any
    ) -> web.StreamResponse:
        """Log as aiohttp does; answer with the status alone, and close the connection.

        Raises:
            ConnectionError: a part of the response was sent before.
        """
        super().handle_error(request, status, *args, **options)
        # Without a body: whether these bytes were a HEAD is not known.
        response = web.Response(status=status, headers={"Cache-Control": "no-store"})
        add_common_headers(response.headers)
        response.force_close()
        return response
