"""Serve an aiohttp application to strangers: with deadlines, bounds, and few words.

    listener ──▶ room for this address? ──▶ header within 15 s ──▶ application
                                                 again, or end  ◀── answer

aiohttp by itself waits for a header for an hour, takes any number of connections,
writes a traceback for every request that it can't read, and names its version and
Python's to whoever sends one. Knows nothing of routes and of who may ask for what.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
import contextlib
from dataclasses import dataclass
from http import HTTPStatus
import json
import logging
import socket
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler

from hearthgate.shared.net.subscribers import subscriber
from hearthgate.shared.process.seldom import Seldom

_LOGGER = logging.getLogger(__name__)
_BACKLOG = 128

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
RequestFactory = Callable[..., web.BaseRequest]


@dataclass(frozen=True, slots=True)
class HttpBounds:
    """What one listener grants."""

    # A header is one packet or two. Slow phones need seconds, slowloris wants minutes.
    head_s: float = 15.0
    # For taking an answer, and without a next request after it.
    idle_s: float = 75.0
    # A browser opens six and one WebSocket for each page; a reverse proxy some dozens.
    per_address_max: int = 64
    connections_max: int = 256
    # Who others can't keep out: counted by itself, with as many as all of them.
    trusted: frozenset[str] = frozenset()


class HttpServer:
    """One application on its listening sockets. Lives in one loop; close it."""

    def __init__(
        self,
        serves: web.Application | Answer,
        bounds: HttpBounds,
        *,
        what: str,
        stop_s: float,
        request_factory: RequestFactory | None = None,
    ) -> None:
        """Put around the application or handler what times its requests.

        Opens nothing yet. what: whose server it is, for the log. stop_s: how long
        requests may take to end when it closes. request_factory: what a handler's
        requests are; an application makes its own.
        """
        self._bounds = bounds
        self._what = what
        self._runner: web.BaseRunner
        if isinstance(serves, web.Application):
            serves.middlewares.insert(0, _timed)
            serves.on_response_prepare.append(_name_no_version)
            self._runner = web.AppRunner(
                serves, access_log=None, shutdown_timeout=stop_s
            )
        else:
            manager = web.Server(_timing(serves), request_factory=request_factory)
            self._runner = web.ServerRunner(manager, shutdown_timeout=stop_s)
        self._listening: list[asyncio.Server] = []
        self._seldom = Seldom(_LOGGER)
        self._open: Counter[str] = Counter()  # connections of each address

    async def start(self, *listeners: socket.socket) -> None:
        """Serve what connects to sockets that are bound; they are ours from now on."""
        await self._runner.setup()
        for listener in listeners:
            listener.setblocking(False)  # noqa: FBT003 (its signature)
            server = await asyncio.get_running_loop().create_server(
                self._make_handler, sock=listener, backlog=_BACKLOG
            )
            self._listening.append(server)

    def stop_listening(self) -> None:
        """Take no more connections. Twice does no harm."""
        while self._listening:
            self._listening.pop().close()

    async def close(self) -> None:
        """Stop listening, and end what is open once its request has its answer."""
        self.stop_listening()
        await self._runner.cleanup()

    def _make_handler(self) -> asyncio.Protocol:
        manager = cast("web.Server", self._runner.server)  # there while we listen
        return _Connection(
            manager, self._bounds, self._enter, self._leave, self._broken
        )

    def _enter(self, address: str) -> bool:
        """Count a connection; False: there is no room for one more of this address."""
        key, bounds = subscriber(address), self._bounds
        if address in bounds.trusted:
            has_room = self._open[key] < bounds.connections_max
        else:
            others = self._open.total() - sum(self._open[one] for one in bounds.trusted)
            has_room = (
                self._open[key] < bounds.per_address_max
                and others < bounds.connections_max
            )
        if has_room:
            self._open[key] += 1
            return True
        self._seldom.warn(
            "room", "%s: too many connections to the %s", address or "?", self._what
        )
        return False

    def _leave(self, address: str) -> None:
        key = subscriber(address)
        self._open[key] -= 1
        if not self._open[key]:
            del self._open[key]

    def _broken(self, address: str, error: BaseException | None) -> None:
        """Say that a request can't be read; our own mistakes with their traceback."""
        if error is None or isinstance(error, HttpProcessingError):
            self._seldom.warn(
                "broken", "%s: a broken request to the %s", address or "?", self._what
            )
        else:
            _LOGGER.error("A request to the %s failed", self._what, exc_info=error)


class _Connection(web.RequestHandler):
    """aiohttp's handler of a connection, under a deadline while nobody works for it."""

    def __init__(
        self,
        manager: web.Server,
        bounds: HttpBounds,
        enter: Callable[[str], bool],
        leave: Callable[[str], None],
        broken: Callable[[str, BaseException | None], None],
    ) -> None:
        super().__init__(
            manager,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # its own default says the same
            logger=_LOGGER,
            # Ours comes first, and counts while an answer is taken as well.
            keepalive_timeout=2 * bounds.idle_s,
        )
        self._bounds = bounds
        self._enter = enter
        self._leave = leave
        self._broken = broken
        self._address = ""
        self._stream: asyncio.Transport | None = None
        self._is_in = False
        self._works = False
        self._is_late: asyncio.TimerHandle | None = None
        self._reads_head = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or end it at once if its address has too many."""
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if isinstance(peer, tuple) else ""
        # uvloop's transports are ones, but do not say so.
        self._stream = cast("asyncio.Transport", transport)
        self._is_in = self._enter(self._address)
        if not self._is_in:
            self._stream.abort()
            return
        super().connection_made(transport)
        self._set_deadline(self._bounds.head_s)
        self._reads_head = True

    def data_received(self, data: bytes) -> None:
        """Give the next header its time from its first byte on."""
        if not self._is_in:
            return
        if not self._works and not self._reads_head:
            self._set_deadline(self._bounds.head_s)
            self._reads_head = True
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        """Give the room back."""
        self._set_deadline(None)
        self._stream = None
        if self._is_in:
            self._is_in = False
            super().connection_lost(exc)
            self._leave(self._address)

    def begin(self) -> None:
        """Stop the clock: the header is there, and the application has its own."""
        self._works = True
        self._reads_head = False
        self._set_deadline(None)

    def end(self) -> None:
        """Start it again, for taking the answer and for the next request."""
        self._works = False
        if self._is_in:
            self._set_deadline(self._bounds.idle_s)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what aiohttp itself refuses, or could not serve."""
        del message  # quotes what was sent
        self._broken(request.remote or "", exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        return _Refusal(status, self)

    def _set_deadline(self, seconds: float | None) -> None:
        if self._is_late is not None:
            self._is_late.cancel()
            self._is_late = None
        if seconds is not None:
            loop = asyncio.get_running_loop()
            self._is_late = loop.call_later(seconds, self._abort)

    def _abort(self) -> None:
        self._is_late = None
        if self._stream is not None:  # aiohttp forgets its own when it closes
            self._stream.abort()


class _Refusal(web.Response):
    """Sends itself: aiohttp adds its name and version to what has no application."""

    def __init__(self, status: int, connection: _Connection) -> None:
        super().__init__(status=status)
        self.force_close()
        self._connection = connection

    async def prepare(self, request: web.BaseRequest) -> None:
        """Send all of it."""
        del request
        reason = HTTPStatus(self.status).phrase
        error = {"message": f"{reason}.", "hint": "", "fields": {}}
        error["code"] = reason.lower().replace(" ", "_")
        body = json.dumps({"error": error}).encode()
        head = (
            f"HTTP/1.1 {self.status} {reason}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nX-Content-Type-Options: nosniff\r\n"
            "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
        )
        if self._connection.transport is None:
            raise ConnectionResetError("it has left")
        self._connection.transport.write(head.encode() + body)

    async def write_eof(self, data: bytes = b"") -> None:
        """Add nothing."""


@web.middleware
async def _timed(request: web.Request, handler: Handler) -> web.StreamResponse:
    with _at_work(request):
        return await handler(request)


def _timing(answer: Answer) -> Answer:
    async def timed(request: web.BaseRequest) -> web.StreamResponse:
        with _at_work(request):
            return await answer(request)

    return timed


@contextlib.contextmanager
def _at_work(request: web.BaseRequest) -> Iterator[None]:
    connection = cast("_Connection", request.protocol)  # made by the server above
    connection.begin()
    try:
        yield
    finally:
        connection.end()


async def _name_no_version(_request: web.Request, answer: web.StreamResponse) -> None:
    answer.headers.pop("Server", None)
