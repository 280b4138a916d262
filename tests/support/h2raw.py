"""Just enough HTTP/2 to send what no library would (RFC 9113, RFC 7541, RFC 8441)."""

import struct

from tests.support.visiting import Visitor

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS = 0, 1, 3, 4
END_STREAM, END_HEADERS, ACK = 1, 4, 1
_FRAME_MAX = 16_384  # before anybody has said more
REFUSED_STREAM = b"\0\0\0\x07"  # the browser may send it again elsewhere


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return one frame (RFC 9113 §4.1)."""
    return (
        struct.pack("!I", len(payload))[1:]
        + struct.pack("!BBI", kind, flags, stream)
        + payload
    )


def fields(*pairs: tuple[str, str]) -> bytes:
    """Return header fields as literals without index or Huffman (RFC 7541 §6.2.2)."""
    block = b""
    for name, value in pairs:
        block += b"\0" + bytes([len(name)]) + name.encode()
        block += bytes([len(value)]) + value.encode()
    return block


class H2:
    """One HTTP/2 connection. Blocking."""

    def __init__(self, visitor: Visitor) -> None:
        self._tls = visitor.tls
        self._tls.sendall(PREFACE + frame(SETTINGS, 0, 0))

    def request(self, stream: int, *pairs: tuple[str, str], end: bool = True) -> None:
        """Send the headers of a request."""
        flags = END_HEADERS | (END_STREAM if end else 0)
        self._tls.sendall(frame(HEADERS, flags, stream, fields(*pairs)))

    def data(self, stream: int, payload: bytes, *, end: bool = False) -> None:
        """Send a part of a body or of a tunnel, of what size ever."""
        pieces = [
            payload[i : i + _FRAME_MAX] for i in range(0, len(payload), _FRAME_MAX)
        ]
        for piece in pieces or [b""]:
            flags = END_STREAM if end and piece is (pieces or [b""])[-1] else 0
            self._tls.sendall(frame(DATA, flags, stream, piece))

    def until(self, *kinds: int) -> tuple[int, int, int, bytes]:
        """Return the next frame of these kinds: kind, flags, stream, payload."""
        while True:
            head = self._exactly(9)
            size = int.from_bytes(head[:3], "big")
            kind, flags, stream = struct.unpack("!BBI", head[3:])
            payload = self._exactly(size)
            if kind == SETTINGS and not flags & ACK:
                self._tls.sendall(frame(SETTINGS, ACK, 0))
            if kind in kinds:
                return kind, flags, stream, payload

    def status(self) -> int:
        """Return the status of the next answer, from the static table or literal."""
        kind, _, _, block = self.until(HEADERS, RST_STREAM)
        if kind == RST_STREAM:
            return 0
        while block[0] & 0xE0 == 0x20:  # a change of the table's size
            block = block[1:]
        known = {0x88: 200, 0x8B: 304, 0x8C: 400, 0x8D: 404, 0x8E: 500}
        if block[0] in known:
            return known[block[0]]
        return int(block[2:5])  # literal with indexed name: 0x48 or 0x08, then 3 digits

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            chunk = self._tls.recv(size - len(data))
            if not chunk:
                raise ConnectionError("end of the connection")
            data += chunk
        return data
