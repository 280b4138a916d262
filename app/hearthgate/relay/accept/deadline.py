"""Put a deadline, a pace and an end around aiohttp's handler of one connection.

    transport ──data──▶ DeadlineProtocol ──what the intake allows, per turn──▶ handler

aiohttp waits for a slow sender for ever, and reads whatever a fast one has sent before
anybody else has a turn. The deadline ends the connection when its time is up unless
somebody keeps it, passes on what the intake lets through, reads nothing more as long
as something is left of that, and says when the connection is gone.
"""

import asyncio
from collections import deque
from collections.abc import Callable
import contextlib
import socket
from typing import Any, cast

from aiohttp.web_protocol import RequestHandler

from hearthgate.relay.accept.intake import Intake, IntakeError, RequestIntake


class _Stream:
    """A transport as the handler sees it: only the deadline decides when it is read.

    Two who pause and resume one transport undo each other's work.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  whatever the real one has
        return getattr(self._transport, name)

    def pause_reading(self) -> None:
        """Read on: what is passed on is little, and its reader keeps up."""

    def resume_reading(self) -> None:
        """Read on."""


class DeadlineProtocol(asyncio.Protocol):
    """Pass one connection's events to aiohttp's handler, under a deadline."""

    def __init__(
        self,
        handler: RequestHandler,
        sock: socket.socket,
        *,
        deadline_s: float,
        head_max_bytes: int,
        on_fault: Callable[[str], None],
        on_lost: Callable[[], None],
        on_made: Callable[[asyncio.Transport], None] | None = None,
    ) -> None:
        """on_fault: told what the intake has refused; then the connection ends.

        on_made: told that the connection stands, its TLS included.
        """
        self._handler = handler
        self._sock = sock
        self._deadline_s = deadline_s
        self._on_fault = on_fault
        self._on_lost = on_lost
        self._on_made = on_made
        self._request = RequestIntake(head_max_bytes)
        self._intake: Intake = self._request
        self._held: deque[memoryview] = deque()  # was read, and waits for its turn
        self._turn: asyncio.Handle | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._is_paused = False
        self._is_over = False  # nothing more is passed on
        self._is_lost = False
        self._ends = True  # with a fault

    def keep(self) -> None:
        """Let the connection live for as long as its handler wants."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def allow_body(self, most_bytes: int) -> None:
        """Pass on so many bytes behind the head of the request."""
        self._request.allow_body(most_bytes)
        self._pass_on()

    def follow(self, intake: Intake) -> None:
        """Have another intake decide from here on."""
        self._intake = intake
        self._pass_on()

    def tell(self, on_fault: Callable[[str], None]) -> None:
        """Tell somebody else of a fault, who ends the connection in his own time."""
        self._on_fault = on_fault
        self._ends = False

    def abort(self) -> None:
        """End the connection now."""
        self._is_over = True
        if self._is_lost:
            return
        if self._transport is not None:
            self._transport.abort()
            return
        # In the middle of the handshake, which takes this for the other side's end.
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RDWR)

    def abort_in(self, delay_s: float) -> None:
        """End the connection after a while, unless it has ended by then."""
        self.keep()
        if not self._is_lost:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(delay_s, self.abort)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock."""
        # uvloop's transports are ones, but do not say so.
        stream = self._transport = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._deadline_s, stream.abort)
        self._handler.connection_made(cast("asyncio.Transport", _Stream(stream)))
        if self._on_made is not None:
            self._on_made(stream)

    def data_received(self, data: bytes) -> None:
        """Pass on what may go on, and hold the rest."""
        if self._is_over:
            return
        self._is_paused = False  # plainly
        self._held.append(memoryview(data))
        if self._turn is None:
            self._pass_on()
        else:
            self._read_or_pause()

    def _pass_on(self) -> None:
        """Pass on what may go on in one turn of the loop."""
        self._turn = None
        if not self._held:
            return
        data = self._held.popleft()
        try:
            size = self._intake.take(data)
        except IntakeError as err:
            self._refuse(str(err))
            return
        if size < len(data):
            self._held.appendleft(data[size:])
        if size:
            self._handler.data_received(bytes(data[:size]))
            if self._held:
                self._turn = asyncio.get_running_loop().call_soon(self._pass_on)
        self._read_or_pause()

    def _refuse(self, why: str) -> None:
        self._is_over = True
        self._held.clear()
        self._on_fault(why)
        if self._ends:
            self.abort()
        else:
            self._read_or_pause()

    def _read_or_pause(self) -> None:
        """Read on if nothing is held, so that little is."""
        pauses = bool(self._held)
        if self._transport is None or pauses is self._is_paused:
            return
        self._is_paused = pauses
        with contextlib.suppress(RuntimeError):  # it is closing
            if pauses:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def eof_received(self) -> None:
        """Pass on."""
        self._handler.eof_received()

    def pause_writing(self) -> None:
        """Pass on."""
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        """Pass on."""
        self._handler.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Stop the clock, pass on, and say that the connection is gone."""
        self.keep()
        self._is_over = True
        self._held.clear()
        if self._turn is not None:
            self._turn.cancel()
            self._turn = None
        self._handler.connection_lost(exc)
        self._transport = None
        self.lose()

    def lose(self) -> None:
        """Say that the connection is gone, or never came to be. Twice says it once."""
        if self._is_lost:
            return
        self._is_lost = True
        self._on_lost()
        # They refer to us: break the circle, so that all of it is freed now.
        self._on_lost, self._on_fault, self._on_made = _nothing, _ignore, None


def _nothing() -> None:
    """Tell nobody."""


def _ignore(_why: str) -> None:
    """Tell nobody."""
