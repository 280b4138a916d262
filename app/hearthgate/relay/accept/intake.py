"""How much of what a connection has sent goes on to aiohttp, and at which pace.

    data ──▶ HTTP: up to the end of the head, then as much of a body as is asked for
         ──▶ WebSocket: some frames in one turn of the loop, each of them charged

aiohttp reads all that it is given before anybody else has a turn: a quarter of a
megabyte is forty thousand empty frames, and each one costs as much as a full one. So it
is given little at once, nothing behind a request (pipelining has no use here), and no
frame that nobody has paid for. Copies no message and knows none; does no I/O.
"""

from collections.abc import Callable
from typing import Protocol

_HEAD_END = b"\r\n\r\n"
_SLICE_BYTES = 16 * 1024
_SLICE_FRAMES = 16

_CONTINUATION = 0x0
_FIN = 0x80
_OPCODE = 0x0F
_CONTROL = 0x8  # this opcode and those above
_SHORT_MAX = 125
_LENGTH_BYTES = {126: 2, 127: 8}  # by the 7 bits of the short length (RFC 6455 §5.2)
_MASK_BYTES = 4

# Charges a home for one frame; says what it is too much of, empty if it is not.
Charge = Callable[[], str]
# The same for bytes.
ChargeBytes = Callable[[int], str]


class IntakeError(Exception):
    """Raise if a connection sends what it may not, or more than it may."""


class Intake(Protocol):
    """Decide how much of the bytes that are there goes on now."""

    def take(self, data: memoryview) -> int:
        """Return how many; 0: none before something else happens. Raises IntakeError.

        Each byte is shown until it was taken.
        """


class RequestIntake:
    """Let one request through: its head, and a body if the handler asks for it."""

    def __init__(self, head_max_bytes: int) -> None:
        self._left = head_max_bytes
        self._tail = b""
        self._is_head = True

    def allow_body(self, most_bytes: int) -> None:
        """Let so many bytes behind the head through."""
        self._left = most_bytes

    def take(self, data: memoryview) -> int:
        """Return how many bytes go on."""
        if not self._is_head:
            size = min(len(data), self._left, _SLICE_BYTES)
            self._left -= size
            return size
        # The end may be spread over two pieces.
        seen = self._tail + bytes(data[: self._left])
        end = seen.find(_HEAD_END)
        if end >= 0:
            self._is_head = False
            self._left = 0
            return end + len(_HEAD_END) - len(self._tail)
        if len(data) >= self._left:
            raise IntakeError("a request that is too long")
        self._tail = seen[-len(_HEAD_END) + 1 :]
        self._left -= len(data)
        return len(data)


class FrameIntake:
    """Let WebSocket frames through, at a pace, each of them charged.

    A message is one frame: our agents never split one, and a message in pieces without
    end would cost without ever being one. is_charged: for frames with data; those that
    control the connection are always charged.
    """

    def __init__(
        self, charge: Charge, charge_bytes: ChargeBytes, *, is_charged: bool = True
    ) -> None:
        self._charge = charge
        self._charge_bytes = charge_bytes
        self._is_charged = is_charged
        self._head = bytearray()  # of a frame, as far as it has come
        self._payload_left = 0

    def take(self, data: memoryview) -> int:
        """Return how many bytes go on."""
        at = frames = 0
        most = min(len(data), _SLICE_BYTES)
        while at < most and frames < _SLICE_FRAMES:
            if self._payload_left:
                size = min(self._payload_left, most - at)
                self._payload_left -= size
                at += size
                continue
            size = min(_head_size(self._head) - len(self._head), most - at)
            self._head += data[at : at + size]
            at += size
            if len(self._head) == _head_size(self._head):
                frames += 1
                self._begin(self._head)
                self._head.clear()
        why = self._charge_bytes(at)
        if why:
            raise IntakeError(why)
        return at

    def _begin(self, head: bytearray) -> None:
        opcode = head[0] & _OPCODE
        if opcode == _CONTINUATION or not head[0] & _FIN:
            raise IntakeError("a message in pieces")
        if opcode >= _CONTROL or self._is_charged:
            why = self._charge()
            if why:
                raise IntakeError(why)
        short = head[1] & ~_FIN
        long = _LENGTH_BYTES.get(short, 0)
        self._payload_left = int.from_bytes(head[2 : 2 + long]) if long else short


def _head_size(head: bytearray) -> int:
    """Return how long a frame's head is, as far as its bytes say (RFC 6455 §5.2)."""
    if len(head) < 2:  # noqa: PLR2004  which say how long it is
        return 2
    masked = head[1] > (_FIN - 1)
    return 2 + _LENGTH_BYTES.get(head[1] & ~_FIN, 0) + masked * _MASK_BYTES
