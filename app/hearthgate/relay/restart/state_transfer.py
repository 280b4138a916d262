"""The two ends of a take-over, among the parts of a relay.

    HandOver   in the old process: gives everything away, then forwards who is left
    TakeOver   in the new one: admits who is forwarded, and tells whom to cut

What travels between them, and in which order, is in takeover.py.
"""

import asyncio
import base64
from collections.abc import Callable, Sequence
import contextlib
import functools
import logging
import socket
from typing import Protocol

from hearthgate.relay.accept.acceptor import Acceptor
from hearthgate.relay.accept.connection_limiter import ConnectionLimiter
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.doors.front_door import FrontDoor
from hearthgate.relay.forwards.tcp import Forwards
from hearthgate.relay.forwards.udp import Datagrams
from hearthgate.relay.homes.challenge_responses import Answers
from hearthgate.relay.homes.registry import Registry
from hearthgate.relay.homes.sessions import Sessions
from hearthgate.relay.limits import Limits
from hearthgate.relay.restart.takeover import (
    DEADLINE_S,
    VERSION,
    Inheritance,
    Link,
    Message,
)
from hearthgate.relay.visitors.visitors import Visitors
from hearthgate.shared.net.poller import Poller
from hearthgate.shared.process.tasks import Tasks
from hearthgate.wire.hello import Hello, read_hello

_LOGGER = logging.getLogger(__name__)


class Private(Protocol):
    """Something that only one process at a time can have open."""

    async def open(self) -> None:
        """Begin to listen."""

    async def close(self) -> None:
        """Stop, and free the place for another process."""


class HandOver:
    """Give a running relay to its successor. Lives in one loop.

    Owns no part; `on_left` is called once nothing new comes to this process any more.
    """

    def __init__(
        self,
        *,
        poller: Poller,
        lock: int,
        doors: Sequence[Acceptor],
        datagrams: Datagrams,
        forwards: Forwards,
        private: Sequence[Private],
        front: FrontDoor,
        visitors: Visitors,
        sessions: Sessions,
        answers: Answers,
        registry: Registry,
        on_left: Callable[[], None],
    ) -> None:
        self._poller = poller
        self._lock = lock
        self._doors = doors
        self._datagrams = datagrams
        self._forwards = forwards
        self._private = private
        self._front = front
        self._visitors = visitors
        self._sessions = sessions
        self._answers = answers
        self._registry = registry
        self._on_left = on_left
        self._tasks = Tasks()
        self._link: Link | None = None
        self._changed = asyncio.Event()
        self._is_ready = False
        self.left = False

    def begin(self, sock: socket.socket) -> None:
        """Talk to a process that wants to take over; one at a time."""
        if self.left or (self._link is not None and not self._link.closed):
            sock.close()
            return
        self._changed.clear()
        self._is_ready = False
        self._link = Link(
            sock, self._poller, on_message=self._on_message, on_end=self._changed.set
        )

    async def close(self) -> None:
        """Leave the successor alone with what it has."""
        if self._link is not None:
            self._link.close()
        await self._tasks.close()

    def _on_message(self, message: Message, passed: socket.socket | None) -> None:
        if passed is not None:
            passed.close()
        link = self._link
        if link is None:
            return
        match message["kind"]:
            case "hello" if message["version"] == VERSION and not len(self._tasks):
                self._tasks.start(self._hand_over(link), "hand over")
            case "ready":
                self._is_ready = True
                self._changed.set()
            case "cut":
                self._sessions.cut(message["hostname"])
            case _:
                link.close()

    async def _hand_over(self, link: Link) -> None:
        """Give everything away; take it back if the successor does not come up."""
        _LOGGER.info("Another process takes over")
        await self._registry.freeze()
        for one in self._private:
            await one.close()
        self._give(link)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_S):
                await self._changed.wait()
        if self._is_ready:
            self._leave(link)
            return
        _LOGGER.warning("The other process did not come up; this one goes on")
        link.close()
        for one in self._private:
            await one.open()
        self._registry.thaw()

    def _give(self, link: Link) -> None:
        link.send({"kind": "lock"}, self._lock)
        for door in self._doors:
            for listener in door.listeners:
                link.send({"kind": "listener"}, listener.fileno())
        for sock in (*self._datagrams.socks, *self._forwards.socks()):
            link.send({"kind": "listener"}, sock.fileno())
        for home_id, presence in self._sessions.presences.items():
            link.send(
                {
                    "kind": "home",
                    "id": home_id,
                    "generation": presence.generation,
                    "hostnames": [
                        name
                        for name, route in presence.routes.items()
                        if route.forward is None
                    ],
                    "forwards": [
                        name
                        for name, route in presence.routes.items()
                        if route.forward is not None
                    ],
                }
            )
        self._give_answers(link)
        link.send({"kind": "will"})

    def _give_answers(self, link: Link) -> None:
        for hostname, token, one in self._answers.all():
            link.send(
                {
                    "kind": "answer",
                    "home": one.home_id,
                    "hostname": hostname,
                    "token": token,
                    "key_authorization": one.key_authorization,
                    "expires": one.expires,
                }
            )

    def _leave(self, link: Link) -> None:
        """Let nobody in any more, and pass on who has no channel yet."""
        self.left = True
        for door in self._doors:
            door.close()
        self._forwards.close()
        self._datagrams.close()
        forward = functools.partial(_forward, link)
        self._visitors.move_to(forward)
        self._front.move_to(lambda sock: link.send({"kind": "arrival"}, sock))
        self._give_answers(link)  # some may have come meanwhile
        self._sessions.say_goodbye()
        self._on_left()


def _forward(link: Link, sock: socket.socket, flight: bytes, forward: str) -> None:
    text = base64.b64encode(flight).decode("ascii")
    link.send({"kind": "visitor", "flight": text, "forward": forward}, sock)


class TakeOver:
    """Be a relay's successor. Lives in one loop; owns the link."""

    def __init__(
        self,
        inheritance: Inheritance,
        *,
        poller: Poller,
        front: FrontDoor,
        visitors: Visitors,
        forwards: Forwards,
        sessions: Sessions,
        answers: Answers,
        registry: Registry,
        inside: ConnectionLimiter,
        limits: Limits,
        counters: Counters,
    ) -> None:
        """Take over what the old process knew of homes and answers."""
        self._front = front
        self._visitors = visitors
        self._forwards = forwards
        self._answers = answers
        self._inside = inside
        self._limits = limits
        self._counters = counters
        for message in inheritance.homes:
            home = registry.home(message["id"])
            if home is not None:
                presence = sessions.adopt(
                    home, message["generation"], message["hostnames"]
                )
                forwards.adopt(presence, message["forwards"], inheritance.listeners)
        self._registry = registry
        for message in inheritance.answers:
            self._show(message)
        self._link = Link(
            inheritance.sock,
            poller,
            on_message=self._on_message,
            on_end=lambda: _LOGGER.info("The process before this one has ended"),
        )
        sessions.on_withdrawn = self._cut

    def ready(self) -> None:
        """Tell the old process to let nobody in any more."""
        self._link.send({"kind": "ready"})

    def close(self) -> None:
        """End the link; who was passed on stays."""
        self._link.close()

    def _cut(self, hostname: str) -> None:
        if not self._link.closed:
            self._link.send({"kind": "cut", "hostname": hostname})

    def _on_message(self, message: Message, passed: socket.socket | None) -> None:
        match message["kind"]:
            case "answer":
                self._show(message)
            case "arrival" if passed is not None:
                self._admit(passed, None)
            case "visitor" if passed is not None:
                self._admit(passed, message["flight"], message["forward"])
            case _:
                self._link.close()

    def _show(self, message: Message) -> None:
        home = self._registry.home(message["home"])
        if home is None or not home.covers(message["hostname"]):
            return
        self._answers.put(
            home.id,
            message["hostname"],
            message["token"],
            message["key_authorization"],
            expires=message["expires"],
        )

    def _admit(
        self, sock: socket.socket, flight: bytes | None, forward: str = ""
    ) -> None:
        """Let in who was let in before, counted by this process from here on."""
        try:
            peer = sock.getpeername()[:2]
        except OSError:  # gone meanwhile
            sock.close()
            return
        sock.setblocking(False)  # noqa: FBT003  the socket module's own name
        if flight is None:
            self._front.admit(sock, peer)
            return
        why = self._inside.enter(peer[0])
        if why:
            self._counters.refuse(why, address=peer[0])
            sock.close()
            return
        if forward:
            self._forwards.admit(forward, sock, peer)
            return
        leave = functools.partial(self._inside.leave, peer[0])
        hello = read_hello(flight, max_bytes=self._limits.hello_max_bytes)
        if isinstance(hello, Hello):
            self._visitors.admit(sock, peer, hello, flight, leave)
        else:
            sock.close()
            leave()
