"""What goes over a sealed channel: frames, each encrypted and authenticated by itself.

    kind 1 | size 2 | AES-128-GCM of `size` bytes, tag 16 at its end

    OPEN    flags, port, PROXY header   a visitor came                  relay ─▶ home
    ACCEPT                              the home is there, if asked     home ─▶ relay
    DATA    bytes                       of the visitor or the service   both ways
    END     perhaps last bytes          nothing more comes this way     both ways

After an END each way the channel is free for the next OPEN. A key per channel and
direction comes from the session's channel key, which only the control connection has
carried, and from the channel's serial, which counts once. The nonce is the frame's
number, so nothing can be left out, repeated or moved. Layout: docs/protocol.md §8.
"""

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hearthgate.wire.proxy import PROXY_HEADER_SIZES

FRAME_MAX_BYTES: Final = 32 * 1024  # of what is inside
WEB_PORT: Final = 0  # in an OPEN: a web visitor, for the edge
_TAG_BYTES: Final = 16
_HEAD = struct.Struct("!BH")
_NONCE = struct.Struct("!4xQ")
_SERIAL = struct.Struct("!Q")
_OPEN = struct.Struct("!BH")
_ASKS: Final = 1
_LABELS: Final = (b"hearthgate sealed to relay", b"hearthgate sealed to home")
_NEXT_LABEL: Final = b"hearthgate sealed next"
# RFC 8446 §5.5 lets AES-GCM have 24 million records of half this size with one key.
_FRAMES_PER_KEY: Final = 1 << 22


class FrameKind(IntEnum):
    """What a frame is."""

    OPEN = 1
    ACCEPT = 2
    DATA = 3
    END = 4


_KINDS: Final = frozenset(FrameKind)
Frame = tuple[int, bytes]  # its kind, and what is inside


class FrameForgedError(Exception):
    """Raise for a frame that was not sealed by the other end, or not now."""


@dataclass(frozen=True, slots=True)
class StreamOpen:
    """An OPEN: which of the relay's ports a visitor came to, and who it is."""

    port: int  # a forward's, or WEB_PORT
    proxy: bytes  # a PROXY header
    asks: bool  # for an ACCEPT, before the first byte of the visitor


def sealed_keys(channel_key: bytes, serial: int) -> tuple[bytes, bytes]:
    """Return the keys of one channel, towards the relay and towards the home."""
    to_relay, to_home = (
        blake2b(label + _SERIAL.pack(serial), key=channel_key, digest_size=16).digest()
        for label in _LABELS
    )
    return to_relay, to_home


def write_stream_open(opened: StreamOpen) -> bytes:
    """Return what is inside an OPEN."""
    return _OPEN.pack(_ASKS if opened.asks else 0, opened.port) + opened.proxy


def read_stream_open(inside: bytes) -> StreamOpen | None:
    """Return an OPEN, or None if it is none."""
    proxy = inside[_OPEN.size :]
    if len(proxy) not in PROXY_HEADER_SIZES:
        return None
    flags, port = _OPEN.unpack_from(inside)
    return StreamOpen(port, proxy, bool(flags & _ASKS))


class _Counted:
    """A key and how many frames it has seen. Both ends take the next one together."""

    __slots__ = ("_aead", "_count", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._aead = AESGCM(key)
        self._count = 0

    def _nonce(self) -> bytes:
        self._count += 1
        if self._count % _FRAMES_PER_KEY == 0:
            self._key = blake2b(_NEXT_LABEL, key=self._key, digest_size=16).digest()
            self._aead = AESGCM(self._key)
        return _NONCE.pack(self._count)


class FrameSealer(_Counted):
    """Seal what goes one way over one channel. Never two for one key."""

    __slots__ = ()

    def seal(self, kind: FrameKind, inside: bytes | memoryview = b"") -> list[bytes]:
        """Return a frame in two parts. At most FRAME_MAX_BYTES are inside."""
        head = _HEAD.pack(kind, len(inside))
        return [head, self._aead.encrypt(self._nonce(), inside, head)]

    def seal_all(self, data: memoryview, *, is_end: bool) -> list[bytes]:
        """Return the frames of a part of a stream; the last one may end it."""
        parts: list[bytes] = []
        most = len(data)
        for start in range(0, most or 1, FRAME_MAX_BYTES):
            is_last = start + FRAME_MAX_BYTES >= most
            kind = FrameKind.END if is_end and is_last else FrameKind.DATA
            parts += self.seal(kind, data[start : start + FRAME_MAX_BYTES])
        return parts


class FrameOpener(_Counted):
    """Open what comes one way over one channel, in whatever pieces it comes."""

    __slots__ = ("_rest",)

    def __init__(self, key: bytes) -> None:
        super().__init__(key)
        self._rest = b""  # the beginning of a frame

    def feed(self, data: memoryview) -> list[Frame]:
        """Return the frames that are complete now. Raises FrameForgedError."""
        if self._rest:
            data = memoryview(self._rest + data)
        frames: list[Frame] = []
        start, end = 0, len(data)
        while end - start >= _HEAD.size:
            kind, size = _HEAD.unpack_from(data, start)
            if kind not in _KINDS or size > FRAME_MAX_BYTES:
                raise FrameForgedError
            inside = start + _HEAD.size
            after = inside + size + _TAG_BYTES
            if after > end:
                break
            try:
                plain = self._aead.decrypt(
                    self._nonce(), data[inside:after], data[start:inside]
                )
            except InvalidTag as err:
                raise FrameForgedError from err
            frames.append((kind, plain))
            start = after
        self._rest = bytes(data[start:])
        return frames
