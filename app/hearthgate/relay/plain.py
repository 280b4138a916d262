"""Port 80: ACME answers, and the way to https. Everything else is a 404.

    GET /.well-known/acme-challenge/TOKEN   the answer that the owning home pushed
    published hostname                      308 to https (RFC 9110 §15.4.9)

aiohttp reads the requests. A connection has one deadline for its whole life, which is
what stops slow senders: nobody needs port 80 for longer.
"""

import asyncio
from collections.abc import Callable
import logging
import socket

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from hearthgate.relay.addresses import AddressBook
from hearthgate.relay.answers import Answers
from hearthgate.relay.counters import Counters
from hearthgate.relay.limits import Limits
from hearthgate.wire.names import HostnameInvalidError, normalise_hostname

_LOGGER = logging.getLogger(__name__)
_CHALLENGE_PATH = "/.well-known/acme-challenge/"
_HTTPS_PORT = 443


class PlainPort:
    """Answer on port 80. Owns its listening sockets and connections."""

    def __init__(
        self,
        answers: Answers,
        *,
        is_published: Callable[[str], bool],
        limits: Limits,
        counters: Counters,
        https_port: int,
    ) -> None:
        self._answers = answers
        self._is_published = is_published
        self._limits = limits
        self._counters = counters
        self._https_port = https_port
        self._book = AddressBook(
            total_max=limits.plain_connections_max,
            per_address_max=limits.visitors_per_address_max,
        )
        self._handlers = web.Server(
            self._answer,
            max_line_size=limits.plain_request_max_bytes,
            max_field_size=limits.plain_request_max_bytes,
            keepalive_timeout=0,
            access_log=None,
        )
        self._servers: list[asyncio.Server] = []

    async def open(self, listeners: list[socket.socket]) -> None:
        """Begin to accept."""
        loop = asyncio.get_running_loop()
        for listener in listeners:
            server = await loop.create_server(self._connection, sock=listener)
            self._servers.append(server)

    def stop_accepting(self) -> None:
        """Close the listening sockets. Twice is fine."""
        for server in self._servers:
            server.close()

    async def close(self) -> None:
        """Close the listening sockets and every connection."""
        self.stop_accepting()
        await self._handlers.shutdown(1.0)

    def _connection(self) -> asyncio.BaseProtocol:
        return _Connection(
            self._handlers(), self._book, self._counters, self._limits.plain_deadline_s
        )

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = self._response(request)
        response.force_close()
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _response(self, request: web.BaseRequest) -> web.Response:
        try:
            hostname = normalise_hostname(request.host.partition(":")[0])
        except HostnameInvalidError:
            return web.Response(status=404, text="Not found.\n")
        if request.path.startswith(_CHALLENGE_PATH):
            token = request.path.removeprefix(_CHALLENGE_PATH)
            answer = self._answers.get(hostname, token)
            if answer is None:
                self._counters.refuse("an unknown ACME challenge", hostname)
                return web.Response(status=404, text="Not found.\n")
            _LOGGER.info("%s: An ACME answer was fetched", hostname)
            return web.Response(
                body=answer.encode("ascii"), content_type="application/octet-stream"
            )
        if not self._is_published(hostname):
            return web.Response(status=404, text="Not found.\n")
        port = "" if self._https_port == _HTTPS_PORT else f":{self._https_port}"
        location = f"https://{hostname}{port}{request.raw_path}"
        if not request.raw_path.startswith("/"):  # the absolute form, or *
            location = f"https://{hostname}{port}/"
        return web.Response(status=308, headers={"Location": location})


class _Connection(asyncio.Protocol):
    """One connection: aiohttp's handler, with a place in the book and a deadline."""

    def __init__(
        self,
        handler: RequestHandler[web.BaseRequest],
        book: AddressBook,
        counters: Counters,
        deadline_s: float,
    ) -> None:
        self._handler = handler
        self._book = book
        self._counters = counters
        self._deadline_s = deadline_s
        self._address = ""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if not isinstance(transport, asyncio.Transport):
            raise TypeError("a stream is needed")
        peer = transport.get_extra_info("peername")
        address = peer[0] if peer else ""
        why = self._book.enter(address) if address else "a connection gone at once"
        if why:
            self._counters.refuse(why, address)
            transport.abort()
            return
        self._address = address
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._deadline_s, transport.abort)
        self._handler.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if self._address:
            self._handler.data_received(data)

    def eof_received(self) -> None:
        if self._address:
            self._handler.eof_received()

    def pause_writing(self) -> None:
        self._handler.pause_writing()

    def resume_writing(self) -> None:
        self._handler.resume_writing()

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self._address:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._book.leave(self._address)
        self._handler.connection_lost(exc)
