"""The control endpoint: where homes join, and where their agents stay connected.

    POST /v1/pair       one-time secret and certificate request ──▶ client certificate
    GET  /v1/control    WebSocket; the client certificate says which home it is
    GET  /v1/datagrams  WebSocket in place of UDP

TLS 1.3 under the relay's own key, which agents pin. Who may connect, and for how long
without a certificate, is in newcomers.py; what is said on a control connection is in
conversation.py.
"""

import asyncio
import base64
import binascii
from collections.abc import Callable
import contextlib
import functools
import json
import logging
import socket
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web
import voluptuous as vol

from hearthgate import __version__
from hearthgate.errors import HearthgateError
from hearthgate.relay.accept.connection_limiter import address_key
from hearthgate.relay.accept.deadline import DeadlineProtocol
from hearthgate.relay.accept.intake import FrameIntake
from hearthgate.relay.accept.newcomers import Newcomers
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.doors.control_session import CLOSE_S, Conversations
from hearthgate.relay.doors.requests import RequestLog, nameless_request
from hearthgate.relay.errors import PairingTooOftenError, RequestInvalidError
from hearthgate.relay.forwards.tcp import Forwards
from hearthgate.relay.forwards.udp import Datagrams
from hearthgate.relay.homes.budgets import Budgets
from hearthgate.relay.homes.challenge_responses import Answers
from hearthgate.relay.homes.keys import Keys, SignedHome, certificate_id
from hearthgate.relay.homes.outbox import Outbox
from hearthgate.relay.homes.rate_limit import RateLimit
from hearthgate.relay.homes.registry import Home, Registry
from hearthgate.relay.homes.sessions import Sessions
from hearthgate.relay.limits import Limits
from hearthgate.shared.process.tasks import Tasks
from hearthgate.wire.constants import (
    CONTROL_MESSAGE_MAX_BYTES,
    CONTROL_PATH,
    DATAGRAM_PATH,
    PAIR_PATH,
)
from hearthgate.wire.fitting import fitted_domains
from hearthgate.wire.proxy import Endpoint

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

_LOGGER = logging.getLogger(__name__)

_HEAD_MAX_BYTES = 8 * 1024  # of a request; an agent's are about 300
_PAIR_BODY_MAX_BYTES = 8 * 1024  # a request for a P-256 certificate is about 500
_DATAGRAM_MAX_BYTES = CONTROL_MESSAGE_MAX_BYTES + 64
# Datagrams that wait for a home that reads slowly. More would only come too late.
_STREAM_MAX = 1024
_STREAM_MAX_BYTES = 1024 * 1024
_PAIR_BODY = vol.Schema(
    {
        "secret": vol.All(str, vol.Length(max=64)),
        "request": vol.All(str, vol.Length(max=4096)),
    },
    required=True,
    extra=vol.REMOVE_EXTRA,
)


class ControlEndpoint:
    """Serve connections whose hello names the relay itself. Lives in one loop."""

    def __init__(
        self,
        *,
        keys: Keys,
        registry: Registry,
        sessions: Sessions,
        answers: Answers,
        limits: Limits,
        counters: Counters,
        addresses: Callable[[str | None], tuple[str, ...]],
        forwards: Forwards,
        datagrams: Datagrams,
        datagram_port: int,
        budgets: Budgets,
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._registry = registry
        self._limits = limits
        self._counters = counters
        self._datagrams = datagrams
        self._budgets = budgets
        self._context = keys.control_context()
        self._pairings = RateLimit(limits.pairing_attempts_per_minute, clock=clock)
        self._deadlines: dict[RequestHandler, DeadlineProtocol] = {}
        self._handlers = web.Server(
            self._answer,
            access_log=None,
            logger=RequestLog(counters),
            request_factory=nameless_request,
        )
        self._newcomers = Newcomers(
            self._start, limits=limits, counters=counters, clock=clock
        )
        self._tasks = Tasks()
        self._conversations = Conversations(
            registry=registry,
            sessions=sessions,
            answers=answers,
            limits=limits,
            counters=counters,
            budgets=budgets,
            addresses=addresses,
            forwards=forwards,
            datagrams=datagrams,
            datagram_port=datagram_port,
            clock=clock,
            tasks=self._tasks,
        )

    @property
    def connections(self) -> int:
        """How many there are, of homes and of strangers."""
        return len(self._newcomers)

    def admit(self, sock: socket.socket, peer: Endpoint) -> None:
        """Take over a connection of which nothing was read yet."""
        self._newcomers.admit(sock, peer)

    def sweep(self) -> None:
        """Act on deadlines. To be called four times a second."""
        self._newcomers.sweep()

    def _start(self, sock: socket.socket, peer: Endpoint) -> None:
        self._tasks.start(self._serve(sock, peer), "a control connection")

    async def close(self) -> None:
        """End every connection."""
        self._newcomers.close()
        await self._handlers.shutdown(CLOSE_S)
        await self._tasks.close()

    async def _serve(self, sock: socket.socket, peer: Endpoint) -> None:
        """Do the TLS handshake; aiohttp's handler goes on from there."""
        handler = self._handlers()

        def lost() -> None:
            del self._deadlines[handler]
            self._newcomers.left(deadline)

        deadline_s = self._limits.control_handshake_deadline_s
        deadline = DeadlineProtocol(
            handler,
            sock,
            deadline_s=deadline_s,
            head_max_bytes=_HEAD_MAX_BYTES,
            on_fault=functools.partial(self._counters.refuse, address=peer[0]),
            on_lost=lost,
            on_made=lambda stream: self._meet(deadline, stream),
        )
        self._deadlines[handler] = deadline
        self._newcomers.begin(deadline, peer[0])
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: deadline,
                sock,
                ssl=self._context,
                ssl_handshake_timeout=deadline_s,
                ssl_shutdown_timeout=CLOSE_S,
            )
        except OSError as err:  # ssl.SSLError is one
            self._counters.refuse(
                "a broken control handshake", str(err), address=peer[0]
            )
            sock.close()
            deadline.lose()

    def _meet(self, deadline: DeadlineProtocol, stream: asyncio.Transport) -> None:
        """See who it is, once the handshake is through."""
        home = self._home_of(stream)
        if home is None:
            return  # it may pair
        if not self._budgets.connections.allow(home.id):
            self._counters.refuse("too many connections of a home", home=home.name)
            deadline.abort()
        elif not self._newcomers.proved(deadline, home.id):
            self._counters.refuse("more connections of homes than allowed")
            deadline.abort()

    # --- HTTP ---------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        response = await self._response(request)
        response.force_close()  # nothing behind the first request is read
        return response

    async def _response(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if (request.method, request.path) == ("POST", PAIR_PATH):
                return await self._pair(request)
            if (request.method, request.path) == ("GET", CONTROL_PATH):
                return await self._control(request)
            if (request.method, request.path) == ("GET", DATAGRAM_PATH):
                return await self._datagram_stream(request)
        except HearthgateError as err:
            return web.json_response({"error": err.as_dict()}, status=err.status)
        except ConnectionError:  # it has gone meanwhile, and nobody reads this
            return web.Response(status=400)
        return web.Response(status=404, text="Not found.\n")

    async def _pair(self, request: web.BaseRequest) -> web.Response:
        if not self._pairings.allow(address_key(request.remote or "")):
            self._counters.refuse("pairing too often", address=request.remote or "")
            raise PairingTooOftenError
        self._deadline_of(request).allow_body(_PAIR_BODY_MAX_BYTES + 1)
        secret, certificate_request = read_pairing(await _read_body(request))
        signed: list[SignedHome] = []

        def sign(name: str) -> str:
            signed.append(self._keys.sign(certificate_request, name))
            return signed[0].id

        try:
            home = await self._registry.join(secret, sign)
        except HearthgateError as err:
            self._counters.refuse("a pairing", str(err), address=request.remote or "")
            raise
        _LOGGER.info("%s: Paired from %s", home.name, request.remote)
        return web.json_response(
            {
                "home": home.name,
                "certificate": signed[0].certificate,
                "domains": list(fitted_domains(home.domains)),
                "software": __version__,
            },
            status=201,
        )

    async def _control(self, request: web.BaseRequest) -> web.StreamResponse:
        home = self._home_of(request.transport)
        if home is None:
            self._counters.refuse(
                "a home that is not paired", address=request.remote or ""
            )
            return web.json_response(
                {
                    "error": {
                        "code": "home_not_paired",
                        "message": "This relay does not know your home any more.",
                        "hint": "Ask the relay's owner for a new pairing code.",
                        "fields": {},
                    }
                },
                status=403,
            )
        socket_, deadline = await self._upgraded(
            request, home, max_bytes=CONTROL_MESSAGE_MAX_BYTES
        )
        try:
            await self._conversations.hold(home, socket_, request, deadline)
        finally:
            # A peer that vanished never answers a close; do not wait for it.
            deadline.abort()
        return socket_

    async def _datagram_stream(self, request: web.BaseRequest) -> web.StreamResponse:
        """Carry a home's datagrams while UDP does not come through."""
        home = self._home_of(request.transport)
        if home is None:
            return web.Response(status=403, text="This home is not paired.\n")
        socket_, deadline = await self._upgraded(
            request, home, max_bytes=_DATAGRAM_MAX_BYTES, carries_datagrams=True
        )
        deadline.keep()
        outbox = Outbox[bytes](most=_STREAM_MAX, max_bytes=_STREAM_MAX_BYTES)

        def send(message: bytes) -> None:
            outbox.put(message)  # or it is dropped, as by a line

        if not self._datagrams.set_stream(home.id, send):
            return socket_
        sender = self._tasks.start(
            _send_datagrams(outbox, socket_), f"datagrams to {home.name}"
        )
        try:
            async for frame in socket_:
                if frame.type is not WSMsgType.BINARY:
                    break
                self._datagrams.from_stream(home.id, frame.data)
        finally:
            sender.cancel()
            self._datagrams.end_stream(home.id, send)
            deadline.abort()
        return socket_

    async def _upgraded(
        self,
        request: web.BaseRequest,
        home: Home,
        *,
        max_bytes: int,
        carries_datagrams: bool = False,
    ) -> tuple[web.WebSocketResponse, DeadlineProtocol]:
        """Make a WebSocket of a request, whose frames are charged to a home."""
        deadline = self._deadline_of(request)
        socket_ = web.WebSocketResponse(
            heartbeat=self._limits.control_ping_s,
            max_msg_size=max_bytes,
            compress=False,
            timeout=CLOSE_S,
        )
        await socket_.prepare(request)
        budgets = self._budgets
        deadline.follow(
            FrameIntake(
                functools.partial(budgets.charge_frame, home.id),
                _for_free
                if carries_datagrams
                else functools.partial(budgets.charge_bytes, home.id),
                is_charged=not carries_datagrams,
            )
        )
        return socket_, deadline

    def _deadline_of(self, request: web.BaseRequest) -> DeadlineProtocol:
        """Return the deadline of a connection. Raises ConnectionError if it is gone."""
        deadline = self._deadlines.get(request.protocol)
        if deadline is None:
            raise ConnectionResetError
        return deadline

    def _home_of(self, transport: asyncio.Transport | None) -> Home | None:
        tls = transport.get_extra_info("ssl_object") if transport else None
        certificate = tls.getpeercert(binary_form=True) if tls else None
        if not certificate:
            return None
        return self._registry.home(certificate_id(certificate))


def _for_free(_size: int) -> str:
    """Charge nothing: they are visitors' bytes, as those of a channel."""
    return ""


def read_pairing(raw: bytes) -> tuple[bytes, str]:
    """Return secret and certificate request. Raises RequestInvalidError."""
    try:
        body: Any = _PAIR_BODY(json.loads(raw))
        return base64.b64decode(body["secret"], validate=True), body["request"]
    except (ValueError, binascii.Error, RecursionError, vol.Invalid) as err:
        raise RequestInvalidError(reason=str(err)[:200]) from err


async def _read_body(request: web.BaseRequest) -> bytes:
    """Return a body of a bounded size. Raises RequestInvalidError."""
    raw = bytearray()
    async for chunk in request.content.iter_any():
        raw += chunk
        if len(raw) > _PAIR_BODY_MAX_BYTES:
            raise RequestInvalidError(reason="its body is too long")
    return bytes(raw)


async def _send_datagrams(
    outbox: Outbox[bytes], socket_: web.WebSocketResponse
) -> None:
    with contextlib.suppress(ConnectionError):  # the receiving side finds out too
        while True:
            await socket_.send_bytes(await outbox.get())
