"""What each home may cost its relay in a minute, over all its sessions.

Bounds what costs and not only what is counted: a message is nothing, a thousand names
in it are; a session is nothing, the handshakes of fifty are. A home that spends more is
sent away, and comes back to a budget that has filled up by the time that has passed.
"""

from collections.abc import Callable

from hearthgate.relay.homes.rate_limit import HOUR_S, RateLimit
from hearthgate.relay.limits import Limits


class Budgets:
    """Budgets by home. Lives in one loop."""

    def __init__(self, limits: Limits, *, clock: Callable[[], float]) -> None:
        self.connections = RateLimit(limits.control_connections_per_minute, clock=clock)
        self.messages = RateLimit(limits.control_messages_per_minute, clock=clock)
        self.frames = RateLimit(limits.control_frames_per_minute, clock=clock)
        self.size = RateLimit(limits.control_bytes_per_minute, clock=clock)
        self.names = RateLimit(limits.control_names_per_minute, clock=clock)
        self.ports = RateLimit(limits.ports_opened_per_minute, clock=clock)
        self.moves = RateLimit(limits.moves_per_hour, clock=clock, period_s=HOUR_S)

    def charge_frame(self, home_id: str) -> str:
        """Charge a frame; say what it is too much of, empty if it is not."""
        return "" if self.frames.allow(home_id) else "too many control frames"

    def charge_bytes(self, home_id: str, size: int) -> str:
        """Charge bytes of frames, likewise."""
        return "" if self.size.allow(home_id, size) else "too much for a minute"

    def charge_message(self, home_id: str) -> str:
        """Charge a message, likewise."""
        return "" if self.messages.allow(home_id) else "too many control messages"

    def charge_names(self, home_id: str, count: int) -> str:
        """Charge hostnames or forwards in a message, likewise."""
        return "" if self.names.allow(home_id, count) else "too many names for a minute"
