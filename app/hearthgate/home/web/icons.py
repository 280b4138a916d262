"""Answer with a service's icon, which came from a stranger on the home network.

The type comes from the bytes, never from what the service claimed. An SVG may hold
scripts: the policy and the sandbox keep it a picture, also when it is opened by itself.
"""

import asyncio
from pathlib import Path

from aiohttp import web

from hearthgate.home.web.errors import NotFoundError
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    StateNotReadableError,
    read_capped,
)

_ICON_MAX_BYTES = 1024 * 1024
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "Content-Disposition": "inline",
}
_YEAR_SECONDS = 365 * 24 * 3600
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
)


async def icon_response(request: web.Request, path: Path | None) -> web.Response:
    """Return the icon, to be kept for ever if its version (?v=…) was asked for."""
    raw = None if path is None else await asyncio.to_thread(_read, path)
    kind = None if raw is None else image_type(raw)
    if kind is None:
        raise NotFoundError(path=request.path)
    cache = "no-cache"
    if "v" in request.query:
        cache = f"private, max-age={_YEAR_SECONDS}, immutable"
    return web.Response(
        body=raw, content_type=kind, headers={**_HEADERS, "Cache-Control": cache}
    )


def image_type(raw: bytes) -> str | None:
    """Return the media type of an image that browsers show, None for all else."""
    for magic, kind in _MAGIC:
        if raw.startswith(magic):
            return kind
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return "image/webp"
    if raw[4:12] in {b"ftypavif", b"ftypavis"}:
        return "image/avif"
    head = raw[:1024].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if head.startswith((b"<svg", b"<?xml", b"<!--", b"<!doctype svg")):
        return "image/svg+xml" if b"<svg" in raw[:4096].lower() else None
    return None


def _read(path: Path) -> bytes | None:
    try:
        return read_capped(path, _ICON_MAX_BYTES)
    except (NotAFileError, StateNotReadableError):
        return None
