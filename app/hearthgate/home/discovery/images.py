"""Tell whether bytes are a picture that may be shown, by the bytes alone.

    bytes ──▶ PNG, GIF, JPEG, WebP, ICO: by signature, and not too many pixels
          ──▶ SVG: svg.py

An icon comes from a stranger and is served from our own origin. Rasters are harmless
once the type is ours and sniffing is off. SVG can carry script, so only one that is
made of what icons need is taken. Whoever serves it adds a Content-Security-Policy
(default-src 'none'; style-src 'unsafe-inline'; sandbox) all the same, and pages show it
with <img>, which runs no script. Pure; decodes no picture.
"""

import struct

from hearthgate.home.discovery.svg import is_plain_svg

__all__ = ["picture_type"]

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG_SEGMENTS_MAX = 512  # before the frame header; a camera writes a dozen
_ICO_PICTURES_MAX = 64


def picture_type(data: bytes, *, max_side: int) -> str | None:
    """Return the file ending of a picture, without a dot; None if it is none.

    max_side bounds width and height in pixels. Never raises.
    """
    try:
        for ending, read in _RASTERS:
            size = read(data)
            if size is not None:
                fits = all(0 < side <= max_side for side in size)
                return ending if fits else None
    except (struct.error, IndexError):
        return None  # cut short
    return "svg" if is_plain_svg(data) else None


def _png(data: bytes) -> tuple[int, ...] | None:
    if not data.startswith(_PNG) or data[12:16] != b"IHDR":
        return None
    return struct.unpack(">II", data[16:24])


def _gif(data: bytes) -> tuple[int, ...] | None:
    if data[:6] not in {b"GIF87a", b"GIF89a"}:
        return None
    return struct.unpack("<HH", data[6:10])


def _ico(data: bytes) -> tuple[int, ...] | None:
    """Look at every picture inside: each may be a PNG of any size."""
    if data[:4] != b"\0\0\1\0":
        return None
    (count,) = struct.unpack("<H", data[4:6])
    sides = [1 if count else 0]
    for number in range(min(count, _ICO_PICTURES_MAX)):
        entry = data[6 + 16 * number : 22 + 16 * number]
        length, offset = struct.unpack("<II", entry[8:16])
        if offset + length > len(data):
            return (0,)
        inner = data[offset : offset + length]
        sides += _png(inner) or struct.unpack("<ii", inner[4:12])
    return tuple(abs(side) for side in sides)


def _webp(data: bytes) -> tuple[int, ...] | None:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    chunk = data[12:16]
    if chunk == b"VP8X":
        sides = data[24:27] + b"\0" + data[27:30] + b"\0"
        return tuple(side + 1 for side in struct.unpack("<II", sides))
    if chunk == b"VP8L":
        (bits,) = struct.unpack("<I", data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 ":
        return tuple(side & 0x3FFF for side in struct.unpack("<HH", data[26:30]))
    return (0,)


_FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def _jpeg(data: bytes) -> tuple[int, ...] | None:
    """Walk the segments to the frame header (ITU T.81 B.2.2)."""
    if data[:3] != b"\xff\xd8\xff":
        return None
    at = 2
    for _ in range(_JPEG_SEGMENTS_MAX):
        if data[at] != 0xFF:  # noqa: PLR2004 - the marker prefix
            break
        marker = data[at + 1]
        if marker in _FRAME_HEADERS:
            return struct.unpack(">HH", data[at + 5 : at + 9])
        (length,) = struct.unpack(">H", data[at + 2 : at + 4])
        at += 2 + max(length, 2)
    return (0,)


_RASTERS = (
    ("png", _png),
    ("gif", _gif),
    ("jpg", _jpeg),
    ("webp", _webp),
    ("ico", _ico),
)
