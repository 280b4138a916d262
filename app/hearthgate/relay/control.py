"""The control endpoint: where homes join, and where their agents stay connected.

    POST /v1/pair       one-time secret and certificate request ──▶ client certificate
    GET  /v1/control    WebSocket; the client certificate says which home it is

TLS 1.3 under the relay's own key, which agents pin. The messages are described in
wire/control.py; what they mean for visitors is in sessions.py.
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
import time
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web
import voluptuous as vol

from hearthgate import __version__
from hearthgate.errors import HearthgateError
from hearthgate.relay.addresses import AddressBook, address_key
from hearthgate.relay.answers import Answers
from hearthgate.relay.counters import Counters
from hearthgate.relay.datagrams import Datagrams
from hearthgate.relay.errors import PairingTooOftenError, RequestInvalidError
from hearthgate.relay.forwards import Forwards
from hearthgate.relay.guard import Guard
from hearthgate.relay.keys import Keys, SignedHome, certificate_id
from hearthgate.relay.limits import Limits
from hearthgate.relay.machines import Machines
from hearthgate.relay.rate import RateLimit
from hearthgate.relay.registry import Home, Registry
from hearthgate.relay.requests import RequestLog
from hearthgate.relay.sessions import Session, Sessions
from hearthgate.relay.turns import Turns
from hearthgate.tasks import Tasks
from hearthgate.wire import control as messages
from hearthgate.wire.constants import (
    CONTROL_MESSAGE_MAX_BYTES,
    CONTROL_PATH,
    DATAGRAM_PATH,
    PAIR_PATH,
    SUPPORTED_PROTOCOLS,
)
from hearthgate.wire.proxy import Endpoint

if TYPE_CHECKING:
    from aiohttp.web_protocol import RequestHandler

_LOGGER = logging.getLogger(__name__)

_SHUTDOWN_S = 2.0
_PAIR_BODY_MAX_BYTES = 8 * 1024  # a request for a P-256 certificate is about 500
_OUTBOX_MAX = 1024  # messages; an agent that lets so many pile up reads none
FEATURES = (
    messages.Feature.FORWARDS,
    messages.Feature.DATAGRAMS,
    messages.Feature.MACHINES,
    messages.Feature.SEALING,
)
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
        clock: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._registry = registry
        self._sessions = sessions
        self._answers = answers
        self._limits = limits
        self._counters = counters
        self._addresses = addresses
        self._forwards = forwards
        self._datagrams = datagrams
        self._datagram_port = datagram_port
        self._clock = clock
        self._context = keys.control_context()
        self._pairings = RateLimit(limits.pairing_attempts_per_minute, clock=clock)
        self._messages = RateLimit(limits.control_messages_per_minute, clock=clock)
        self._guards: dict[RequestHandler, Guard] = {}
        self._handlers = web.Server(
            self._answer, access_log=None, logger=RequestLog(counters)
        )
        self._book = AddressBook(
            total_max=limits.control_connections_max,
            per_address_max=limits.control_connections_max,
        )
        self._machines = Machines(registry, sessions)
        self._tasks = Tasks()
        self._turns = Turns(self._start)

    @property
    def connections(self) -> int:
        """How many there are, of homes and of strangers."""
        return self._book.total

    def admit(self, sock: socket.socket, peer: Endpoint) -> None:
        """Take over a connection of which nothing was read yet."""
        why = self._book.enter(peer[0])
        if why:
            self._counters.refuse(why, "to the control endpoint", address=peer[0])
            sock.close()
            return
        self._turns.enter(sock, peer)

    def _start(self, sock: socket.socket, peer: Endpoint) -> None:
        self._tasks.start(self._serve(sock, peer), "a control connection")

    async def close(self) -> None:
        """End every connection."""
        for peer in self._turns.close():
            self._book.leave(peer[0])
        await self._handlers.shutdown(_SHUTDOWN_S)
        await self._tasks.close()

    async def _serve(self, sock: socket.socket, peer: Endpoint) -> None:
        """Do the TLS handshake; aiohttp's handler goes on from there."""
        handler = self._handlers()

        def lost() -> None:
            del self._guards[handler]
            self._book.leave(peer[0])

        deadline_s = self._limits.control_handshake_deadline_s
        guard = Guard(handler, deadline_s=deadline_s, on_lost=lost)
        self._guards[handler] = guard
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(
                lambda: guard,
                sock,
                ssl=self._context,
                ssl_handshake_timeout=deadline_s,
                ssl_shutdown_timeout=_SHUTDOWN_S,
            )
        except OSError as err:  # ssl.SSLError is one
            self._counters.refuse(
                "a broken control handshake", str(err), address=peer[0]
            )
            sock.close()
            guard.lose()

    # --- HTTP ---------------------------------------------------------------------

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if (request.method, request.path) == ("POST", PAIR_PATH):
                return await self._pair(request)
            if (request.method, request.path) == ("GET", CONTROL_PATH):
                return await self._control(request)
            if (request.method, request.path) == ("GET", DATAGRAM_PATH):
                return await self._datagram_stream(request)
        except HearthgateError as err:
            return web.json_response({"error": err.as_dict()}, status=err.status)
        return web.Response(status=404, text="Not found.\n")

    async def _pair(self, request: web.BaseRequest) -> web.Response:
        if not self._pairings.allow(address_key(request.remote or "")):
            self._counters.refuse("pairing too often", address=request.remote or "")
            raise PairingTooOftenError
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
                "domains": list(home.domains),
                "software": __version__,
            },
            status=201,
        )

    async def _control(self, request: web.BaseRequest) -> web.StreamResponse:
        home = self._home_of(request)
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
        socket_ = web.WebSocketResponse(
            heartbeat=self._limits.control_ping_s,
            max_msg_size=CONTROL_MESSAGE_MAX_BYTES,
            compress=False,
            timeout=_SHUTDOWN_S,
        )
        await socket_.prepare(request)
        transport = request.transport
        try:
            await self._hold(home, socket_, request)
        finally:
            # A peer that vanished never answers a close; do not wait for it.
            if transport is not None:
                transport.abort()
        return socket_

    async def _datagram_stream(self, request: web.BaseRequest) -> web.StreamResponse:
        """Carry a home's datagrams while UDP does not come through."""
        home = self._home_of(request)
        if home is None:
            return web.Response(status=403, text="This home is not paired.\n")
        socket_ = web.WebSocketResponse(
            heartbeat=self._limits.control_ping_s,
            max_msg_size=CONTROL_MESSAGE_MAX_BYTES + 64,
            compress=False,
            timeout=_SHUTDOWN_S,
        )
        await socket_.prepare(request)
        self._guards[request.protocol].keep()
        transport = request.transport
        outbox: asyncio.Queue[bytes] = asyncio.Queue(_OUTBOX_MAX)

        def send(message: bytes) -> None:
            with contextlib.suppress(asyncio.QueueFull):  # dropped, as by a line
                outbox.put_nowait(message)

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
            if transport is not None:
                transport.abort()
        return socket_

    def _home_of(self, request: web.BaseRequest) -> Home | None:
        transport = request.transport
        tls = transport.get_extra_info("ssl_object") if transport else None
        certificate = tls.getpeercert(binary_form=True) if tls else None
        if not certificate:
            return None
        return self._registry.home(certificate_id(certificate))

    # --- one session ----------------------------------------------------------------

    async def _hold(
        self, home: Home, socket_: web.WebSocketResponse, request: web.BaseRequest
    ) -> None:
        begun = await self._hello(home, socket_)
        if begun is None:
            return
        hello, version = begun
        self._guards[request.protocol].keep()
        why_not = await self._machines.admit(home, hello)
        if why_not is not None:
            await socket_.send_str(messages.write_message(why_not))
            self._counters.refuse("a second machine", why_not.message, home=home.name)
            return
        await self._session(home, hello, version, socket_, request)

    async def _hello(
        self, home: Home, socket_: web.WebSocketResponse
    ) -> tuple[messages.Hello, int] | None:
        """Return an agent's hello and the common version; None: it was sent away."""
        try:
            async with asyncio.timeout(self._limits.control_handshake_deadline_s):
                hello = messages.read_message(await socket_.receive_str())
        except (TimeoutError, TypeError, messages.ControlMessageError) as err:
            self._counters.refuse("a session without a hello", str(err), home=home.name)
            return None
        version = _common_version(hello)
        if not isinstance(hello, messages.Hello) or version is None:
            await socket_.send_str(messages.write_message(_update_needed()))
            self._counters.refuse("a session in another language", home=home.name)
            return None
        return hello, version

    async def _session(
        self,
        home: Home,
        hello: messages.Hello,
        version: int,
        socket_: web.WebSocketResponse,
        request: web.BaseRequest,
    ) -> None:
        outbox: asyncio.Queue[messages.Message] = asyncio.Queue(_OUTBOX_MAX)
        transport = request.transport

        def send(message: messages.Message) -> None:
            try:
                outbox.put_nowait(message)
            except asyncio.QueueFull:
                self._counters.refuse("an agent that does not read", home=home.name)
                if transport is not None:
                    transport.abort()

        def leave() -> None:
            # An agent that reads nothing never sees the goodbye either.
            if transport is not None:
                loop.call_later(_SHUTDOWN_S, transport.abort)

        # Stopping: it comes back to whoever serves then. Or it was revoked meanwhile.
        now = self._registry.home(home.id)
        if self._sessions.stopping or now is None:
            return
        home = now
        loop = asyncio.get_running_loop()
        session = self._sessions.begin(home, send, leave)
        session.features = frozenset(hello.features)
        session.seals = hello.seals
        self._datagrams.attach(session)
        local = transport.get_extra_info("sockname") if transport else None
        session.since = time.time()
        session.software = hello.software
        session.remote = request.remote or ""
        send(self._welcome(session, version, local[0] if local else None))
        began = self._clock()
        _LOGGER.info(
            "%s: Connected from %s with Hearthgate %s, session %d",
            home.name,
            request.remote,
            hello.software,
            session.generation,
        )
        sender = self._tasks.start(_send_all(outbox, socket_), f"send to {home.name}")
        why = "the connection was lost"
        try:
            why = await self._receive(session, socket_)
            if session.ended:  # a goodbye is on its way
                await asyncio.wait({sender}, timeout=_SHUTDOWN_S)
        finally:
            sender.cancel()
            self._sessions.finish(session)
            self._datagrams.detach(home.id, session)
            held_s = self._clock() - began
            _LOGGER.info(
                "%s: Session %d ended after %d s: %s",
                home.name,
                session.generation,
                held_s,
                why,
            )

    def _welcome(
        self, session: Session, version: int, dialled: str | None
    ) -> messages.Welcome:
        home = session.presence.home
        return messages.Welcome(
            protocol=version,
            session_id=session.id,
            generation=session.generation,
            channel_key=session.key,
            home=home.name,
            domains=home.domains,
            addresses=self._addresses(dialled),
            channels_max=self._limits.channels_per_home_max,
            software=__version__,
            features=FEATURES,
            tcp=home.ports.tcp,
            udp=home.ports.udp,
            datagram_port=self._datagram_port,
        )

    async def _receive(self, session: Session, socket_: web.WebSocketResponse) -> str:
        """Carry out an agent's messages until the session ends; return why it did.

        Says goodbye to an agent that breaks the protocol.
        """
        misbehaved = functools.partial(
            self._sessions.finish, session, messages.GoodbyeReason.MISBEHAVED
        )
        name = session.presence.home.name
        async for frame in socket_:
            if session.ended or frame.type is WSMsgType.ERROR:  # a pong did not come
                break
            if frame.type is not WSMsgType.TEXT:
                self._counters.refuse("a control frame that is no text", home=name)
                misbehaved()
                return "it sent something that is no text"
            if not self._messages.allow(session.presence.home.id):
                self._counters.refuse("too many control messages", home=name)
                misbehaved()
                return "it sent too many messages"
            try:
                reply = self._carry_out(session, messages.read_message(frame.data))
            except messages.ControlMessageError as err:
                self._counters.refuse("a control message", str(err), home=name)
                misbehaved()
                return str(err)
            session.send(reply)
        error = socket_.exception()
        if session.ended:
            return "a newer session or the relay ended it"
        return str(error) if error else "the agent closed it or was gone"

    def _carry_out(
        self, session: Session, message: messages.Message
    ) -> messages.Message:
        home = session.presence.home
        match message:
            case messages.Publish():
                refused = self._sessions.publish(session, message.hostnames)
                for why in refused.values():
                    self._counters.refuse("a hostname", why, home=home.name)
                return _published(message.id, refused)
            case messages.Forwards():
                refused = self._forwards.declare(session, message.forwards)
                return messages.Forwarded(message.id, refused)
            case messages.Answer():
                return self._show_answer(home, message)
            case messages.DropAnswer():
                self._answers.drop(home.id, message.hostname, message.token)
                return messages.Done(message.id)
            case _:
                raise messages.ControlMessageError(reason="not expected here")

    def _show_answer(self, home: Home, message: messages.Answer) -> messages.Message:
        if not home.covers(message.hostname):
            self._counters.refuse(
                "an ACME answer outside the grant", message.hostname, home=home.name
            )
            return messages.Refused(
                message.id,
                "hostname_not_granted",
                f"This relay does not let your home use {message.hostname}.",
            )
        shown = self._answers.put(
            home.id, message.hostname, message.token, message.key_authorization
        )
        if not shown:
            self._counters.refuse("more ACME answers than allowed", home=home.name)
            return messages.Refused(
                message.id, "too_many_answers", "This relay shows enough answers."
            )
        return messages.Done(message.id)


def read_pairing(raw: bytes) -> tuple[bytes, str]:
    """Return secret and certificate request. Raises RequestInvalidError."""
    try:
        body: Any = _PAIR_BODY(json.loads(raw))
        return base64.b64decode(body["secret"], validate=True), body["request"]
    except (ValueError, binascii.Error, RecursionError, vol.Invalid) as err:
        raise RequestInvalidError(reason=str(err)) from err


async def _read_body(request: web.BaseRequest) -> bytes:
    """Return a body of a bounded size. Raises RequestInvalidError."""
    raw = bytearray()
    async for chunk in request.content.iter_any():
        raw += chunk
        if len(raw) > _PAIR_BODY_MAX_BYTES:
            raise RequestInvalidError(reason="its body is too long")
    return bytes(raw)


async def _send_datagrams(
    outbox: asyncio.Queue[bytes], socket_: web.WebSocketResponse
) -> None:
    with contextlib.suppress(ConnectionError):  # the receiving side finds out too
        while True:
            await socket_.send_bytes(await outbox.get())


async def _send_all(
    outbox: asyncio.Queue[messages.Message], socket_: web.WebSocketResponse
) -> None:
    """Send what is in the outbox until a goodbye was sent."""
    try:
        while True:
            message = await outbox.get()
            await socket_.send_str(messages.write_message(message))
            if isinstance(message, messages.Goodbye):
                await socket_.close()
                return
    except ConnectionError:
        return  # the receiving side finds out too, and says so


def _published(id_: int, refused: dict[str, str]) -> messages.Message:
    """Return what became of a set, or a refusal that fits into one message."""
    reply = messages.Published(id_, refused)
    if len(messages.write_message(reply)) <= CONTROL_MESSAGE_MAX_BYTES:
        return reply
    return messages.Refused(
        id_,
        "too_many_hostnames",
        f"This relay refuses {len(refused)} of your hostnames, the first one because: "
        f"{next(iter(refused.values()))}",
    )


def _common_version(hello: messages.Message) -> int | None:
    if not isinstance(hello, messages.Hello):
        return None
    common = [one for one in SUPPORTED_PROTOCOLS if one in hello.protocols]
    return common[0] if common else None


def _update_needed() -> messages.Refused:
    spoken = ", ".join(str(one) for one in SUPPORTED_PROTOCOLS)
    return messages.Refused(
        0,
        "protocol_unknown",
        f"This relay speaks the protocol versions {spoken}, your home another one. "
        "Update the older of the two.",
    )
