"""The widget's scripts and the demo page, as files with an entity tag: cached, and asked about each time."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import Response

FOLDER = Path(__file__).parent / "static"
SCRIPT, STYLE, PAGE = "text/javascript", "text/css", "text/html"
#: The demo page loads its own files and talks to its own server, nothing else.
DEMO_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ANYWHERE = {"Access-Control-Allow-Origin": "*"}


@lru_cache(maxsize=16)
def _load(name: str, changed: int) -> tuple[bytes, str]:
    content = (FOLDER / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:20]}"'


def _serve(request: Request, name: str, media_type: str, headers: dict[str, str]) -> Response:
    content, tag = _load(name, (FOLDER / name).stat().st_mtime_ns)
    headers = {"ETag": tag, "Cache-Control": "no-cache", **headers}
    known = [entry.strip().removeprefix("W/") for entry in request.headers.get("if-none-match", "").split(",")]
    if tag in known:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)


def routes(*, demo: bool) -> APIRouter:
    """``/widget.js`` and ``/widget-files.js``, and with ``demo`` the page at ``/``."""
    router = APIRouter(include_in_schema=False)

    def add(path: str, name: str, media_type: str, headers: dict[str, str]) -> None:
        async def asset(request: Request) -> Response:
            return _serve(request, name, media_type, headers)

        router.add_api_route(path, asset, methods=["GET", "HEAD"], response_model=None)

    # Any page may load the scripts, also one that isolates itself from other origins.
    for script in ("widget.js", "widget-files.js"):
        add(f"/{script}", script, SCRIPT, {"Cross-Origin-Resource-Policy": "cross-origin", **_ANYWHERE})
    if demo:
        add("/", "demo.html", PAGE, {"Content-Security-Policy": DEMO_POLICY})
        add("/demo.js", "demo.js", SCRIPT, {})
        add("/demo.css", "demo.css", STYLE, {})

    return router
