"""Put a deadline and an end around aiohttp's handler of one connection.

aiohttp waits for a slow sender for ever. The guard passes everything through, ends the
connection when its time is up unless somebody keeps it, and says when it is gone.
"""

import asyncio
from collections.abc import Callable
from typing import cast

from aiohttp.web_protocol import RequestHandler


class Guard(asyncio.Protocol):
    """Pass one connection's events to aiohttp's handler, under a deadline."""

    def __init__(
        self,
        handler: RequestHandler,
        *,
        deadline_s: float,
        on_lost: Callable[[], None],
    ) -> None:
        self._handler = handler
        self._deadline_s = deadline_s
        self._on_lost = on_lost
        self._timer: asyncio.TimerHandle | None = None
        self._is_lost = False

    def keep(self) -> None:
        """Let the connection live for as long as its handler wants."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock."""
        # uvloop's transports are ones, but do not say so.
        stream = cast("asyncio.Transport", transport)
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._deadline_s, stream.abort)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        self._handler.data_received(data)

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
        self._handler.connection_lost(exc)
        self.lose()

    def lose(self) -> None:
        """Say that the connection is gone, or never came to be. Twice says it once."""
        if not self._is_lost:
            self._is_lost = True
            self._on_lost()
