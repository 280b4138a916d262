"""One control connection, from dialling to its end.

    dial ─▶ hello ─▶ welcome ─▶ requests and replies, needs ─▶ goodbye, or lost

Requests have a deadline. Who makes the next connection, and when, is the tunnel's
business.
"""

import asyncio
from collections.abc import Callable
import itertools
import logging
import socket
import ssl
import struct

from aiohttp import (
    ClientWebSocketResponse,
    ClientWSTimeout,
    WSMsgType,
    WSServerHandshakeError,
)

from hearthgate import __version__
from hearthgate.errors import quoted
from hearthgate.home.tunnel.dialing import (
    DIAL_DEADLINE_S,
    control_url,
    relay_client,
    relay_errors,
)
from hearthgate.home.tunnel.errors import (
    HomeForgottenError,
    HomeMovedError,
    RelayAnswerError,
    RelayAwayError,
    RelayRefusedError,
    RelayReplacedError,
    UpgradeRefusedError,
)
from hearthgate.wire import messages
from hearthgate.wire.constants import (
    CONTROL_MESSAGE_MAX_BYTES,
    CONTROL_PATH,
    DATAGRAM_PATH,
    SUPPORTED_PROTOCOLS,
)
from hearthgate.wire.names import format_address

_LOGGER = logging.getLogger(__name__)

_PING_S = 20.0  # an answer must come within half of it: dead after 30 s at most
_REQUEST_DEADLINE_S = 15.0
_CLOSE_DEADLINE_S = 2.0
_HTTP_FORBIDDEN = 403
_HTTP_SERVER_ERROR = 500  # and above: it has trouble of its own, and may mend it
_RTT = struct.Struct("=68xI")  # tcpi_rtt in struct tcp_info (linux/tcp.h), in µs

_TWO_MACHINES = {"home_in_use": RelayReplacedError, "home_moved": HomeMovedError}

Need = Callable[[messages.Need], None]
FEATURES = (messages.Feature.FORWARDS, messages.Feature.DATAGRAMS)


class ControlConnection:
    """A control connection to one relay. Use `open` once, then `receive` until it ends.

    Lives in one loop; `close` ends it from outside.
    """

    def __init__(
        self,
        host: str,
        port: int,
        fingerprint: bytes,
        context: ssl.SSLContext,
        on_need: Need,
        *,
        on_granted: Callable[[messages.Granted], None] | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._context = context
        self._on_need = on_need
        self._on_granted = on_granted or _ignore
        self._client = relay_client(host, fingerprint)
        self._socket: ClientWebSocketResponse | None = None
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[messages.Message]] = {}

    @property
    def relay(self) -> str:
        """The relay's address as a person writes it."""
        return format_address(self._host, self._port)

    async def open(
        self,
        machine: str = "",
        claim: messages.Claim = messages.Claim.USUAL,
        *,
        seals: bool = False,
    ) -> messages.Welcome:
        """Connect and begin a session.

        Raises RelayUnreachableError, RelayKeyError, RelayRefusedError,
        RelayReplacedError, HomeMovedError, RelayAnswerError.
        """
        url = control_url(self._port, CONTROL_PATH, "wss")
        try:
            with relay_errors(self._host, self._port):
                async with asyncio.timeout(DIAL_DEADLINE_S):
                    self._socket = await self._connect(url)
                    hello = messages.Hello(
                        SUPPORTED_PROTOCOLS,
                        __version__,
                        FEATURES,
                        machine,
                        claim,
                        seals,
                    )
                    await self._socket.send_str(messages.write_message(hello))
                    return self._welcome(await self._socket.receive_str())
        except TypeError as err:  # receive_str got a close, or bytes
            reason = "it closed the connection instead of a welcome"
            raise RelayAnswerError(relay=self.relay, reason=reason) from err

    async def _connect(self, url: str) -> ClientWebSocketResponse:
        try:
            return await self._client.ws_connect(
                url,
                ssl=self._context,
                heartbeat=_PING_S,
                max_msg_size=CONTROL_MESSAGE_MAX_BYTES,
                timeout=ClientWSTimeout(ws_close=_CLOSE_DEADLINE_S),
            )
        except WSServerHandshakeError as err:
            # It is a ClientError as well, which would pass for an unreachable relay.
            if err.status >= _HTTP_SERVER_ERROR:
                raise
            raise _refusal(err) from err

    def _welcome(self, text: str) -> messages.Welcome:
        try:
            message = messages.read_message(text)
        except messages.ControlMessageError as err:
            raise RelayAnswerError(relay=self.relay, reason=str(err)) from err
        if isinstance(message, messages.Refused):
            if message.code in _TWO_MACHINES:
                raise _TWO_MACHINES[message.code](relay=self.relay)
            raise _in_its_words(message)
        if not isinstance(message, messages.Welcome):
            raise RelayAnswerError(relay=self.relay, reason="there is no welcome")
        if message.protocol not in SUPPORTED_PROTOCOLS:
            raise RelayAnswerError(relay=self.relay, reason="it speaks another version")
        return message

    @property
    def peer(self) -> tuple[str, int]:
        """IP address and port that the connection leads to. Raises RelayAwayError."""
        peer = self._socket.get_extra_info("peername") if self._socket else None
        if not peer:
            raise RelayAwayError
        return peer[0], peer[1]

    @property
    def rtt_ms(self) -> float | None:
        """The kernel's smoothed round-trip time."""
        sock = self._socket.get_extra_info("socket") if self._socket else None
        if sock is None:
            return None
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT.size)
        except OSError:
            return None
        return float(_RTT.unpack(info)[0]) / 1000 if len(info) >= _RTT.size else None

    async def receive(self) -> messages.GoodbyeReason | None:
        """Take the relay's messages until the end; return why it said goodbye.

        None: the connection was lost. Raises RelayAnswerError.
        """
        if self._socket is None:
            raise RelayAwayError
        async for frame in self._socket:
            if frame.type is WSMsgType.ERROR:  # no answer to a ping, or it was reset
                return None
            if frame.type is not WSMsgType.TEXT:
                raise RelayAnswerError(relay=self.relay, reason="a frame is no text")
            try:
                message = messages.read_message(frame.data)
            except messages.ControlMessageError as err:
                raise RelayAnswerError(relay=self.relay, reason=str(err)) from err
            if isinstance(message, messages.Goodbye):
                return message.reason
            self._take(message)
        return None

    def _take(self, message: messages.Message) -> None:
        match message:
            case messages.Need():
                self._on_need(message)
            case messages.Granted():
                self._on_granted(message)
            case (
                messages.Published()
                | messages.Forwarded()
                | messages.Done()
                | messages.Refused()
            ):
                waiting = self._waiting.pop(message.id, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(message)
            case _:
                reason = "a message was not expected"
                raise RelayAnswerError(relay=self.relay, reason=reason)

    async def publish(self, hostnames: tuple[str, ...]) -> dict[str, str]:
        """Publish the whole set of hostnames; return the refused ones with why."""
        reply = await self._request(messages.Publish(next(self._ids), hostnames))
        return dict(reply.refused) if isinstance(reply, messages.Published) else {}

    async def declare(self, forwards: tuple[messages.Forward, ...]) -> dict[str, str]:
        """Declare the whole set of forwards; return the refused ones with why."""
        reply = await self._request(messages.Forwards(next(self._ids), forwards))
        return dict(reply.refused) if isinstance(reply, messages.Forwarded) else {}

    async def datagram_stream(self) -> ClientWebSocketResponse:
        """Open what carries datagrams while UDP does not come through.

        Raises RelayUnreachableError, RelayKeyError. The caller closes it.
        """
        url = control_url(self._port, DATAGRAM_PATH, "wss")
        with relay_errors(self._host, self._port):
            async with asyncio.timeout(DIAL_DEADLINE_S):
                return await self._connect(url)

    async def show_answer(self, hostname: str, token: str, answer: str) -> None:
        """Show an ACME answer on the relay's port 80."""
        await self._request(messages.Answer(next(self._ids), hostname, token, answer))

    async def drop_answer(self, hostname: str, token: str) -> None:
        """Show an ACME answer no longer."""
        await self._request(messages.DropAnswer(next(self._ids), hostname, token))

    async def _request(
        self,
        message: (
            messages.Publish | messages.Forwards | messages.Answer | messages.DropAnswer
        ),
    ) -> messages.Message:
        """Send a request and return its reply.

        Raises RelayAwayError, RelayRefusedError.
        """
        if self._socket is None or self._socket.closed:
            raise RelayAwayError
        reply: asyncio.Future[messages.Message] = (
            asyncio.get_running_loop().create_future()
        )
        self._waiting[message.id] = reply
        try:
            async with asyncio.timeout(_REQUEST_DEADLINE_S):
                await self._socket.send_str(messages.write_message(message))
                answer = await reply
        except TimeoutError as err:
            # Nobody knows what the relay has done. The next session declares all anew.
            await self._socket.close()
            raise RelayAwayError from err
        except ConnectionError as err:
            raise RelayAwayError from err
        finally:
            self._waiting.pop(message.id, None)
        if isinstance(answer, messages.Refused):
            raise _in_its_words(answer)
        return answer

    async def close(self) -> None:
        """End the connection and every request that waits."""
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(RelayAwayError())
        if self._socket is not None:
            await self._socket.close()
        await self._client.close()


def _in_its_words(refused: messages.Refused) -> RelayRefusedError:
    return RelayRefusedError(**quoted(refused.code, refused.message))


def _refusal(err: WSServerHandshakeError) -> Exception:
    if err.status == _HTTP_FORBIDDEN:
        return HomeForgottenError()
    return UpgradeRefusedError(answer=err.status)


def _ignore(_granted: messages.Granted) -> None:
    pass
