"""/static: the files that pages and feeds refer to."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web

from service.errors import NotFound

STATIC = Path(__file__).parents[1] / "html" / "static"


async def static(request: web.Request) -> web.StreamResponse:
    """Stylesheets and pictures of our own; the name is looked up, never joined to a path unseen."""
    name = request.match_info["name"]
    path = next((p for p in STATIC.iterdir() if p.name == name), None)
    if path is None:
        raise NotFound(f"{name}: no such file")
    return web.FileResponse(path, headers={"Cache-Control": "public, max-age=3600"})
