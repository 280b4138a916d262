"""The home's end of UDP forwards on one relay, for one session.

    relay ──sealed UDP──▶ Datagrams ──a connected socket per flow──▶ service
      ▲                       │ HELLO every 15 s keeps the router's mapping
      └── stream (WebSocket) ◀┘ only while UDP does not come through

The home speaks first, so no port is open at home. A flow ends when it was silent for
long, when the relay closes it or when its forward goes. Here Python does carry bytes:
HAProxy knows no UDP.
"""

import asyncio
from collections.abc import Awaitable, Callable
import contextlib
import functools
import logging
import socket

from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType

from hearthgate.errors import HearthgateError
from hearthgate.home.model import Bytes, Target
from hearthgate.home.tunnel.lookup import Lookup
from hearthgate.shared.net.poller import READABLE, Poller
from hearthgate.shared.net.udp import receive_all, send_all, udp_socket
from hearthgate.wire.datagrams import (
    FLOW_BYTES,
    Kind,
    Opener,
    Sealer,
    datagram_keys,
    read_flow,
    read_open,
    session_tag,
    write_flow,
)

_LOGGER = logging.getLogger(__name__)

_HELLO_EVERY_S = 15.0  # the worst routers forget a UDP mapping after 30 s
_HELLO_FIRST_S = 0.5
_BLOCKED_AFTER_S = 3.0  # six hellos without an answer: UDP does not come through
_ALIVE_S = 40.0  # two hellos may be lost
_FLOW_IDLE_S = 180.0  # longer than at the relay, which says when one ends
_FLOWS_MAX = 2048

OpenStream = Callable[[], Awaitable[ClientWebSocketResponse]]
FindTarget = Callable[[int], Target | None]
Count = Callable[[int, Bytes], None]


class _Flow:
    __slots__ = ("id", "last", "port", "received", "sent", "sock", "target")

    def __init__(
        self, id_: int, port: int, target: Target, sock: socket.socket
    ) -> None:
        self.id = id_
        self.port = port
        self.target = target
        self.sock = sock
        self.last = 0.0
        self.received = self.sent = 0  # bytes from the visitor, and to it

    @property
    def moved(self) -> Bytes:
        return Bytes(self.received, self.sent)


class Datagrams:
    """UDP forwards of one session. `run` until the session ends; then `close`."""

    def __init__(
        self,
        *,
        session_id: bytes,
        channel_key: bytes,
        relay: tuple[str, int],
        find_target: FindTarget,
        open_stream: OpenStream,
        poller: Poller,
        clock: Callable[[], float],
        count: Count = lambda _port, _moved: None,
    ) -> None:
        """count: gets what a visitor of a public port has moved, once it left."""
        to_relay, to_home = datagram_keys(channel_key)
        self._sealer = Sealer(to_relay, session_tag(session_id))
        self._opener = Opener(to_home)
        self._relay = relay
        self._find_target = find_target
        self._open_stream = open_stream
        self._poller = poller
        self._clock = clock
        self._count = count
        self._sock: socket.socket | None = None
        self._stream: ClientWebSocketResponse | None = None
        self._streaming: asyncio.Task[None] | None = None
        self._outbox: asyncio.Queue[bytes] = asyncio.Queue(4096)
        self._heard = float("-inf")
        self._flows: dict[int, _Flow] = {}
        self._lookup = Lookup(clock)

    @property
    def flows(self) -> int:
        """How many flows there are."""
        return len(self._flows)

    def moved(self, port: int) -> list[Bytes]:
        """Return what each visitor of a public port has moved who is there now."""
        return [flow.moved for flow in self._flows.values() if flow.port == port]

    @property
    def refused(self) -> tuple[int, int]:
        """How many datagrams were forged, and how many replayed."""
        return self._opener.forged, self._opener.replayed

    async def run(self) -> None:
        """Keep the way to the relay open until cancelled."""
        began = self._clock()
        try:
            self._open_socket()
            while True:
                self._send_udp([bytes([Kind.HELLO])])
                alive = self._clock() - self._heard < _ALIVE_S
                await asyncio.sleep(_HELLO_EVERY_S if alive else _HELLO_FIRST_S)
                now = self._clock()
                if now - self._heard < _ALIVE_S:
                    await self._end_stream()
                elif now - max(began, self._heard) > _BLOCKED_AFTER_S:
                    self._begin_stream()
                self._sweep(now)
        finally:
            self._close_flows()
            await self._end_stream()
            await self._lookup.close()
            if self._sock is not None:
                self._poller.remove(self._sock.fileno())
                self._sock.close()

    def targets_changed(self) -> None:
        """End flows whose forward is gone or leads elsewhere now."""
        for flow in list(self._flows.values()):
            if self._find_target(flow.port) != flow.target:
                self._end_flow(flow)

    # --- the relay ----------------------------------------------------------------

    def _open_socket(self) -> None:
        with contextlib.suppress(OSError):  # then the stream has to do
            sock = udp_socket(self._relay[0])
            self._sock = sock
            sock.connect(self._relay)
            self._poller.add(sock.fileno(), READABLE, self._from_relay)

    def _from_relay(self, _events: int) -> None:
        if self._sock is None:
            return
        messages = []
        for datagram, _ in receive_all(self._sock):
            message = self._opener.open(datagram)
            if message is not None:
                messages.append(message)
        if messages:
            self._heard = self._clock()
            self._take(messages)

    def _take(self, messages: list[bytes]) -> None:
        """Act on what the relay has sent: payloads of one flow go in one call."""
        now = self._clock()
        payloads: dict[_Flow, list[bytes]] = {}
        replies: list[bytes] = []
        for message in messages:
            kind = message[0] if message else 0
            if kind == Kind.OPEN:
                found = self._opened(message, replies)
            elif kind == Kind.DATA:
                flow_id = read_flow(message)
                flow = self._flows.get(flow_id or 0)
                found = None if flow is None else (flow, message[FLOW_BYTES:])
                if flow is None and flow_id is not None:
                    replies.append(write_flow(Kind.CLOSE, flow_id))
            else:
                found = None
                if kind == Kind.CLOSE:
                    gone = self._flows.get(read_flow(message) or 0)
                    if gone is not None:
                        self._end_flow(gone)
            if found is not None:
                found[0].last = now
                payloads.setdefault(found[0], []).append(found[1])
        for flow, parts in payloads.items():
            send_all(flow.sock, parts)
            flow.received += sum(map(len, parts))
        if replies:
            self._send(replies)

    def _opened(
        self, message: bytes, replies: list[bytes]
    ) -> tuple[_Flow, bytes] | None:
        opened = read_open(message)
        if opened is None:
            return None
        flow = self._flows.get(opened.flow)
        if flow is None:
            flow = self._begin_flow(opened.flow, opened.port)
        if flow is None:
            return None
        replies.append(write_flow(Kind.ACCEPT, opened.flow))
        return flow, opened.payload

    def _send(self, messages: list[bytes]) -> None:
        if self._stream is not None and self._clock() - self._heard >= _ALIVE_S:
            for message in messages:
                with contextlib.suppress(asyncio.QueueFull):  # dropped, as by a line
                    self._outbox.put_nowait(message)
        else:
            self._send_udp(messages)

    def _send_udp(self, messages: list[bytes]) -> None:
        if self._sock is not None:
            seal = self._sealer.seal
            send_all(self._sock, [seal(one) for one in messages])

    # --- services -------------------------------------------------------------------

    def _begin_flow(self, id_: int, port: int) -> _Flow | None:
        target = self._find_target(port)
        if target is None or len(self._flows) >= _FLOWS_MAX:
            return None
        host = self._lookup.find(target.host)
        if host is None:
            return None  # the visitor sends again; the name is known then
        try:
            sock = udp_socket(host)
        except OSError as err:
            _LOGGER.warning("No socket for UDP port %d: %s", port, err)
            return None
        try:
            sock.connect((host, target.port))
        except OSError as err:
            sock.close()
            _LOGGER.warning("No way to %s: %s", target.authority, err)
            return None
        flow = self._flows[id_] = _Flow(id_, port, target, sock)
        handler = functools.partial(self._from_service, flow)
        self._poller.add(sock.fileno(), READABLE, handler)
        return flow

    def _from_service(self, flow: _Flow, _events: int) -> None:
        received = receive_all(flow.sock)
        if received:
            flow.last = self._clock()
            payloads = [payload for payload, _ in received]
            self._send([write_flow(Kind.DATA, flow.id, one) for one in payloads])
            flow.sent += sum(map(len, payloads))

    def _end_flow(self, flow: _Flow) -> None:
        self._flows.pop(flow.id, None)
        self._count(flow.port, flow.moved)
        self._poller.remove(flow.sock.fileno())
        flow.sock.close()

    def _close_flows(self) -> None:
        for flow in list(self._flows.values()):
            self._end_flow(flow)

    def _sweep(self, now: float) -> None:
        for flow in list(self._flows.values()):
            if now - flow.last > _FLOW_IDLE_S:
                self._end_flow(flow)

    # --- the stream -------------------------------------------------------------------

    def _begin_stream(self) -> None:
        if self._streaming is None or self._streaming.done():
            self._streaming = asyncio.create_task(
                self._hold_stream(), name="datagram stream"
            )

    async def _hold_stream(self) -> None:
        try:
            stream = await self._open_stream()
        except (HearthgateError, ClientError, OSError) as err:
            _LOGGER.debug("No stream for datagrams: %s", err)
            return
        _LOGGER.warning(
            "UDP to the relay %s does not come through; datagrams go by TCP meanwhile",
            self._relay[0],
        )
        self._stream = stream
        sender = asyncio.create_task(self._send_stream(stream), name="datagrams out")
        try:
            async for frame in stream:
                if frame.type is WSMsgType.BINARY:
                    self._take([frame.data])
        finally:
            self._stream = None
            sender.cancel()
            await asyncio.gather(sender, return_exceptions=True)
            await stream.close()

    async def _send_stream(self, stream: ClientWebSocketResponse) -> None:
        while True:
            await stream.send_bytes(await self._outbox.get())

    async def _end_stream(self) -> None:
        task, self._streaming = self._streaming, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
