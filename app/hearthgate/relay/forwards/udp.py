"""Carry UDP forwards: visitors' datagrams on public ports, sealed ones to the homes.

    visitor ──▶ public port ──flow──▶ Link.send ──sealed UDP──▶ home
                                          └─ stream, if UDP to the home is blocked
    visitor ◀── flow by id ◀── Link ◀──authentic, new── home

The home speaks first: the relay learns its address from an authentic datagram that is
newer than all before, and sends nowhere else. To a visitor who may have lied about its
address little more goes back than a few times what it sent (reply_budgets.py). Flows
time out: when the visitor was silent for long, whatever its service goes on sending
(RFC 4787 §4.3 warns of the other way). Knows no content.
"""

from collections.abc import Callable, Sequence
import functools
import logging
import socket

from hearthgate.relay.accept.connection_limiter import address_key
from hearthgate.relay.accept.listeners import take
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.counting.traffic import Traffic
from hearthgate.relay.forwards.reply_budgets import ReplyBudgets
from hearthgate.relay.forwards.tcp import bind_all
from hearthgate.relay.forwards.udp_ends import Link, Port, PortFlow, Stream
from hearthgate.relay.forwards.udp_flows import Key, Table
from hearthgate.relay.homes.sessions import Presence, Session
from hearthgate.relay.limits import Limits
from hearthgate.shared.net.poller import READABLE, Poller
from hearthgate.shared.net.udp import Address, receive_all, send_all, udp_socket
from hearthgate.wire.datagrams import (
    FLOW_BYTES,
    Kind,
    read_flow,
    session_tag,
    tag_of,
    write_flow,
    write_open,
)
from hearthgate.wire.messages import Forward

_LOGGER = logging.getLogger(__name__)

# Causes of refusals.
_OF_ADDRESS = "more flows than allowed from one address"
_OF_HOME = "more flows than allowed"
_MADE_ROOM = "an idle flow that made room for another"


class Datagrams:
    """All UDP forwards of a relay. Lives in one loop."""

    def __init__(
        self,
        *,
        poller: Poller,
        counters: Counters,
        limits: Limits,
        hosts: tuple[str, ...],
        port: int,
        clock: Callable[[], float],
        traffic: Traffic,
        inherited: list[socket.socket] | None = None,
    ) -> None:
        """Bind the port that homes send to. Raises PortTakenError.

        A socket that is bound already is taken out of `inherited`.
        """
        self._poller = poller
        self._counters = counters
        self._limits = limits
        self._hosts = hosts
        self._clock = clock
        self._traffic = traffic
        self._budgets = ReplyBudgets(limits, counters, clock=clock)
        self._links: dict[bytes, Link] = {}  # by the tag of the session
        self._by_home: dict[str, Link] = {}
        self._ports: set[Port] = set()
        self._of_address: dict[str, Table[PortFlow]] = {}
        self._of_home: dict[str, Table[PortFlow]] = {}
        bind = functools.partial(_bind, port=port, inherited=inherited or [])
        self._socks = bind_all(hosts, bind)

    @property
    def socks(self) -> tuple[socket.socket, ...]:
        """The sockets that homes send to, which stay ours."""
        return tuple(self._socks)

    def open(self) -> None:
        """Begin to listen to homes."""
        for sock in self._socks:
            handler = functools.partial(self._from_home, sock)
            self._poller.add(sock.fileno(), READABLE, handler)

    def close(self) -> None:
        """Close every socket."""
        for port in list(self._ports):
            self.close_port(port)
        for sock in self._socks:
            self._poller.remove(sock.fileno())
            sock.close()
        self._socks = []

    # --- homes ------------------------------------------------------------------------

    def attach(self, session: Session) -> None:
        """Take that a session has begun; older ones of the home are over."""
        self.detach(session.presence.home.id)
        link = Link(session)
        self._links[session_tag(session.id)] = link
        self._by_home[session.presence.home.id] = link
        self.arrange(session.presence.home.id)

    def detach(self, home_id: str, session: Session | None = None) -> None:
        """Forget a home's session; with `session` only if it is this one."""
        link = self._by_home.get(home_id)
        if link is None or (session is not None and link.session is not session):
            return
        del self._by_home[home_id]
        self._links.pop(session_tag(link.session.id), None)
        self.arrange(home_id)

    def set_stream(self, home_id: str, stream: Stream) -> bool:
        """Use a stream while UDP does not come through; False: there is no session."""
        link = self._by_home.get(home_id)
        if link is not None:
            link.stream = stream
            self.arrange(home_id)
        return link is not None

    def end_stream(self, home_id: str, stream: Stream) -> None:
        """Use a stream no more; a newer one stays."""
        link = self._by_home.get(home_id)
        if link is not None and link.stream is stream:
            link.stream = None
            self.arrange(home_id)

    def from_stream(self, home_id: str, message: bytes) -> None:
        """Take a message that came by the stream."""
        link = self._by_home.get(home_id)
        if link is not None:
            self._take(link, [message])

    def _from_home(self, sock: socket.socket, _events: int) -> None:
        batches: dict[Link, list[bytes]] = {}
        for datagram, address in receive_all(sock):
            tag = tag_of(datagram)
            link = self._links.get(tag) if tag else None
            if link is None:
                self._counters.refuse("a datagram of no session", address=address[0])
                continue
            replayed = link.opener.replayed
            message = link.opener.open(datagram)
            if message is None:
                again = link.opener.replayed > replayed
                why = "a replayed datagram" if again else "a forged datagram"
                self._counters.refuse(why, address=address[0])
                continue
            if link.opener.is_newest(datagram):
                is_first = link.address is None
                link.sock, link.address = sock, address
                link.heard = self._clock()
                if is_first:
                    self.arrange(link.session.presence.home.id)
            batches.setdefault(link, []).append(message)
        for link, messages in batches.items():
            self._take(link, messages)

    def _take(self, link: Link, messages: list[bytes]) -> None:
        """Act on what an authentic home has sent."""
        out: dict[tuple[socket.socket, Address], list[bytes]] = {}
        now = self._clock()
        for message in messages:
            kind = message[0] if message else 0
            if kind == Kind.HELLO:
                self._send(link, [bytes([Kind.ANSWER])], now)
                continue
            flow_id = read_flow(message)
            found = link.flows.get(flow_id) if flow_id is not None else None
            if found is None:
                if kind == Kind.DATA and flow_id is not None:
                    self._send(link, [write_flow(Kind.CLOSE, flow_id)], now)
                continue
            flow, sock = found
            if kind == Kind.CLOSE:
                flow.accepted = False
            elif kind in (Kind.ACCEPT, Kind.DATA):
                flow.accepted = True
            if kind == Kind.DATA and self._may_answer(flow, len(message) - FLOW_BYTES):
                payload = message[FLOW_BYTES:]
                out.setdefault((sock, flow.visitor), []).append(payload)
        for (sock, visitor), payloads in out.items():
            send_all(sock, payloads, visitor)

    def _may_answer(self, flow: PortFlow, size: int) -> bool:
        """Bound what goes to somebody whose address nobody has proven."""
        if not flow.is_proven and not flow.spend(size):
            home = flow.port.presence.home
            if not self._budgets.spend(
                flow.budget, size, home_id=home.id, home=home.name
            ):
                return False
        flow.to_visitor += size
        flow.answered = True
        return True

    def _send(self, link: Link, messages: list[bytes], now: float) -> None:
        """Send messages to a home by the way that works."""
        alive = now - link.heard < self._limits.datagram_path_s
        if alive and link.sock is not None and link.address is not None:
            seal = link.sealer.seal
            send_all(link.sock, [seal(one) for one in messages], link.address)
        elif link.stream is not None:
            for message in messages:
                link.stream(message)
        else:
            name = link.session.presence.home.name
            self._counters.refuse("a datagram without a way to its home", home=name)

    # --- visitors ---------------------------------------------------------------------

    def forward(
        self, forward: Forward, presence: Presence, inherited: list[socket.socket]
    ) -> Port:
        """Bind a public port, or take its sockets over. Raises PortTakenError."""
        bind = functools.partial(_bind, port=forward.port, inherited=inherited)
        port = Port(self, forward, presence, bind_all(self._hosts, bind))
        self._ports.add(port)
        return port

    def arrange(self, home_id: str) -> None:
        """Read a home's ports, or let what comes wait for a way to the home."""
        for port in self._ports:
            if port.is_open and port.presence.home.id == home_id:
                self._read_or_wait(port)

    def sweep_waiting(self) -> None:
        """Drop what has waited for too long. To be called four times a second."""
        for port in self._ports:
            if port.waits_since is not None and not port.is_read:
                self._read_or_wait(port)

    def _read_or_wait(self, port: Port) -> None:
        link = self._by_home.get(port.presence.home.id)
        now = self._clock()
        if link is not None and link.leads:
            port.waits_since = None
        elif port.waits_since is None:
            port.waits_since = now
        since = port.waits_since
        reads = since is None or now - since >= self._limits.datagram_wait_s
        if reads is port.is_read:
            return
        port.is_read = reads
        for sock in port.socks:
            if reads:
                handler = functools.partial(self._from_visitors, port, sock)
                self._poller.add(sock.fileno(), READABLE, handler)
            else:
                self._poller.remove(sock.fileno())

    def close_port(self, port: Port) -> None:
        """Close a port and end its flows."""
        if port not in self._ports:
            return
        self._ports.discard(port)
        for flow in list(port.flows.values()):
            flow.close()
        for sock in port.socks:
            self._poller.remove(sock.fileno())
            sock.close()
        port.socks = []

    def _from_visitors(self, port: Port, sock: socket.socket, _events: int) -> None:
        now = self._clock()
        link = self._by_home.get(port.presence.home.id)
        messages: list[bytes] = []
        for payload, address in receive_all(sock):
            if link is None:
                self._counters.refuse(
                    "a datagram without a way to its home",
                    home=port.presence.home.name,
                )
                continue
            key = (sock.fileno(), address)
            flow = port.flows.get(key) or self._begin(port, key, now)
            if flow is None:
                continue
            if flow.link is not link:
                link.join(flow, sock)
            flow.last = now
            flow.to_home += len(payload)
            flow.prove(self._limits.unproven_reply_max)
            if not flow.is_proven:
                self._budgets.heard(flow.budget, len(payload))
            if flow.accepted:
                messages.append(write_flow(Kind.DATA, flow.id, payload))
            else:
                number = port.forward.port
                visitor = (address[0], address[1])
                messages.append(write_open(flow.id, number, visitor, payload))
        if messages and link is not None:
            self._send(link, messages, now)

    def _begin(self, port: Port, key: Key, now: float) -> PortFlow | None:
        """Begin a flow; if there is no room, the oldest idle one makes it."""
        address = key[1][0]
        limits = self._limits
        home = port.presence.home
        of_address = self._of_address.setdefault(address_key(address), Table())
        of_home = self._of_home.setdefault(home.id, Table())
        for table, most, why in (
            (of_address, limits.flows_per_address_max, _OF_ADDRESS),
            (of_home, limits.flows_per_home_max, _OF_HOME),
        ):
            if len(table) < most:
                continue
            idle = table.most_idle(now - limits.flow_spared_s)
            if idle is None:
                self._counters.refuse(why, home=home.name, address=address)
                return None
            idle.close()
            self._counters.refuse(_MADE_ROOM, home=home.name)
        # Making room may have emptied a table, which is forgotten then.
        self._of_address.setdefault(address_key(address), of_address)
        self._of_home.setdefault(home.id, of_home)
        budget = self._budgets.of(address)
        flow = port.flows[key] = PortFlow(port, key, now, budget)
        of_address.add(flow)
        of_home.add(flow)
        port.live.add(flow)
        self._traffic.began(str(port.forward))
        return flow

    def end_flow(self, port: Port, flow: PortFlow) -> None:
        """Forget a flow, and have the home forget it."""
        if port.flows.pop(flow.key, None) is None:
            return
        port.live.discard(flow)
        who, home_id = address_key(flow.visitor[0]), port.presence.home.id
        for tables, name in ((self._of_address, who), (self._of_home, home_id)):
            table = tables[name]
            table.remove(flow)
            if not len(table):
                del tables[name]
        self._traffic.ended(str(port.forward), flow.to_home, flow.to_visitor)
        link = flow.link
        if link is not None and link.flows.pop(flow.id, None) is not None:
            closed = write_flow(Kind.CLOSE, flow.id)
            if link.heard > float("-inf") or link.stream is not None:
                self._send(link, [closed], self._clock())

    def sweep(self) -> None:
        """End flows that were silent for too long. To be called about every 10 s."""
        self._budgets.sweep()
        now = self._clock()
        limits = self._limits
        for port in self._ports:
            for flow in list(port.flows.values()):
                idle_s = limits.unproven_flow_idle_s
                if flow.is_proven:
                    idle_s = limits.flow_idle_s
                if now - flow.last >= idle_s:
                    flow.close()

    @property
    def flows(self) -> int:
        """How many flows there are."""
        return sum(len(port.flows) for port in self._ports)


def _bind(
    host: str, *, port: int, inherited: Sequence[socket.socket] = ()
) -> socket.socket:
    if isinstance(inherited, list):
        found = take(inherited, host, port, socket.SOCK_DGRAM)
        if found is not None:
            return found
    sock = udp_socket(host)
    try:
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock
