"""/static: the files that pages and feeds refer to."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from aiohttp import web

from service.errors import NotFound
from service.web.serving.response import PreparedPage

STATIC = Path(__file__).parents[1] / "html" / "static"
_TYPES = {".css": "text/css; charset=utf-8", ".png": "image/png", ".svg": "image/svg+xml"}


async def static(request: web.Request) -> web.StreamResponse:
    """GET: one of our stylesheets or icons; 404 for any other name."""
    name = request.match_info["name"]
    # The name is only compared, never joined to a path: it cannot name a file elsewhere.
    path = next((p for p in STATIC.iterdir() if p.name == name), None)
    if path is None:
        raise NotFound(f"{name}: no such file")
    return _prepared(path).make_answer(request)


@cache
def _prepared(path: Path) -> PreparedPage:
    """Read a file once; its codings are then made once, too."""
    headers = {"Content-Type": _TYPES[path.suffix], "Cache-Control": "public, max-age=3600"}
    return PreparedPage(path.read_bytes(), headers=headers)
