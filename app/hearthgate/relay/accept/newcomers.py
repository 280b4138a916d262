"""Give those who have not proved themselves a share of their own, for each address.

    admit ──▶ line (unread) ──▶ newcomer: TLS, a request ──┬─▶ proved: a home's, below
                                                           ├─▶ gone
                                                           └─▶ put out: others wait

A home proves itself with its certificate, as soon as the TLS handshake is through. A
stranger costs as much as a home until then, and may take its time; so strangers never
use up what homes need, one address none of what others need, and whoever is slow goes
as soon as somebody waits for its place. Each home has a share, too: its oldest
connection goes if it opens too many. Knows no TLS and no messages.
"""

from collections import Counter
from collections.abc import Callable
import itertools
import socket
from typing import Protocol

from hearthgate.relay.accept.connection_limiter import ConnectionLimiter, address_key
from hearthgate.relay.accept.fair_queue import FairQueue
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.limits import Limits
from hearthgate.wire.proxy import Endpoint


class Connection(Protocol):
    """Something that can be put out."""

    def abort(self) -> None:
        """End it now; `left` is called soon after."""


Serve = Callable[[socket.socket, Endpoint], None]


class Newcomers:
    """Connections to the control endpoint, proved and not. Lives in one loop.

    Who is served says `begin`, `proved` if it is a home, and once `left`.
    """

    def __init__(
        self,
        serve: Serve,
        *,
        limits: Limits,
        counters: Counters,
        clock: Callable[[], float],
    ) -> None:
        self._limits = limits
        self._counters = counters
        self._clock = clock
        self._line = ConnectionLimiter(
            total_max=limits.control_waiting_max,
            per_address_max=limits.control_waiting_per_address_max,
        )
        self._queue = FairQueue(self._serve, has_room=self._has_room)
        self._serve_one = serve
        # Newcomers, the oldest first, with where they came from and when.
        self._new: dict[Connection, tuple[str, float]] = {}
        self._count: Counter[str] = Counter()  # of them, by address
        self._home_of: dict[Connection, str] = {}
        self._of_home: dict[str, dict[Connection, None]] = {}  # the oldest first

    def __len__(self) -> int:
        return self._line.total + len(self._new) + len(self._home_of)

    def admit(self, sock: socket.socket, peer: Endpoint) -> None:
        """Take over a connection of which nothing was read yet."""
        why = self._line.enter(peer[0])
        if why:
            self._counters.refuse(why, "to the control endpoint", address=peer[0])
            sock.close()
            return
        self._queue.enter(sock, peer)

    def _has_room(self, key: str) -> bool:
        limits = self._limits
        return (
            len(self._new) < limits.control_newcomers_max
            and self._count.get(key, 0) < limits.control_newcomers_per_address_max
        )

    def _serve(self, sock: socket.socket, peer: Endpoint) -> None:
        self._line.leave(peer[0])
        self._serve_one(sock, peer)

    def begin(self, one: Connection, address: str) -> None:
        """Count somebody who is served from now on."""
        key = address_key(address)
        self._new[one] = (key, self._clock())
        self._count[key] += 1

    def proved(self, one: Connection, home_id: str) -> bool:
        """Take that it is a home's connection; False if there are too many of those.

        Too many of the same home make room: its oldest is put out.
        """
        if len(self._home_of) >= self._limits.control_connections_max:
            return False
        self._forget_newcomer(one)
        self._home_of[one] = home_id
        held = self._of_home.setdefault(home_id, {})
        held[one] = None
        most = self._limits.control_connections_per_home_max
        for oldest in list(itertools.islice(held, max(0, len(held) - most))):
            self._forget_proved(oldest)
            oldest.abort()
        return True

    def left(self, one: Connection) -> None:
        """Forget somebody who is gone. Twice does no harm."""
        self._forget_newcomer(one)
        self._forget_proved(one)

    def _forget_newcomer(self, one: Connection) -> None:
        found = self._new.pop(one, None)
        if found is None:
            return
        key = found[0]
        self._count[key] -= 1
        if not self._count[key]:
            del self._count[key]
        self._queue.go_on()

    def _forget_proved(self, one: Connection) -> None:
        home_id = self._home_of.pop(one, None)
        if home_id is None:
            return
        held = self._of_home[home_id]
        held.pop(one, None)
        if not held:
            del self._of_home[home_id]

    def sweep(self) -> None:
        """Put out who is slow while others wait for the place. Four times a second."""
        waiting = set(self._queue.addresses)
        if not waiting:
            return
        limits = self._limits
        is_full = len(self._new) >= limits.control_newcomers_max
        deadline = self._clock() - limits.control_newcomer_patience_s
        for one, (key, since) in list(self._new.items()):
            if since > deadline:
                break
            if is_full or key in waiting:
                self._counters.refuse("nobody who proved to be a home in time")
                one.abort()

    def close(self) -> None:
        """Close whoever stands in line."""
        for peer in self._queue.close():
            self._line.leave(peer[0])
