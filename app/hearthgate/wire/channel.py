"""The first bytes of a channel, in both directions.

    agent ──preamble──▶ relay          parks the channel: which session, which serial
    agent ◀──opening─── relay          gives it to a visitor; PROXY header and the
                                       visitor's first flight follow

Both carry a tag under the session's channel key, which only the control connection has
carried, so somebody on the path can neither park a channel nor forge a visitor's
address: the tag of an opening covers the first flight too, and nobody but the visitor
can go on from there. It is a keyed BLAKE2b: a third of the time of an HMAC.
A serial counts once per session, and an opening is bound to the serial of its channel,
so neither can be replayed. Layouts: docs/protocol.md §4 and §5.
"""

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
import hmac
import struct
from typing import Final

from hearthgate.wire.constants import (
    CHANNEL_MAGIC,
    OPENING_MAGIC,
    SESSION_ID_BYTES,
    TAG_BYTES,
)
from hearthgate.wire.proxy import PROXY_HEADER_SIZES

_PREAMBLE = struct.Struct(f"!4sB3x{SESSION_ID_BYTES}sQ")
_OPENING = struct.Struct("!4sBxHH2x")
_SERIAL = struct.Struct("!Q")
_PREAMBLE_LABEL: Final = b"hearthgate channel preamble"
_OPENING_LABEL: Final = b"hearthgate channel opening"

PREAMBLE_BYTES: Final = _PREAMBLE.size + TAG_BYTES
OPENING_BYTES: Final = _OPENING.size + TAG_BYTES  # without PROXY header and flight
FLIGHT_MAX_BYTES: Final = (1 << 16) - 1
SERIAL_MAX: Final = (1 << 64) - 1


class ChannelKind(IntEnum):
    """What a channel carries."""

    CLEAR = 1  # a visitor's TLS, unchanged; in a preamble: whatever it is opened for
    SEALED = 2  # frames that the relay and the agent seal, see sealed.py


_KINDS: Final = frozenset(ChannelKind)


@dataclass(frozen=True, slots=True)
class Preamble:
    """What an agent says about a channel that it parks; not yet authenticated."""

    session_id: bytes
    serial: int
    signed: bytes  # the bytes under the tag
    tag: bytes


def _tag(key: bytes, *parts: bytes) -> bytes:
    return blake2b(b"".join(parts), key=key, digest_size=TAG_BYTES).digest()


def write_preamble(session_id: bytes, serial: int, key: bytes) -> bytes:
    """Return the preamble of a clear channel."""
    signed = _PREAMBLE.pack(CHANNEL_MAGIC, ChannelKind.CLEAR, session_id, serial)
    return signed + _tag(key, _PREAMBLE_LABEL, signed)


def read_preamble(data: bytes) -> Preamble | None:
    """Return the preamble, or None if these PREAMBLE_BYTES bytes are none."""
    if len(data) != PREAMBLE_BYTES:
        return None
    magic, kind, session_id, serial = _PREAMBLE.unpack_from(data)
    signed = data[: _PREAMBLE.size]
    if magic != CHANNEL_MAGIC or kind != ChannelKind.CLEAR or any(signed[5:8]):
        return None
    return Preamble(session_id, serial, signed, data[_PREAMBLE.size :])


def preamble_is_authentic(preamble: Preamble, key: bytes) -> bool:
    """Tell whether a preamble was written with this session's channel key."""
    expected = _tag(key, _PREAMBLE_LABEL, preamble.signed)
    return hmac.compare_digest(expected, preamble.tag)


def write_opening(
    session_id: bytes,
    serial: int,
    key: bytes,
    proxy: bytes,
    flight: bytes,
    *,
    kind: ChannelKind = ChannelKind.CLEAR,
) -> bytes:
    """Return the opening for one channel, with PROXY header and first flight behind it.

    Raises struct.error if the flight is longer than FLIGHT_MAX_BYTES.
    """
    head = _OPENING.pack(OPENING_MAGIC, kind, len(proxy), len(flight))
    serial_bytes = _SERIAL.pack(serial)
    tag = _tag(key, _OPENING_LABEL, session_id, serial_bytes, head, proxy, flight)
    return b"".join((head, tag, proxy, flight))


def opening_size(data: bytes) -> int | None:
    """Return the size of opening, PROXY header and flight; None if it is no opening.

    Needs the first OPENING_BYTES bytes.
    """
    if len(data) < OPENING_BYTES:
        return None
    magic, kind, proxy_bytes, flight_bytes = _OPENING.unpack_from(data)
    if magic != OPENING_MAGIC or kind not in _KINDS:
        return None
    if data[5] or any(data[10:12]) or proxy_bytes not in PROXY_HEADER_SIZES:
        return None
    return OPENING_BYTES + int(proxy_bytes) + int(flight_bytes)


def opening_is_sealed(opening: bytes) -> bool:
    """Tell whether an opening that `opening_size` has accepted is for frames."""
    return opening[4] == ChannelKind.SEALED


def opening_head_size(opening: bytes) -> int:
    """Return the size of opening and PROXY header, likewise."""
    return OPENING_BYTES + int(_OPENING.unpack_from(opening)[2])


def opening_is_authentic(
    opening: bytes, session_id: bytes, serial: int, key: bytes
) -> bool:
    """Tell whether an opening, PROXY header and flight, is for this channel."""
    head = opening[: _OPENING.size]
    tag = opening[_OPENING.size : OPENING_BYTES]
    rest = opening[OPENING_BYTES:]
    expected = _tag(key, _OPENING_LABEL, session_id, _SERIAL.pack(serial), head, rest)
    return hmac.compare_digest(expected, tag)
