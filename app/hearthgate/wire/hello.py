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
_RECORD_START: Final = bytes((_HANDSHAKE, 3))  # the version's first byte: TLS, ever
_CLIENT_HELLO: Final = 1
_EXTENSION: Final = struct.Struct("!HH").unpack_from  # type, length: RFC 8446 §4.2
_EXTENSION_HEADER: Final = 4
_FIXED: Final = 2 + 32  # legacy_version, random
_SESSION_ID_MAX: Final = 32
_EXT_SERVER_NAME: Final = 0  # RFC 6066 §3
_EXT_ALPN: Final = 16  # RFC 7301 §3.1
_HOST_NAME: Final = 0

_TOO_LONG: Final = "a length in the ClientHello points beyond its end"
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
    joined = b""
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
            end += header[3] << 8 | header[4]
        if end > max_bytes or least > max_bytes:
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
    return joined[_MESSAGE_HEADER:needed], size


def _header_fault(header: bytes) -> str:
    """Say what is wrong with the part of a record header that is there."""
    if not _RECORD_START.startswith(header[:2]):
        if header[0] != _HANDSHAKE:
            return "the first record is no TLS handshake"
        return "the record has no TLS version"
    if len(header) == _RECORD_HEADER:
        length = header[3] << 8 | header[4]
        if not 0 < length <= _RECORD_MAX:
            return "the record has a length that TLS forbids"
    return ""


def _read_message(message: bytes) -> tuple[str | None, tuple[bytes, ...]]:
    """Return server_name and ALPN of a ClientHello body (RFC 8446 §4.1.2)."""
    _, at = _vector(message, _FIXED, 1)
    if at > _FIXED + 1 + _SESSION_ID_MAX:
        raise _MalformedError("the session id is too long")
    start, at = _vector(message, at, 2)
    if at == start or (at - start) % 2:
        raise _MalformedError("the list of cipher suites is broken")
    start, at = _vector(message, at, 1)
    if at == start:
        raise _MalformedError("the list of compression methods is empty")
    if at == len(message):
        return None, ()
    start, at = _vector(message, at, 2)
    if at != len(message):
        raise _MalformedError("bytes follow the last extension")
    name, alpn = _read_extensions(message, start)
    return (
        None if name is None else _read_server_name(name),
        () if alpn is None else _read_protocols(alpn),
    )


def _vector(data: bytes, at: int, length_bytes: int) -> tuple[int, int]:
    """Return where a vector's content begins and ends (RFC 8446 §3.4).

    In front of the content is its length.
    """
    start = at + length_bytes
    end = start + int.from_bytes(data[at:start], "big")
    if start > len(data) or end > len(data):
        raise _MalformedError(_TOO_LONG)
    return start, end


def _read_extensions(message: bytes, at: int) -> tuple[bytes | None, bytes | None]:
    """Return the bodies of server_name and ALPN, with extensions from `at` to the end.

    Goes once around for each extension, of which a browser sends about fifteen.
    """
    name = alpn = None
    kinds: list[int] = []
    end = len(message)
    try:
        while at < end:
            kind, length = _EXTENSION(message, at)
            start = at + _EXTENSION_HEADER
            at = start + length
            kinds.append(kind)
            if kind == _EXT_SERVER_NAME:
                name = message[start:at]
            elif kind == _EXT_ALPN:
                alpn = message[start:at]
    except struct.error as err:
        raise _MalformedError("an extension is cut off") from err
    if at != end:
        raise _MalformedError(_TOO_LONG)
    if len(set(kinds)) != len(kinds):
        raise _MalformedError("an extension is there twice")
    return name, alpn


def _read_server_name(body: bytes) -> str:
    """Return the one host_name of a server_name extension (RFC 6066 §3)."""
    at, end = _vector(body, 0, 2)
    if end != len(body):
        raise _MalformedError("bytes follow the list of server names")
    found: bytes | None = None
    while at < end:
        kind = body[at]
        start, at = _vector(body, at + 1, 2)
        if kind != _HOST_NAME:
            continue
        if found is not None:
            raise _MalformedError("there are two server names")
        found = body[start:at]
    if not found:
        raise _MalformedError("the server name is empty")
    if _HIDDEN.search(found):
        raise _MalformedError("the server name has forbidden characters")
    name_text = found.decode("ascii").lower().removesuffix(".")
    if not name_text:
        raise _MalformedError("the server name is empty")
    return name_text


def _read_protocols(body: bytes) -> tuple[bytes, ...]:
    at, end = _vector(body, 0, 2)
    if end != len(body):
        raise _MalformedError("bytes follow the list of protocols")
    protocols = []
    while at < end:
        start, at = _vector(body, at, 1)
        if at == start:
            raise _MalformedError("a protocol name is empty")
        protocols.append(body[start:at])
    return tuple(protocols)
