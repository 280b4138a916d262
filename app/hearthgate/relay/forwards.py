"""Public ports that lead to homes.

    forwards {tcp/25565, udp/51820} ──▶ grant? free? ──▶ bound ports, or a reason
    visitor on 25565 ──▶ SealedLine: a free one, or a parked channel that becomes one

A port is bound while its home declares it, and through the grace period in which the
home may come back. Binds nothing that a grant does not cover. UDP is in datagrams.py.
"""

import asyncio
from collections.abc import Callable, Iterable
import errno
import functools
import logging
import socket

from hearthgate.poller import Poller
from hearthgate.relay.addresses import AddressBook
from hearthgate.relay.counters import Counters
from hearthgate.relay.doorway import Doorway, listen
from hearthgate.relay.limits import Limits
from hearthgate.relay.sealed import SealedLine
from hearthgate.relay.sessions import ParkedChannel, Presence, Route, Session, Sessions
from hearthgate.relay.visitors import Visitor, Visitors
from hearthgate.wire.alerts import Alert
from hearthgate.wire.control import Forward
from hearthgate.wire.ports import Protocol
from hearthgate.wire.proxy import Endpoint, proxy_header

_LOGGER = logging.getLogger(__name__)
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ForwardVisitor(Visitor):
    """A visitor on a forwarded TCP port."""

    __slots__ = ("_line", "_target")

    def __init__(
        self,
        desk: Visitors,
        sock: socket.socket,
        *,
        peer: Endpoint,
        forward: Forward,
        leave: Callable[[], None],
    ) -> None:
        super().__init__(
            desk, sock, peer=peer, hostname=str(forward), flight=b"", leave=leave
        )
        self._target: Endpoint = sock.getsockname()[:2]
        self._line: SealedLine | None = None

    def choose(self, presence: Presence) -> ParkedChannel | SealedLine | None:
        """Take a sealed channel that is free; else a parked one becomes one."""
        return presence.take_free() or presence.take_channel()

    def _begin(self, channel: ParkedChannel | SealedLine) -> None:
        """Have the channel carry the visitor."""
        desk = self._desk
        if isinstance(channel, ParkedChannel):
            channel = SealedLine(
                channel,
                desk.pump,
                clock=desk.clock,
                trust_s=desk.limits.sealed_trust_s,
            )
        self.channel = self._line = channel
        channel.take(
            self.sock,
            self._target[1],
            proxy_header(self.peer, self._target),
            on_answer=self._on_answer,
            on_lost=self._channel_ended,
            on_end=self._on_end,
        )

    def _on_answer(self) -> None:
        """Take that the home is there, or was a moment ago: this channel it will be."""
        line, route = self._line, self.route
        if line is not None:
            self._answered(line)
            if route is not None:
                route.live.add(line)

    def _on_end(self, to_home: int, to_visitor: int) -> None:
        """Take that the channel has closed the visitor's socket, or died."""
        line, self._line = self._line, None
        if self.route is not None and line is not None:
            self.route.live.discard(line)
        if self.closed:
            return
        self.closed = True
        self._desk.opening.pop(self, None)
        self._desk.left(self, to_home, to_visitor)
        self._leave_route()
        self._leave()

    def _drop_channel(self) -> None:
        """Close the channel and keep the visitor."""
        self._desk.opening.pop(self, None)
        line, self._line, self.channel = self._line, None, None
        if line is not None:
            line.let_go()

    def _tell(self, alert: Alert) -> None:
        """Nothing can be said in a protocol that we don't know."""


class ForwardRoute(Route):
    """A forward with the sockets that listen for it."""

    __slots__ = ("close_doors", "forward")

    def __init__(
        self, forward: Forward, presence: Presence, close_doors: Callable[[], None]
    ) -> None:
        super().__init__(str(forward), presence)
        self.forward = forward
        self.close_doors = close_doors

    def withdraw(self) -> None:
        """Listen no more, and cut who is inside."""
        self.close_doors()
        self.cut()


class PortTakenError(Exception):
    """Raise if a port cannot be bound; says why."""


OpenDatagrams = Callable[[Forward, Presence], Callable[[], None]]


class Forwards:
    """All forwards of a relay. Lives in one loop."""

    def __init__(
        self,
        *,
        visitors: Visitors,
        sessions: Sessions,
        poller: Poller,
        book: AddressBook,
        counters: Counters,
        limits: Limits,
        hosts: tuple[str, ...],
        own_ports: Callable[[], frozenset[Forward]],
        open_datagrams: OpenDatagrams,  # raises PortTakenError
    ) -> None:
        self._visitors = visitors
        self._sessions = sessions
        self._poller = poller
        self._book = book
        self._counters = counters
        self._limits = limits
        self._hosts = hosts
        self._own_ports = own_ports
        self._open_datagrams = open_datagrams

    def declare(self, session: Session, wanted: Iterable[Forward]) -> dict[str, str]:
        """Make a home's set of forwards this one; return the refused ones with why.

        What is no longer in the set is cut before this returns.
        """
        presence = session.presence
        asked = list(dict.fromkeys(wanted))
        most = self._limits.forwards_per_home_max
        refused = {
            str(one): f"This relay lets a home forward {most} ports, and no more."
            for one in asked[most:]
        }
        kept = {str(one) for one in asked[:most]}
        gone = [
            name
            for name, route in presence.routes.items()
            if route.forward is not None and name not in kept
        ]
        self._sessions.withdraw(presence, gone)
        for forward in asked[:most]:
            if str(forward) in presence.routes:
                continue
            why = self._open(forward, presence)
            if why:
                refused[str(forward)] = why
        for why in refused.values():
            self._counters.refuse("a forward", why, home=presence.home.name)
        presence.serve()
        return refused

    def close(self) -> None:
        """Listen no more; who is inside stays."""
        for route in self._sessions.routes.values():
            if isinstance(route, ForwardRoute):
                route.close_doors()

    def _open(self, forward: Forward, presence: Presence) -> str:
        """Bind a port; return why not, empty if it is bound."""
        what = f"{forward.protocol.upper()} port {forward.port}"
        if not presence.home.ports.covers(forward.protocol, forward.port):
            allowed = str(presence.home.ports) or "none"
            return (
                f"This relay does not let your home use {what}. "
                f"It allows {allowed[:200]}. Its owner can change that: hearthgate "
                f"relay grant {presence.home.name} --{forward.protocol} {forward.port}"
            )
        if str(forward) in self._sessions.routes:
            return f"Another home on this relay holds {what}."
        if forward in self._own_ports():
            return f"The relay itself uses {what}."
        try:
            close = self._bind(forward, presence)
        except PortTakenError as err:
            return f"The relay cannot listen on {what}: {err}."
        self._sessions.add(ForwardRoute(forward, presence, close))
        _LOGGER.info("%s: Forwards %s", presence.home.name, what)
        return ""

    def _bind(self, forward: Forward, presence: Presence) -> Callable[[], None]:
        if forward.protocol is Protocol.UDP:
            return self._open_datagrams(forward, presence)
        listeners = bind_all(
            self._hosts,
            functools.partial(listen, port=forward.port, visitors_speak_first=False),
        )
        door = Doorway(
            listeners,
            on_connection=functools.partial(self._admit, forward),
            book=self._book,
            poller=self._poller,
            counters=self._counters,
            loop=asyncio.get_running_loop(),
        )
        door.open()
        return door.close

    def _admit(self, forward: Forward, sock: socket.socket, peer: Endpoint) -> None:
        visitor = ForwardVisitor(
            self._visitors,
            sock,
            peer=peer,
            forward=forward,
            leave=functools.partial(self._book.leave, peer[0]),
        )
        self._visitors.place(visitor)


def bind_all(
    hosts: tuple[str, ...], bind: Callable[[str], socket.socket]
) -> list[socket.socket]:
    """Bind a port on each address; one that this machine does not have is left out.

    Raises PortTakenError, with nothing bound.
    """
    bound: list[socket.socket] = []
    for host in hosts:
        try:
            bound.append(bind(host))
        except OSError as err:
            if err.errno in _NO_SUCH_ADDRESS and len(hosts) > 1:
                continue
            for one in bound:
                one.close()
            raise PortTakenError(err.strerror or str(err)) from err
    if not bound:
        raise PortTakenError("this machine has no such address")
    return bound
