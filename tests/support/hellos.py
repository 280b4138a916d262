"""Make ClientHellos: right ones, odd ones that TLS allows, and broken ones.

    extensions ─▶ body ─▶ handshake message ─▶ records          each step on its own

Each step may be fed with something wrong. HELLOS and BROKEN are the corpus: unit tests
give it to the parser, system tests to the front door of a running relay. Only bytes; no
pytest here.
"""

from collections.abc import Callable, Sequence
import ssl
import struct

Extension = tuple[int, bytes]

NAME = "photos.cottage.example.com"
SERVER_NAME, ALPN, KEY_SHARE, SUPPORTED_VERSIONS = 0, 16, 51, 43
RECORD_MAX = 1 << 14
X25519MLKEM768_BYTES = 1216  # the share of a visitor (draft-ietf-tls-ecdhe-mlkem §4)


def vector(length_bytes: int, data: bytes, *, lie: int = 0) -> bytes:
    """Return data with its length in front; `lie` is added to the length."""
    return (len(data) + lie).to_bytes(length_bytes, "big") + data


def server_name(*names: str | bytes, kind: int = 0) -> Extension:
    """Return a server_name extension (RFC 6066 §3)."""
    raw = [one.encode("latin-1") if isinstance(one, str) else one for one in names]
    entries = b"".join(bytes((kind,)) + vector(2, one) for one in raw)
    return SERVER_NAME, vector(2, entries)


def alpn(*protocols: bytes) -> Extension:
    """Return an ALPN extension (RFC 7301 §3.1)."""
    return ALPN, vector(2, b"".join(vector(1, one) for one in protocols))


def key_share(size: int = X25519MLKEM768_BYTES) -> Extension:
    """Return a post-quantum key share of a size."""
    return KEY_SHARE, vector(2, struct.pack("!H", 0x11EC) + vector(2, b"\x5a" * size))


def body(
    extensions: Sequence[Extension] | None,
    *,
    session_id: bytes = b"\x11" * 32,
    suites: bytes = b"\x13\x01\x13\x02",
    compressions: bytes = b"\x00",
    after: bytes = b"",
) -> bytes:
    """Return a ClientHello's body (RFC 8446 §4.1.2); None: no extensions at all."""
    fixed = b"\x03\x03" + b"\x22" * 32
    head = fixed + vector(1, session_id) + vector(2, suites) + vector(1, compressions)
    if extensions is None:
        return head + after
    block = b"".join(
        struct.pack("!H", kind) + vector(2, one) for kind, one in extensions
    )
    return head + vector(2, block) + after


def message(content: bytes, *, kind: int = 1, lie: int = 0) -> bytes:
    """Return a handshake message (RFC 8446 §4)."""
    return bytes((kind,)) + vector(3, content, lie=lie)


def record(fragment: bytes, *, kind: int = 22, version: int = 0x0301) -> bytes:
    """Return one TLS record (RFC 8446 §5.1)."""
    return bytes((kind,)) + struct.pack("!H", version) + vector(2, fragment)


def records(data: bytes, size: int = RECORD_MAX) -> bytes:
    """Return data in records of at most so many bytes."""
    return b"".join(record(data[at : at + size]) for at in range(0, len(data), size))


def hello(
    *names: str | bytes, more: Sequence[Extension] = (), fragment: int = RECORD_MAX
) -> bytes:
    """Return a whole flight with these names; none: no server_name."""
    named = [server_name(*names)] if names else []
    return records(message(body([*named, *more])), fragment)


def openssl_hello(name: str | None, protocols: Sequence[str] = ()) -> bytes:
    """Return a flight that OpenSSL made."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    inside, outside = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = context.wrap_bio(inside, outside, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return outside.read()
    raise AssertionError("a handshake without another side")


def grease(at: int) -> Extension:
    """Return one of the extensions that browsers make up (RFC 8701 §3.1)."""
    return 0x0A0A + 0x1010 * at, b"\x00" * at


def _padded(size: int) -> list[Extension]:
    """Return extensions that make a hello's message exactly so long."""
    bare = len(message(body([server_name(NAME), (21, b"")])))
    return [server_name(NAME), (21, b"\0" * (size - bare))]


# --- the corpus -----------------------------------------------------------------------

# Flights that carry NAME, whatever they look like.
HELLOS: dict[str, bytes] = {
    "a plain one": hello(NAME),
    "in upper case": hello(NAME.upper()),
    "with a trailing dot": hello(NAME + "."),
    "over two records": hello(NAME, fragment=100),
    "over many tiny records": hello(NAME, fragment=1),
    "with a post-quantum key": hello(NAME, more=[key_share()]),
    "with a post-quantum key over records": hello(
        NAME, more=[key_share()], fragment=600
    ),
    "with GREASE": records(
        message(body([grease(0), server_name(NAME), grease(1), grease(2)]))
    ),
    "with the name at the end": records(
        message(body([key_share(), alpn(b"h2"), server_name(NAME)]))
    ),
    "with ALPN": hello(NAME, more=[alpn(b"h2", b"http/1.1")]),
    "without a session id": records(message(body([server_name(NAME)], session_id=b""))),
    "with another kind of name": records(
        message(body([(0, vector(2, b"\x07\x00\x01x\x00" + vector(2, NAME.encode())))]))
    ),
    "in a record of 16 KiB": records(message(body(_padded(RECORD_MAX)))),
    "in 16 KiB over two records": records(message(body(_padded(RECORD_MAX + 1)))),
    "by OpenSSL": openssl_hello(NAME, ["h2", "http/1.1"]),
}

# Flights that are hellos, but without a usable name.
NAMELESS: dict[str, bytes] = {
    "no server_name": hello(more=[alpn(b"h2")]),
    "no extensions": records(message(body([]))),
    "not even a list of extensions": records(message(body(None))),
    "by OpenSSL": openssl_hello(None),
}


def _after_body(extra: bytes) -> bytes:
    return records(message(body([server_name(NAME)], after=extra)))


def _names(block: bytes) -> bytes:
    return records(message(body([(SERVER_NAME, block)])))


_ENTRY = b"\x00" + vector(2, NAME.encode())

# What is no hello, however it goes on.
BROKEN: dict[str, bytes] = {
    "two names": hello(NAME, "other.example.com"),
    "the same name twice": hello(NAME, NAME),
    "server_name twice": records(message(body([server_name(NAME), server_name(NAME)]))),
    "an unknown extension twice": records(
        message(body([(99, b""), server_name(NAME), (99, b"")]))
    ),
    "an empty name": hello(""),
    "nothing but a dot": hello("."),
    "an empty list of names": _names(b"\0\0"),
    "an empty server_name": _names(b""),
    "only another kind of name": records(message(body([server_name("x", kind=7)]))),
    "a name with a blank": hello("photos .example.com"),
    "a name with a NUL": hello("photos.example.com\0.evil.example"),
    "a name with a line end": hello("photos.example.com\r\n"),
    "a name in UTF-8": hello("fotos.müller.example".encode()),
    "a name in Latin-1": hello("fotos.müller.example"),
    "bytes after the list of names": _names(vector(2, _ENTRY) + b"\0"),
    "bytes after the last extension": _after_body(b"\0"),
    "a list of names that lies long": _names(vector(2, _ENTRY, lie=1)),
    "a list of names that lies short": _names(vector(2, _ENTRY, lie=-1)),
    "a name that lies long": _names(vector(2, b"\0" + vector(2, b"a.example", lie=1))),
    "a session id of 33 bytes": records(
        message(body([server_name(NAME)], session_id=b"\1" * 33))
    ),
    "no cipher suites": records(message(body([server_name(NAME)], suites=b""))),
    "half a cipher suite": records(message(body([server_name(NAME)], suites=b"abc"))),
    "no compression": records(message(body([server_name(NAME)], compressions=b""))),
    "an empty protocol": hello(NAME, more=[alpn(b"h2", b"")]),
    "protocols that lie": hello(NAME, more=[(ALPN, b"\0\x04\x02h2")]),
    "bytes after the protocols": hello(NAME, more=[(ALPN, b"\0\x03\x02h2!")]),
    "an empty message": records(message(b"")),
    "a message that is cut short": records(message(body([server_name(NAME)])[:-30])),
    "a ServerHello": records(message(body([server_name(NAME)]), kind=2)),
    "a HelloRequest": records(b"\x00\x00\x00\x00"),
    "a record of no bytes": b"\x16\x03\x01\x00\x00" + hello(NAME),
    "a record of no bytes later": hello(NAME, fragment=60)[:65]
    + b"\x16\x03\x01\x00\x00"
    + hello(NAME, fragment=60)[65:],
    "a record over 2^14": record(
        message(body([server_name(NAME)])) + b"\0" * RECORD_MAX
    ),
    "a record of TLS 9": b"\x16\x09\x01" + hello(NAME)[3:],
    "an alert in between": hello(NAME, fragment=60)[:65]
    + record(b"\x01\x00", kind=21)
    + hello(NAME, fragment=60)[65:],
    "application data in between": hello(NAME, fragment=60)[:65]
    + record(b"GET /", kind=23)
    + hello(NAME, fragment=60)[65:],
    "a message of 16 MiB": records(message(body([server_name(NAME)]), lie=1 << 23)),
}

# First bytes that are not even TLS.
STRANGERS: dict[str, bytes] = {
    # Length 46, CLIENT-HELLO, version 2: what a browser sent in 1995.
    "SSLv2": b"\x80\x2e\x01\x00\x02\x00\x15\x00\x00\x00\x10" + b"\x07" * 37,
    "an alert": record(b"\x02\x28", kind=21),
    "application data": record(b"hello", kind=23),
    "SSH": b"SSH-2.0-OpenSSH_9.2p1\r\n",
    "zeros": b"\0" * 64,
    "a WireGuard handshake": b"\x01\x00\x00\x00" + b"\x33" * 144,
    "text": b"hello, is anybody there?\r\n",
}


def lies() -> dict[str, Callable[[int], bytes]]:
    """Return a maker of one flight for each length field, told by how much it lies."""

    def listed(by: int) -> bytes:
        return _names(vector(2, _ENTRY, lie=by))

    def named(by: int) -> bytes:
        return _names(vector(2, b"\0" + vector(2, NAME.encode(), lie=by)))

    def in_body(at: int, size: int) -> Callable[[int], bytes]:
        def make(by: int) -> bytes:
            content = bytearray(body([server_name(NAME), alpn(b"h2")]))
            told = int.from_bytes(content[at : at + size], "big") + by
            content[at : at + size] = told.to_bytes(size, "big")
            return records(message(bytes(content)))

        return make

    return {
        "session id": in_body(34, 1),
        "cipher suites": in_body(67, 2),
        "compression methods": in_body(73, 1),
        "extensions": in_body(75, 2),
        "server_name": in_body(79, 2),
        "list of names": listed,
        "name": named,
        "message": lambda by: records(message(body([server_name(NAME)]), lie=by)),
    }
