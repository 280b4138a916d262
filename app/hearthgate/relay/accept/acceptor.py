"""Accept connections on listening sockets, and hand each on. Reads nothing."""

import asyncio
from collections.abc import Callable
import errno
import functools
import logging
import socket

from hearthgate.relay.accept.connection_limiter import ConnectionLimiter
from hearthgate.relay.counting.refusals import Counters
from hearthgate.shared.net.poller import READABLE, Poller
from hearthgate.wire.proxy import Endpoint

_LOGGER = logging.getLogger(__name__)

BACKLOG = 4096  # a burst of visitors waits in the kernel; it caps this by somaxconn

_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_REST_S = 0.1

OnConnection = Callable[[socket.socket, Endpoint], None]


def listen(host: str, port: int, *, visitors_speak_first: bool = True) -> socket.socket:
    """Return a listening socket whose connections are made for passing bytes on.

    Accepted sockets inherit the options on Linux. Raises OSError.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if visitors_speak_first:
            # Wake us when there is something to read, which saves a turn of the loop
            # for each connection (tcp(7)).
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 1)
        # A NAT forgets a silent mapping after some minutes, the worst after one.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 45)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
        sock.setblocking(False)  # noqa: FBT003  the socket module's own name
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    return sock


def counted(
    limiter: ConnectionLimiter, counters: Counters, on_connection: OnConnection
) -> OnConnection:
    """Let in whom a limiter has room for, and count them in it.

    Whoever takes a connection over says once that it has left the limiter.
    """

    def let_in(sock: socket.socket, peer: Endpoint) -> None:
        why = limiter.enter(peer[0])
        if why:
            counters.refuse(why, address=peer[0])
            sock.close()
        else:
            on_connection(sock, peer)

    return let_in


class Acceptor:
    """Accept on some listening sockets, which it owns. Lives in one loop."""

    def __init__(
        self,
        listeners: list[socket.socket],
        *,
        on_connection: OnConnection,
        poller: Poller,
        counters: Counters,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._loop = loop
        self._listeners = listeners
        self._on_connection = on_connection
        self._poller = poller
        self._counters = counters

    @property
    def port(self) -> int:
        """The port of the first listening socket."""
        port: int = self._listeners[0].getsockname()[1]
        return port

    @property
    def listeners(self) -> tuple[socket.socket, ...]:
        """The listening sockets, which stay this acceptor's."""
        return tuple(self._listeners)

    def open(self) -> None:
        """Begin to accept."""
        for listener in self._listeners:
            self._watch(listener)

    def close(self) -> None:
        """Close the listening sockets; who is inside stays. Twice is fine."""
        for listener in self._listeners:
            self._poller.remove(listener.fileno())
            listener.close()
        self._listeners = []

    def _accept(self, listener: socket.socket, family: int, _events: int) -> None:
        """Accept one connection; the next one's turn comes right after the others'."""
        try:
            # What listener.accept() does, without making enumerations of constants.
            fd, address = listener._accept()  # type: ignore[attr-defined]  # noqa: SLF001
            sock = socket.socket(family, socket.SOCK_STREAM, 0, fileno=fd)
        except BlockingIOError:
            return
        except OSError as err:
            self._counters.refuse("a connection that failed at once", str(err))
            if err.errno in _EXHAUSTED:
                self._rest(listener)
            return
        sock.setblocking(False)  # noqa: FBT003
        try:
            self._on_connection(sock, address[:2])
        except Exception:
            # A bug with one connection must not close the door for all.
            _LOGGER.exception("A new connection could not be looked at")

    def _rest(self, listener: socket.socket) -> None:
        """Accept nothing for a moment: the system has nothing left to accept with."""
        self._poller.remove(listener.fileno())
        self._loop.call_later(_REST_S, self._watch, listener)

    def _watch(self, listener: socket.socket) -> None:
        if listener in self._listeners:
            accept = functools.partial(self._accept, listener, int(listener.family))
            self._poller.add(listener.fileno(), READABLE, accept)
