"""What this relay knows of each home right now: its session, channels and hostnames.

    Presence   one per home that has connected since the start
      ├─ Session      the valid control connection, highest generation; or none
      │    ├─ parked  channels that wait for a visitor, the freshest on top
      │    └─ free    sealed ones that have served a visitor and wait for another
      ├─ routes       hostname, or a forward as tcp/25565 ──▶ what is live on it
      └─ waiting      visitors for whom no channel is there yet

A home that connects again gets a new session at once; the old one's parked channels go,
its live visitors stay. Hostnames stay published for a grace period after a session is
lost, so that visitors wait instead of failing. Moves no visitor's bytes.
"""

from collections import deque
from collections.abc import Callable, Iterable
import secrets
import socket
import textwrap
from typing import TYPE_CHECKING, Protocol

from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.homes.registry import Home
from hearthgate.relay.limits import Limits
from hearthgate.shared.net.poller import Poller
from hearthgate.wire.alerts import Alert
from hearthgate.wire.channel import Preamble, preamble_is_authentic
from hearthgate.wire.constants import CHANNEL_KEY_BYTES, SESSION_ID_BYTES
from hearthgate.wire.messages import (
    Feature,
    Forward,
    Goodbye,
    GoodbyeReason,
    Granted,
    Message,
    Need,
)
from hearthgate.wire.replay import ReplayWindow

if TYPE_CHECKING:
    from hearthgate.relay.visitors.sealed_line import SealedLine

_DOMAINS_SHOWN = 60  # more than fit, so that the sentence says that there are more
_DOMAINS_SHOWN_MAX = 160  # characters; a refusal has at most 500 on the wire


class Live(Protocol):
    """Something of a visitor that can be cut."""

    def close(self) -> None:
        """End it now."""


class Waiting(Protocol):
    """A visitor who waits for a channel."""

    hostname: str  # the name that the visitor asked for
    since: float  # when it came, by the relay's clock

    def choose(self, presence: "Presence") -> "ParkedChannel | SealedLine | None":
        """Take a channel of the home that this visitor can use."""

    def proceed(self, channel: "ParkedChannel | SealedLine") -> None:
        """Take a channel, which is the visitor's from here on."""

    def refuse(self, alert: Alert) -> None:
        """Give up, and say so as far as TLS lets us."""


class Route:
    """A published hostname, or a forward, and what is live on it."""

    __slots__ = ("hostname", "live", "presence")

    forward: Forward | None = None

    def __init__(self, hostname: str, presence: "Presence") -> None:
        self.hostname = hostname
        self.presence = presence
        self.live: set[Live] = set()

    def cut(self) -> None:
        """End everything that is live on this hostname."""
        for one in list(self.live):
            one.close()

    def withdraw(self) -> None:
        """End it for good: it is in no table any more."""
        self.cut()


class ParkedChannel:
    """A channel that waits for a visitor."""

    __slots__ = ("_counters", "fd", "poller", "serial", "session", "since", "sock")

    def __init__(
        self,
        sock: socket.socket,
        serial: int,
        session: "Session",
        *,
        poller: Poller,
        counters: Counters,
        since: float,
    ) -> None:
        self._counters = counters
        self.sock = sock
        self.fd = sock.fileno()
        self.serial = serial
        self.session = session
        self.poller = poller
        self.since = since

    def on_event(self, _events: int) -> None:
        """Give up a channel that says anything: it ended, or its home misbehaves."""
        try:
            if self.sock.recv(1, socket.MSG_PEEK):
                home = self.session.presence.home.name
                self._counters.refuse("a parked channel that sent bytes", home=home)
        except BlockingIOError:
            return
        except OSError:
            pass  # it was reset, which ends it just as well
        self.session.forget(self)
        self.close()

    def close(self) -> None:
        """Close the socket; the session must have forgotten it."""
        self.poller.forget(self.fd)
        self.sock.close()


class Session:
    """One control connection of a home, from welcome to its end."""

    def __init__(
        self,
        presence: "Presence",
        generation: int,
        send: Callable[[Message], None],
        leave: Callable[[], None],
        channels_max: int,
    ) -> None:
        self.id = secrets.token_bytes(SESSION_ID_BYTES)
        self.key = secrets.token_bytes(CHANNEL_KEY_BYTES)
        self.presence = presence
        self.generation = generation
        self.send = send  # queues a message; never blocks
        self._leave = leave  # closes the control connection after a goodbye
        self.parked: list[ParkedChannel] = []
        self.free: list[SealedLine] = []
        self.ended = False
        self.has_published = False
        self.features: frozenset[str] = frozenset()  # what the agent knows
        self.seals = False  # web visitors go over sealed channels too
        self.since = 0.0  # Unix time; this and the next two are for the owner to see
        self.software = ""
        self.remote = ""  # where it came from
        self.answered_at = 0.0  # when a channel last brought its first byte
        self._channels_max = channels_max
        self._serials = ReplayWindow()

    def accepts(self, preamble: Preamble) -> str:
        """Say why a preamble is refused; empty if it is not. A serial counts once."""
        if not preamble_is_authentic(preamble, self.key):
            return "a channel with a forged ticket"
        if not self._serials.accept(preamble.serial):
            return "a channel with a used ticket"
        if len(self.parked) >= self._channels_max + len(self.presence.waiting):
            return "more parked channels than allowed"
        return ""

    def forget(self, channel: ParkedChannel) -> None:
        """Take a channel out of the pool without closing it."""
        if channel in self.parked:
            self.parked.remove(channel)

    def set_free(self, line: "SealedLine") -> None:
        """Keep a sealed channel for the next visitor, or close it."""
        if self.ended or len(self.free) >= self._channels_max:
            line.close()
            return
        self.free.append(line)
        if self.presence.waiting:
            self.presence.serve()

    def forget_sealed(self, line: "SealedLine") -> None:
        """Take a closed channel out of the free ones."""
        if line in self.free:
            self.free.remove(line)

    def close_unused(self, since: float) -> None:
        """Close free channels that were not heard since a moment."""
        for line in [one for one in self.free if one.since < since]:
            line.close()

    def discard_stale(self, parked_before: float) -> int:
        """Close channels parked before a moment: their path is dead. Return how many.

        The agent's ends of them may never hear of it: tell it, by `ask_for_channels`.
        """
        stale = [one for one in self.parked if one.since <= parked_before]
        self.parked = [one for one in self.parked if one.since > parked_before]
        for channel in stale:
            channel.close()
        self.close_unused(parked_before)
        return len(stale)

    def end(self, reason: GoodbyeReason | None) -> None:
        """Close the parked channels; with a reason, tell the agent. Twice is fine."""
        if self.ended:
            return
        self.ended = True
        for channel in self.parked:
            channel.close()
        self.parked.clear()
        for line in list(self.free):
            line.close()
        if reason is not None:
            self.send(Goodbye(reason))
            self._leave()


class Presence:
    """A home as this relay sees it now."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.session: Session | None = None
        self.generation = 0
        self.routes: dict[str, Route] = {}
        self.waiting: deque[Waiting] = deque()
        self.lost_at: float | None = None  # when the last session ended

    def take_channel(self) -> ParkedChannel | None:
        """Return the freshest parked channel, which is the caller's from here on."""
        session = self.session
        return session.parked.pop() if session and session.parked else None

    def take_sealable(self) -> "ParkedChannel | SealedLine | None":
        """Return the free sealed channel that was used last; else a parked one."""
        session = self.session
        if session and session.free:
            return session.free.pop()
        return self.take_channel()

    def serve(self) -> None:
        """Give parked channels to the visitors who wait, the first come first."""
        stay: list[Waiting] = []
        while self.waiting and self._has_channels:
            visitor = self.waiting.popleft()
            known = visitor.hostname in self.routes
            channel = visitor.choose(self) if known else None
            if channel is None:
                stay.append(visitor)
            else:
                visitor.proceed(channel)
        self.waiting.extendleft(reversed(stay))

    @property
    def _has_channels(self) -> bool:
        session = self.session
        return session is not None and bool(session.parked or session.free)

    def ask_for_channels(self, *, stale_before: int = 0) -> None:
        """Tell the agent how many visitors wait."""
        if self.session is not None and (self.waiting or stale_before):
            self.session.send(Need(len(self.waiting), stale_before))


class Sessions:
    """All presences, and the two tables that the front door looks into."""

    def __init__(
        self, poller: Poller, limits: Limits, *, clock: Callable[[], float]
    ) -> None:
        self.routes: dict[str, Route] = {}  # hostname
        self.by_id: dict[bytes, Session] = {}
        self.presences: dict[str, Presence] = {}  # home id
        self._poller = poller
        self._limits = limits
        self._clock = clock
        self._started = clock()
        self.stopping = False  # every session was sent away; none may begin
        # Told of each name that is withdrawn: an older process may have visitors of it.
        self.on_withdrawn: Callable[[str], None] = _nobody

    def adopt(
        self, home: Home, generation: int, hostnames: Iterable[str]
    ) -> "Presence":
        """Expect a home back, with what another process knew of it."""
        presence = self.presences[home.id] = Presence(home)
        presence.generation = generation
        presence.lost_at = self._clock()
        for name in hostnames:
            if home.covers(name) and name not in self.routes:
                self.routes[name] = presence.routes[name] = Route(name, presence)
        return presence

    def begin(
        self, home: Home, send: Callable[[Message], None], leave: Callable[[], None]
    ) -> Session:
        """Begin a session, which replaces the home's old one at once."""
        presence = self.presences.get(home.id)
        if presence is None:
            presence = self.presences[home.id] = Presence(home)
        presence.home = home
        old = presence.session
        presence.generation += 1
        session = Session(
            presence,
            presence.generation,
            send,
            leave,
            self._limits.channels_per_home_max,
        )
        presence.session = session
        presence.lost_at = None
        self.by_id[session.id] = session
        if old is not None:
            self._drop(old, GoodbyeReason.REPLACED)
        return session

    def finish(self, session: Session, reason: GoodbyeReason | None = None) -> None:
        """End a session. Its hostnames stay for the grace period unless replaced."""
        self._drop(session, reason)
        if session.presence.session is session:
            session.presence.session = None
            session.presence.lost_at = self._clock()

    def _drop(self, session: Session, reason: GoodbyeReason | None) -> None:
        self.by_id.pop(session.id, None)
        session.end(reason)

    def revoke(self, home_id: str) -> None:
        """Cut everything of a home at once."""
        presence = self.presences.pop(home_id, None)
        if presence is None:
            return
        if presence.session is not None:
            self.finish(presence.session, GoodbyeReason.REVOKED)
        self._send_away(presence)

    def publish(self, session: Session, hostnames: Iterable[str]) -> dict[str, str]:
        """Make a home's set of hostnames this one; return the refused ones with why.

        What is no longer in the set is cut before this returns.
        """
        presence = session.presence
        if presence.session is not session:
            return dict.fromkeys(hostnames, "A newer session has taken over.")
        session.has_published = True
        wanted = list(dict.fromkeys(hostnames))
        granted = _shown(presence.home.domains)
        refused = {
            name: why
            for name in wanted
            if (why := self._refusal(presence, name, granted))
        }
        mine = [name for name in wanted if name not in refused]
        most = self._limits.hostnames_per_home_max
        refused |= dict.fromkeys(
            mine[most:],
            f"This relay lets a home publish {most} hostnames, and no more.",
        )
        allowed = dict.fromkeys(mine[:most])
        gone = [
            name
            for name, route in presence.routes.items()
            if name not in allowed and route.forward is None
        ]
        self._withdraw(presence, gone)
        for name in allowed:
            if name not in presence.routes:
                self.add(Route(name, presence))
        _refuse_unrouted(presence)
        presence.serve()
        presence.ask_for_channels()
        return refused

    def add(self, route: Route) -> None:
        """Let visitors in on a route."""
        route.presence.routes[route.hostname] = self.routes[route.hostname] = route

    def withdraw(self, presence: Presence, names: Iterable[str]) -> None:
        """Take routes of a home away and cut what is live on them."""
        self._withdraw(presence, names)
        _refuse_unrouted(presence)

    def regrant(self, home: Home) -> None:
        """Take that a home's grant has changed: cut what it does not cover any more."""
        presence = self.presences.get(home.id)
        if presence is None:
            return
        presence.home = home
        gone = [
            name
            for name, route in presence.routes.items()
            if not _is_granted(home, name, route.forward)
        ]
        self.withdraw(presence, gone)
        session = presence.session
        if session is None:
            return
        if Feature.FORWARDS in session.features:
            session.send(Granted(home.domains, home.ports.tcp, home.ports.udp))
        else:  # an older agent learns it from its next welcome
            self.finish(session, GoodbyeReason.STOPPING)

    def _refusal(self, presence: Presence, hostname: str, granted: str) -> str:
        if not presence.home.covers(hostname):
            return (
                f"This relay does not let your home use {hostname}. "
                f"It allows {granted} and names below."
            )
        route = self.routes.get(hostname)
        if route is not None and route.presence is not presence:
            return f"Another home on this relay holds {hostname}."
        return ""

    def _withdraw(self, presence: Presence, hostnames: Iterable[str]) -> None:
        for name in set(hostnames):
            route = presence.routes.pop(name)
            if self.routes.get(name) is route:
                del self.routes[name]
            route.withdraw()
            self.on_withdrawn(name)

    def cut(self, hostname: str) -> None:
        """End what is live on a hostname, here and in an older process."""
        route = self.routes.get(hostname)
        if route is not None:
            route.cut()
        self.on_withdrawn(hostname)

    def expected(self, home: Home | None) -> Presence | None:
        """Return the presence that is worth waiting for, for a name without a route.

        `home` is the one whose grant covers the name. It is worth it if that is about
        to come back: its session was lost, or has just begun, or this relay has only
        just started.
        """
        if home is None:
            return None
        now = self._clock()
        grace_s = self._limits.reconnect_grace_s
        presence = self.presences.get(home.id)
        if presence is None and now - self._started < grace_s:
            presence = self.presences[home.id] = Presence(home)
            presence.lost_at = now
        if presence is None:
            return None
        if presence.session is not None:
            return None if presence.session.has_published else presence
        lost_at = presence.lost_at
        recent = lost_at is not None and now - lost_at < grace_s
        return presence if recent else None

    def close_unused(self) -> None:
        """Close sealed channels that were free for too long."""
        since = self._clock() - self._limits.sealed_idle_s
        for session in self.by_id.values():
            session.close_unused(since)

    def sweep(self) -> None:
        """Withdraw what homes published that did not come back in time."""
        if self.stopping:
            return  # nobody comes back, and who is live may finish
        deadline = self._clock() - self._limits.reconnect_grace_s
        for presence in self.presences.values():
            lost_at = presence.lost_at
            if presence.session is None and lost_at is not None and lost_at < deadline:
                self._withdraw(presence, list(presence.routes))
                _refuse_unrouted(presence)

    def say_goodbye(self) -> None:
        """Tell every agent that the relay stops. Live visitors stay."""
        self.stopping = True
        for presence in self.presences.values():
            if presence.session is not None:
                self.finish(presence.session, GoodbyeReason.STOPPING)

    def close(self) -> None:
        """End everything."""
        self.say_goodbye()
        for presence in self.presences.values():
            self._send_away(presence)

    def _send_away(self, presence: Presence) -> None:
        self._withdraw(presence, list(presence.routes))
        _refuse_unrouted(presence)


def _nobody(_hostname: str) -> None:
    """Tell nobody."""


def _shown(domains: tuple[str, ...]) -> str:
    """Return the first domains of a grant, as a sentence has room for."""
    first = ", ".join(domains[:_DOMAINS_SHOWN])
    return textwrap.shorten(first, _DOMAINS_SHOWN_MAX, placeholder=" …")


def _is_granted(home: Home, name: str, forward: Forward | None) -> bool:
    if forward is None:
        return home.covers(name)
    return home.ports.covers(forward.protocol, forward.port)


def _refuse_unrouted(presence: Presence) -> None:
    """Send away who waits for a hostname that the home does not publish."""
    for visitor in [one for one in presence.waiting if _is_unrouted(presence, one)]:
        presence.waiting.remove(visitor)
        visitor.refuse(Alert.UNRECOGNIZED_NAME)


def _is_unrouted(presence: Presence, visitor: Waiting) -> bool:
    return visitor.hostname not in presence.routes
