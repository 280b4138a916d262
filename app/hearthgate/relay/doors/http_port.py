"""Port 80: ACME answers, and the way to https. Everything else is a 404.

    GET /.well-known/acme-challenge/TOKEN   the answer that the owning home pushed
    published hostname                      308 to https (RFC 9110 §15.4.9)

aiohttp reads the requests. A connection has one deadline for its whole life, which is
what stops slow senders: nobody needs port 80 for longer.
"""

import asyncio
from collections.abc import Callable
import functools
import logging
import socket

from aiohttp import web

from hearthgate.relay.accept.connection_limiter import ConnectionLimiter
from hearthgate.relay.accept.deadline import DeadlineProtocol
from hearthgate.relay.accept.fair_queue import FairQueue
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.doors.requests import RequestLog, nameless_request
from hearthgate.relay.homes.challenge_responses import Answers
from hearthgate.relay.limits import Limits
from hearthgate.shared.process.tasks import Tasks
from hearthgate.wire.names import HostnameInvalidError, fold_hostname
from hearthgate.wire.proxy import Endpoint

_LOGGER = logging.getLogger(__name__)
_CHALLENGE_PATH = "/.well-known/acme-challenge/"
_HTTPS_PORT = 443
_HEADERS_MAX = 32  # a browser sends 10 to 20, an authority 5
_SHUTDOWN_S = 1.0


class HttpPort:
    """Answer on port 80. Owns the connections that it was given."""

    def __init__(
        self,
        answers: Answers,
        *,
        is_published: Callable[[str], bool],
        limiter: ConnectionLimiter,
        limits: Limits,
        counters: Counters,
        https_port: int,
    ) -> None:
        self._answers = answers
        self._is_published = is_published
        self._limits = limits
        self._counters = counters
        self._https_port = https_port
        self._limiter = limiter
        self._tasks = Tasks()
        self._queue = FairQueue(self._start)
        self._handlers = web.Server(
            self._answer,
            max_line_size=limits.plain_request_max_bytes,
            max_headers=_HEADERS_MAX,
            max_field_size=limits.plain_request_max_bytes // 4,
            keepalive_timeout=0,
            access_log=None,
            logger=RequestLog(counters),
            request_factory=nameless_request,
        )

    async def close(self) -> None:
        """Close every connection."""
        for peer in self._queue.close():
            self._limiter.leave(peer[0])
        await self._handlers.shutdown(_SHUTDOWN_S)
        await self._tasks.close()

    def admit(self, sock: socket.socket, peer: Endpoint) -> None:
        """Take over an accepted connection, counted in the limiter."""
        self._queue.enter(sock, peer)

    def _start(self, sock: socket.socket, peer: Endpoint) -> None:
        self._tasks.start(self._serve(sock, peer[0]), "a connection to port 80")

    async def _serve(self, sock: socket.socket, address: str) -> None:
        """Make a transport of an accepted socket; the deadline ends it."""
        deadline = DeadlineProtocol(
            self._handlers(),
            sock,
            head_max_bytes=self._limits.plain_request_max_bytes,
            on_fault=functools.partial(self._counters.refuse, address=address),
            deadline_s=self._limits.plain_deadline_s,
            on_lost=functools.partial(self._limiter.leave, address),
        )
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(lambda: deadline, sock)
        except OSError:  # gone before we looked
            sock.close()
            deadline.lose()

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = self._response(request)
        response.force_close()
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _response(self, request: web.BaseRequest) -> web.Response:
        try:
            hostname = fold_hostname(request.host.partition(":")[0])
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
