"""Datagrams of UDP forwards between relay and home: sealed one by one.

    kind 1 | session 7 | counter 8 | AES-128-GCM of a message, tag 16 at its end

    message   OPEN   flow, port, visitor's address and port, payload    relay ─▶ home
              DATA   flow, payload                                      both ways
              ACCEPT flow      the home knows the flow: DATA from now   home ─▶ relay
              CLOSE  flow      it does not, or not any more             both ways
              HELLO / ANSWER   keeps the mapping of the home's router alive

A key per session and direction comes from the session's channel key, which only the
control connection has carried. The counter is the nonce and never repeats; a window
accepts each once (RFC 6479 says why late ones are fine). Layout: docs/protocol.md §9.
"""

from dataclasses import dataclass
from enum import IntEnum
from hashlib import blake2b
import ipaddress
import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hearthgate.wire.proxy import Endpoint
from hearthgate.wire.replay import ReplayWindow

DATAGRAM_KIND: Final = 0x48
SESSION_TAG_BYTES: Final = 7
HEAD_BYTES: Final = 16
SEAL_BYTES: Final = HEAD_BYTES + 16
_HEAD = struct.Struct(f"!B{SESSION_TAG_BYTES}sQ")
_FLOW = struct.Struct("!BI")
_OPEN = struct.Struct("!BIH16sH")
FLOW_BYTES: Final = _FLOW.size
OPEN_BYTES: Final = _OPEN.size
_MAPPED: Final = b"\x00" * 10 + b"\xff\xff"  # RFC 4291 §2.5.5.2
_SEGMENTS_MAX: Final = 64  # UDP_MAX_SEGMENTS of linux/udp.h
_LABELS: Final = (b"hearthgate datagrams to relay", b"hearthgate datagrams to home")


class Kind(IntEnum):
    """What a message says."""

    DATA = 1
    OPEN = 2
    ACCEPT = 3
    CLOSE = 4
    HELLO = 5
    ANSWER = 6


@dataclass(frozen=True, slots=True)
class Opened:
    """An OPEN: a flow that the home may not know yet, with its first payload."""

    flow: int
    port: int
    visitor: Endpoint
    payload: bytes


def session_tag(session_id: bytes) -> bytes:
    """Return what names a session in each datagram."""
    return session_id[:SESSION_TAG_BYTES]


def datagram_keys(channel_key: bytes) -> tuple[bytes, bytes]:
    """Return the keys towards the relay and towards the home."""
    to_relay, to_home = (
        blake2b(label, key=channel_key, digest_size=16).digest() for label in _LABELS
    )
    return to_relay, to_home


class Sealer:
    """Seal messages of one direction. Never two for one key: counters would repeat."""

    __slots__ = ("_aead", "_counter", "_tag")

    def __init__(self, key: bytes, tag: bytes) -> None:
        self._aead = AESGCM(key)
        self._tag = tag
        self._counter = 0

    def seal(self, message: bytes) -> bytes:
        """Return the datagram for a message."""
        self._counter += 1
        head = _HEAD.pack(DATAGRAM_KIND, self._tag, self._counter)
        nonce = b"\0\0\0\0" + head[8:]
        return head + self._aead.encrypt(nonce, message, head)


class Opener:
    """Open datagrams of one direction; each counts once."""

    __slots__ = ("_aead", "_window", "forged", "highest", "replayed")

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)
        self._window = ReplayWindow()
        self.highest = 0
        self.forged = 0
        self.replayed = 0

    def open(self, datagram: bytes) -> bytes | None:
        """Return the message, or None for what is forged, replayed or too late."""
        head = datagram[:HEAD_BYTES]
        if len(datagram) <= SEAL_BYTES:
            self.forged += 1
            return None
        try:
            nonce = b"\0\0\0\0" + head[8:]
            message = self._aead.decrypt(nonce, datagram[HEAD_BYTES:], head)
        except InvalidTag:
            self.forged += 1
            return None
        counter = int.from_bytes(head[8:])
        # Only what is authentic may move the window.
        if not self._window.accept(counter):
            self.replayed += 1
            return None
        self.highest = max(self.highest, counter)
        return message

    def is_newest(self, datagram: bytes) -> bool:
        """Tell whether nothing newer than an opened datagram has come."""
        return int.from_bytes(datagram[8:HEAD_BYTES]) == self.highest


def tag_of(datagram: bytes) -> bytes | None:
    """Return the session's tag; None if this is no datagram of ours."""
    if len(datagram) <= SEAL_BYTES or datagram[0] != DATAGRAM_KIND:
        return None
    return datagram[1 : 1 + SESSION_TAG_BYTES]


def write_open(flow: int, port: int, visitor: Endpoint, payload: bytes) -> bytes:
    """Return an OPEN."""
    address = ipaddress.ip_address(visitor[0].partition("%")[0])
    packed = address.packed
    if len(packed) < len(_MAPPED) + 4:
        packed = _MAPPED + packed
    return _OPEN.pack(Kind.OPEN, flow, port, packed, visitor[1]) + payload


def read_open(message: bytes) -> Opened | None:
    """Return an OPEN, or None if it is too short."""
    if len(message) < OPEN_BYTES:
        return None
    _, flow, port, packed, visitor_port = _OPEN.unpack_from(message)
    address = ipaddress.IPv6Address(packed)
    host = str(address.ipv4_mapped or address)
    return Opened(flow, port, (host, visitor_port), message[OPEN_BYTES:])


def write_flow(kind: Kind, flow: int, payload: bytes = b"") -> bytes:
    """Return a DATA, ACCEPT or CLOSE."""
    return _FLOW.pack(kind, flow) + payload


def read_flow(message: bytes) -> int | None:
    """Return the flow of a DATA, ACCEPT or CLOSE; its payload is behind FLOW_BYTES."""
    if len(message) < FLOW_BYTES:
        return None
    return int.from_bytes(message[1:FLOW_BYTES])


def runs(datagrams: list[bytes], most: int) -> list[tuple[int, int]]:
    """Split a list into runs that one system call can send: [from, to).

    UDP_SEGMENT (udp(7)) cuts a buffer into pieces of one size, of which only the last
    may be shorter; `most` bytes fit into one.
    """
    found: list[tuple[int, int]] = []
    start = 0
    while start < len(datagrams):
        size = len(datagrams[start])
        end, total = start + 1, size
        while end < len(datagrams) and end - start < _SEGMENTS_MAX:
            length = len(datagrams[end])
            if length > size or total + length > most:
                break
            total += length
            end += 1
            if length < size:
                break
        found.append((start, end))
        start = end
    return found
