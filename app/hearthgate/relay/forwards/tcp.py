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
import typing

from hearthgate.relay.accept.acceptor import Acceptor, counted, listen
from hearthgate.relay.accept.connection_limiter import ConnectionLimiter
from hearthgate.relay.accept.listeners import take
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.homes.sessions import Presence, Route, Session, Sessions
from hearthgate.relay.limits import Limits
from hearthgate.relay.visitors.visitors import Visitor, Visitors
from hearthgate.shared.net.poller import Poller
from hearthgate.wire.alerts import Alert
from hearthgate.wire.messages import Forward
from hearthgate.wire.ports import Protocol
from hearthgate.wire.proxy import Endpoint

_LOGGER = logging.getLogger(__name__)
_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ForwardVisitor(Visitor):
    """A visitor on a forwarded TCP port."""

    __slots__ = ("_target",)

    def __init__(
        self,
        desk: Visitors,
        sock: socket.socket,
        *,
        peer: Endpoint,
        name: str,
        leave: Callable[[], None],
    ) -> None:
        super().__init__(desk, sock, peer=peer, hostname=name, flight=b"", leave=leave)
        self._came_to = self.hostname
        self._target: Endpoint = sock.getsockname()[:2]

    @property
    def goal(self) -> tuple[int, Endpoint]:
        """The port that it came to, and where that is."""
        return self._target[1], self._target

    def is_sealed_by(self, session: Session) -> bool:
        """Return True: what it says is not encrypted by itself."""
        del session
        return True

    def _tell(self, alert: Alert) -> None:
        """Nothing can be said in a protocol that we don't know."""


class ForwardRoute(Route):
    """A forward with the sockets that listen for it."""

    __slots__ = ("door", "forward")

    def __init__(self, forward: Forward, presence: Presence, door: "PortDoor") -> None:
        super().__init__(str(forward), presence)
        self.forward = forward
        self.door = door

    def withdraw(self) -> None:
        """Listen no more, and cut who is inside."""
        self.door.close()
        self.cut()


class PortTakenError(Exception):
    """Raise if a port cannot be bound; says why."""


class PortDoor(typing.Protocol):
    """What listens on one forwarded port."""

    @property
    def listeners(self) -> tuple[socket.socket, ...]:
        """The sockets, which stay its own."""

    def open(self) -> None:
        """Begin to listen."""

    def close(self) -> None:
        """Close the sockets. Twice does no harm."""


Inherited = list[socket.socket]
MakeDatagrams = Callable[[Forward, Presence, Inherited], PortDoor]


class Forwards:
    """All forwards of a relay. Lives in one loop."""

    def __init__(
        self,
        *,
        visitors: Visitors,
        sessions: Sessions,
        poller: Poller,
        limiter: ConnectionLimiter,
        counters: Counters,
        limits: Limits,
        hosts: tuple[str, ...],
        own_ports: Callable[[], frozenset[Forward]],
        make_datagrams: MakeDatagrams,  # raises PortTakenError
        may_open: Callable[[str], bool],
    ) -> None:
        """may_open: charges a home, by its id, for a port that it opens."""
        self._may_open = may_open
        self._visitors = visitors
        self._sessions = sessions
        self._poller = poller
        self._limiter = limiter
        self._counters = counters
        self._limits = limits
        self._hosts = hosts
        self._own_ports = own_ports
        self._make_datagrams = make_datagrams

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

    def adopt(
        self, presence: Presence, forwards: Iterable[Forward], inherited: Inherited
    ) -> None:
        """Take over ports that another process has bound, for a home that comes back.

        Nobody is let in before `open`. Their sockets are taken out of `inherited`.
        """
        for forward in forwards:
            why = self._refusal(forward, presence)
            try:
                door = None if why else self._door(forward, presence, inherited)
            except PortTakenError as err:  # it has not handed over this one
                why = str(err)
            if door is None:
                _LOGGER.warning("%s: No %s: %s", presence.home.name, forward, why)
            else:
                self._sessions.add(ForwardRoute(forward, presence, door))

    def open(self) -> None:
        """Let visitors in on the ports that were taken over."""
        for door in self._doors():
            door.open()

    def close(self) -> None:
        """Listen no more; who is inside stays."""
        for door in self._doors():
            door.close()

    def socks(self) -> list[socket.socket]:
        """Return all sockets that listen."""
        return [sock for door in self._doors() for sock in door.listeners]

    def _doors(self) -> list[PortDoor]:
        routes = self._sessions.routes.values()
        return [one.door for one in routes if isinstance(one, ForwardRoute)]

    def admit(self, name: str, sock: socket.socket, peer: Endpoint) -> None:
        """Let in who came to a forward before, and is counted."""
        self._admit(name, sock, peer)

    def _open(self, forward: Forward, presence: Presence) -> str:
        """Bind a port; return why not, empty if it is bound."""
        why = self._refusal(forward, presence)
        if why:
            return why
        if not self._may_open(presence.home.id):
            return (
                "Your home opens and closes ports too often. This relay lets it again "
                "in a minute."
            )
        what = _words(forward)
        try:
            door = self._door(forward, presence, [])
        except PortTakenError as err:
            return f"The relay cannot listen on {what}: {err}."
        door.open()
        self._sessions.add(ForwardRoute(forward, presence, door))
        _LOGGER.info("%s: Forwards %s", presence.home.name, what)
        return ""

    def _refusal(self, forward: Forward, presence: Presence) -> str:
        """Say why a home may not have a port; empty if it may."""
        what = _words(forward)
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
        return ""

    def _door(
        self, forward: Forward, presence: Presence, inherited: Inherited
    ) -> PortDoor:
        """Bind a port, or take its sockets over. Raises PortTakenError."""
        if forward.protocol is Protocol.UDP:
            return self._make_datagrams(forward, presence, inherited)

        def bind(host: str) -> socket.socket:
            found = take(inherited, host, forward.port, socket.SOCK_STREAM)
            return found or listen(host, forward.port, visitors_speak_first=False)

        return Acceptor(
            bind_all(self._hosts, bind),
            on_connection=counted(
                self._limiter,
                self._counters,
                functools.partial(self._admit, str(forward)),
            ),
            poller=self._poller,
            counters=self._counters,
            loop=asyncio.get_running_loop(),
        )

    def _admit(self, name: str, sock: socket.socket, peer: Endpoint) -> None:
        visitor = ForwardVisitor(
            self._visitors,
            sock,
            peer=peer,
            name=name,
            leave=functools.partial(self._limiter.leave, peer[0]),
        )
        self._visitors.place(visitor)


def _words(forward: Forward) -> str:
    return f"{forward.protocol.upper()} port {forward.port}"


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
