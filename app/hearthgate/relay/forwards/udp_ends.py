"""The two ends of a UDP forward at the relay: a public port, and the way to its home.

    Port ── flows by visitor ──▶ PortFlow ◀── flows by number ── Link

Holds them together; what is sent where is datagrams.py. The owner of a port is whoever
reads and closes it.
"""

from collections.abc import Callable
import socket
from typing import TYPE_CHECKING, Protocol

from hearthgate.relay.forwards.reply_budgets import ReplyBudget
from hearthgate.relay.forwards.udp_flows import Flow, Key
from hearthgate.relay.homes.sessions import Live, Presence, Session
from hearthgate.wire.datagrams import Opener, Sealer, datagram_keys, session_tag
from hearthgate.wire.messages import Forward

if TYPE_CHECKING:
    from hearthgate.shared.net.udp import Address

Stream = Callable[[bytes], None]


class PortOwner(Protocol):
    """Who reads ports and closes them."""

    def arrange(self, home_id: str) -> None:
        """Read a home's ports, or let what comes wait for a way to the home."""

    def close_port(self, port: "Port") -> None:
        """Close a port and end its flows."""

    def end_flow(self, port: "Port", flow: "PortFlow") -> None:
        """Forget a flow, and have the home forget it."""


class PortFlow(Flow):
    """A flow of a public port."""

    __slots__ = ("budget", "link", "port")

    def __init__(self, port: "Port", key: Key, now: float, budget: ReplyBudget) -> None:
        super().__init__(key, now)
        self.port = port
        self.budget = budget  # of the visitor's address, shared with its other flows
        self.link: Link | None = None

    def close(self) -> None:
        """End it, and tell the home. Twice does no harm."""
        self.port.end_flow(self)


class Port:
    """A public UDP port of one home. Not read unless there is a way to the home.

    What comes meanwhile waits in the kernel's buffer, for a moment: after a restart of
    the relay the home is back in less.
    """

    def __init__(
        self,
        owner: PortOwner,
        forward: Forward,
        presence: Presence,
        socks: list[socket.socket],
    ) -> None:
        self._owner = owner
        self.forward = forward
        self.presence = presence
        self.socks = socks
        self.flows: dict[Key, PortFlow] = {}
        self.is_open = False
        self.is_read = False
        self.waits_since: float | None = None

    @property
    def listeners(self) -> tuple[socket.socket, ...]:
        """The sockets, which stay this port's."""
        return tuple(self.socks)

    def open(self) -> None:
        """Begin to listen."""
        self.is_open = True
        self._owner.arrange(self.presence.home.id)

    def close(self) -> None:
        """Close the sockets and end the flows. Twice does no harm."""
        self._owner.close_port(self)

    def end_flow(self, flow: PortFlow) -> None:
        """End a flow. Twice does no harm."""
        self._owner.end_flow(self, flow)

    @property
    def live(self) -> "set[Live]":
        """What the home's route says is live, so that it is cut and counted there."""
        route = self.presence.routes.get(str(self.forward))
        return route.live if route is not None else set()


class Link:
    """The way to one home in one session: keys, address, flows."""

    def __init__(self, session: Session) -> None:
        to_relay, to_home = datagram_keys(session.key)
        self.session = session
        self.sealer = Sealer(to_home, session_tag(session.id))
        self.opener = Opener(to_relay)
        self.flows: dict[int, tuple[PortFlow, socket.socket]] = {}
        self.next_flow = 1
        self.sock: socket.socket | None = None  # ours, at which the home reaches us
        self.address: Address | None = None
        self.heard = float("-inf")  # when the home was last heard by UDP
        self.stream: Stream | None = None

    @property
    def leads(self) -> bool:
        """Whether the home has shown a way to it, in this session."""
        return self.address is not None or self.stream is not None

    def join(self, flow: PortFlow, sock: socket.socket) -> None:
        """Give a flow an id of this session."""
        flow.link = self
        flow.id = self.next_flow
        flow.accepted = False
        self.next_flow = self.next_flow % 0xFFFFFFFF + 1
        self.flows[flow.id] = (flow, sock)
