"""Read the ClientHello at the start of a visitor's stream.

    TLS records ──strip 5-byte headers──▶ handshake message ──▶ server_name, ALPN

This is the relay's security boundary: who gets a visitor is decided here. Incomplete is
never absent, a broken hello is never a hello without a name, and there is no default.
Moves no bytes, keeps none, never raises.
"""

from dataclasses import dataclass
import re
import struct
from typing import Final

_RECORD_HEADER: Final = 5  # type, version, length: RFC 8446 §5.1
_MESSAGE_HEADER: Final = 4  # type, 24-bit length: RFC 8446 §4
_RECORD_MAX: Final = 1 << 14  # RFC 8446 §5.1: plaintext fragments
_HANDSHAKE: Final = 22
_CLIENT_HELLO: Final = 1
_EXTENSION: Final = struct.Struct("!HH")  # type, length: RFC 8446 §4.2
_FIXED: Final = 2 + 32  # legacy_version, random
_SESSION_ID_MAX: Final = 32
_EXT_SERVER_NAME: Final = 0  # RFC 6066 §3
_EXT_ALPN: Final = 16  # RFC 7301 §3.1
_HOST_NAME: Final = 0

_HIDDEN: Final = re.compile(rb"[^\x21-\x7e]")  # all but visible ASCII

ACME_TLS_ALPN: Final = b"acme-tls/1"  # RFC 8737 §6.2


@dataclass(frozen=True, slots=True)
class Hello:
    """A complete ClientHello."""

    server_name: str | None  # lower case, no trailing dot; None: extension absent
    protocols: tuple[bytes, ...]  # ALPN, in the visitor's order; () if absent
    size: int  # bytes of the flight, record headers included


@dataclass(frozen=True, slots=True)
class NeedMore:
    """The bytes so far could become a ClientHello."""

    missing: int  # at least so many more bytes before it makes sense to look again


@dataclass(frozen=True, slots=True)
class NotHello:
    """No continuation of these bytes is a ClientHello that we accept."""

    reason: str


class _MalformedError(Exception):
    """Raise inside this module if a length points beyond its field."""


def read_hello(flight: bytes, *, max_bytes: int) -> Hello | NeedMore | NotHello:
    """Read the ClientHello at the start of a stream.

    Joins handshake fragments over TLS records (RFC 8446 §5.1) and reads server_name
    (RFC 6066 §3) and ALPN (RFC 7301 §3.1). While a byte is missing the answer is
    NeedMore, beyond max_bytes of flight it is NotHello.
    """
    joined = _join_fragments(flight, max_bytes)
    if not isinstance(joined, tuple):
        return joined
    message, size = joined
    try:
        server_name, protocols = _read_message(message)
    except _MalformedError as err:
        return NotHello(str(err))
    return Hello(server_name, protocols, size)


def _join_fragments(
    flight: bytes, max_bytes: int
) -> tuple[bytes, int] | NeedMore | NotHello:
    """Return the body of the first handshake message and the size of its records.

    Takes whole records only. What is missing is counted so that a sender of tiny
    fragments cannot make the caller look again for every byte.
    """
    joined = bytearray()
    size = 0
    needed = _MESSAGE_HEADER
    while len(joined) < needed:
        header = flight[size : size + _RECORD_HEADER]
        fault = _header_fault(header)
        if fault:
            return NotHello(fault)
        end = size + _RECORD_HEADER
        least = end + needed - len(joined)  # even if this record is the last one
        if len(header) == _RECORD_HEADER:
            end += int.from_bytes(header[3:], "big")
        if max(end, least) > max_bytes:
            return NotHello("the ClientHello is too large")
        if end > len(flight):
            return NeedMore(max(end, least) - len(flight))
        joined += flight[size + _RECORD_HEADER : end]
        size = end
        if joined[0] != _CLIENT_HELLO:
            return NotHello("the first handshake message is no ClientHello")
        if len(joined) >= _MESSAGE_HEADER:
            needed = _MESSAGE_HEADER + int.from_bytes(joined[1:_MESSAGE_HEADER], "big")
            if needed > max_bytes:
                return NotHello("the ClientHello is too large")
    return bytes(joined[_MESSAGE_HEADER:needed]), size


def _header_fault(header: bytes) -> str:
    """Say what is wrong with the part of a record header that is there."""
    if header[:1] not in (b"", b"\x16"):
        return "the first record is no TLS handshake"
    if header[1:2] not in (b"", b"\x03"):
        return "the record has no TLS version"
    if len(header) == _RECORD_HEADER:
        length = int.from_bytes(header[3:], "big")
        if not 0 < length <= _RECORD_MAX:
            return "the record has a length that TLS forbids"
    return ""


class _Reader:
    """Take fields from the front of a message."""

    __slots__ = ("_at", "_data", "_end")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._end = len(data)

    def __bool__(self) -> bool:
        return self._at < self._end

    def take(self, count: int) -> bytes:
        """Return the next bytes; raise _MalformedError if there are fewer."""
        start = self._at
        self._at = start + count
        if self._at > self._end:
            raise _MalformedError("a length in the ClientHello points beyond its end")
        return self._data[start : self._at]

    def vector(self, length_bytes: int) -> bytes:
        """Return the next vector with its length in front (RFC 8446 §3.4)."""
        return self.take(int.from_bytes(self.take(length_bytes), "big"))


def _read_message(message: bytes) -> tuple[str | None, tuple[bytes, ...]]:
    """Return server_name and ALPN of a ClientHello body (RFC 8446 §4.1.2)."""
    reader = _Reader(message)
    reader.take(_FIXED)
    if len(reader.vector(1)) > _SESSION_ID_MAX:
        raise _MalformedError("the session id is too long")
    suites = reader.vector(2)
    if not suites or len(suites) % 2:
        raise _MalformedError("the list of cipher suites is broken")
    if not reader.vector(1):
        raise _MalformedError("the list of compression methods is empty")
    if not reader:
        return None, ()
    extensions = _read_extensions(reader.vector(2))
    if reader:
        raise _MalformedError("bytes follow the last extension")
    name = extensions.get(_EXT_SERVER_NAME)
    alpn = extensions.get(_EXT_ALPN)
    return (
        None if name is None else _read_server_name(name),
        () if alpn is None else _read_protocols(alpn),
    )


def _read_extensions(block: bytes) -> dict[int, bytes]:
    """Return extensions by type. The one loop here that is written for speed."""
    extensions: dict[int, bytes] = {}
    at, end = 0, len(block)
    while at < end:
        if at + _EXTENSION.size > end:
            raise _MalformedError("an extension is cut off")
        kind, length = _EXTENSION.unpack_from(block, at)
        at += _EXTENSION.size
        if at + length > end:
            raise _MalformedError("a length in the ClientHello points beyond its end")
        if kind in extensions:
            raise _MalformedError("an extension is there twice")
        extensions[kind] = block[at : at + length]
        at += length
    return extensions


def _read_server_name(body: bytes) -> str:
    """Return the one host_name of a server_name extension (RFC 6066 §3)."""
    reader = _Reader(body)
    names = _Reader(reader.vector(2))
    if reader:
        raise _MalformedError("bytes follow the list of server names")
    found: bytes | None = None
    while names:
        kind = names.take(1)[0]
        name = names.vector(2)
        if kind != _HOST_NAME:
            continue
        if found is not None:
            raise _MalformedError("there are two server names")
        found = name
    if not found:
        raise _MalformedError("the server name is empty")
    if _HIDDEN.search(found):
        raise _MalformedError("the server name has forbidden characters")
    name_text = found.decode("ascii").lower().removesuffix(".")
    if not name_text:
        raise _MalformedError("the server name is empty")
    return name_text


def _read_protocols(body: bytes) -> tuple[bytes, ...]:
    reader = _Reader(body)
    names = _Reader(reader.vector(2))
    if reader:
        raise _MalformedError("bytes follow the list of protocols")
    protocols = []
    while names:
        protocol = names.vector(1)
        if not protocol:
            raise _MalformedError("a protocol name is empty")
        protocols.append(protocol)
    return tuple(protocols)
