"""Serve the files of the page from memory.

    folder ──once──▶ {path: bytes, type, ETag}       GET /x.js ──▶ 200 | 304 | 404

Only what was in the folder at the start exists, so no path can lead out of it. Browsers
ask each time (no-cache) and mostly get a 304: after an update nobody sees half of it.
"""

from dataclasses import dataclass
import hashlib
from pathlib import Path

from aiohttp import ETag, web

from hearthgate.home.web.errors import NotFoundError

INDEX = "index.html"
PAGE_FOLDER = Path(__file__).parent / "page"
# Not the mimetypes of the system: those differ, and nosniff makes a wrong one fatal.
_TYPES = {
    ".css": "text/css",
    ".html": "text/html",
    ".ico": "image/x-icon",
    ".js": "text/javascript",
    ".json": "application/json",
    ".map": "application/json",
    ".mjs": "text/javascript",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str
    tag: str


class PageFiles:
    """The files of one folder as they were at the start."""

    def __init__(self, folder: Path) -> None:
        """Read them all. Blocking. Files of an unknown type are left out."""
        self._files = {
            path.relative_to(folder).as_posix(): _read(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix in _TYPES
        }

    async def serve(self, request: web.Request) -> web.Response:
        """Answer with the file at the request's path; the root is the index."""
        path = request.match_info["path"] or INDEX
        file = self._files.get(path)
        if file is None:
            raise NotFoundError(path=request.path[:200])
        asked = request.if_none_match or ()
        if any(tag.value in {file.tag, "*"} for tag in asked):
            response = web.Response(status=304)
        else:
            response = web.Response(body=file.body, content_type=file.content_type)
            if file.content_type.startswith("text/"):
                response.charset = "utf-8"
        response.etag = ETag(file.tag)
        response.headers["Cache-Control"] = "no-cache"
        return response


def _read(path: Path) -> _File:
    body = path.read_bytes()
    tag = hashlib.sha256(body).hexdigest()[:32]
    return _File(body, _TYPES[path.suffix], tag)
