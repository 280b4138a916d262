"""Version 1 on the wire, as small as it can be said."""

import base64
from hashlib import blake2b
import json
import struct
from typing import Any
import zlib

Json = dict[str, Any]

CONTROL_NAME = "relay.hearthgate.internal"
TO_RELAY = {"hello", "publish", "answer", "drop_answer"}
# What a reader of version 1 insists on, by type. Other keys it ignores, another type
# ends the session.
KEYS = {
    "hello": {"protocols", "software"},
    "welcome": {
        *("protocol", "session_id", "generation", "channel_key", "home", "domains"),
        *("addresses", "channels_max", "software"),
    },
    "publish": {"id", "hostnames"},
    "published": {"id", "refused"},
    "answer": {"id", "hostname", "token", "key_authorization"},
    "drop_answer": {"id", "hostname", "token"},
    "done": {"id"},
    "refused": {"id", "code", "message"},
    "need": {"count", "stale_before"},
    "goodbye": {"reason"},
}
REASONS = {"replaced", "revoked", "stopping", "misbehaved"}


class BrokenError(Exception):
    """Raise if the other side does not speak version 1."""


def read(text: str) -> Json:
    """Return a message as a reader of version 1 takes it. Raises BrokenError."""
    message: Json = json.loads(text)
    kind = message.get("type")
    if kind not in KEYS:
        raise BrokenError(f"unknown type {kind!r}")
    missing = KEYS[kind] - set(message)
    if missing or (kind == "goodbye" and message["reason"] not in REASONS):
        raise BrokenError(f"{kind}: {missing or message}")
    return message


def _tag(key: bytes, *parts: bytes) -> bytes:
    return blake2b(b"".join(parts), key=key, digest_size=16).digest()


def preamble(session: bytes, serial: int, key: bytes) -> bytes:
    """Return what parks a channel."""
    signed = b"HGC1\x01\0\0\0" + session + struct.pack("!Q", serial)
    return signed + _tag(key, b"hearthgate channel preamble", signed)


def opening(
    session: bytes, serial: int, key: bytes, proxy: bytes, flight: bytes
) -> bytes:
    """Return what gives a channel to a visitor, with header and first flight."""
    head = b"HGO1\x01\0" + struct.pack("!HHxx", len(proxy), len(flight))
    serial_bytes = struct.pack("!Q", serial)
    label = b"hearthgate channel opening"
    tag = _tag(key, label, session, serial_bytes, head, proxy, flight)
    return head + tag + proxy + flight


def proxy(visitor: tuple[str, int], relay: tuple[str, int]) -> bytes:
    """Return a PROXY header for IPv4."""
    addresses = bytes(
        int(part) for one in (visitor, relay) for part in one[0].split(".")
    )
    return (
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
        + addresses
        + struct.pack("!HH", visitor[1], relay[1])
    )


def write_code(
    host: str, port: int, fingerprint: bytes, secret: bytes, expires: int
) -> str:
    """Return a pairing code."""
    body = struct.pack("!I", expires) + secret + fingerprint
    body += struct.pack("!H", port) + host.encode()
    body = struct.pack("!H", len(body) + 6) + body
    body += struct.pack("!I", zlib.crc32(body))
    return "HG1-" + base64.b32encode(body).decode().rstrip("=")


def read_code(text: str) -> tuple[str, int, bytes, bytes]:
    """Return host, port, fingerprint and secret of a pairing code."""
    digits = text.removeprefix("HG1-").replace("-", "")
    body = base64.b32decode(digits + "=" * (-len(digits) % 8))
    if zlib.crc32(body[:-4]) != int.from_bytes(body[-4:], "big"):
        raise BrokenError("checksum")
    port = int.from_bytes(body[54:56], "big")
    return body[56:-4].decode(), port, body[22:54], body[6:22]
