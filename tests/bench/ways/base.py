"""What a way is, for the rest of the benchmark."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

__all__ = ["Doors", "Way", "WayName"]


class WayName(StrEnum):
    """The ways, as the command line and results.json name them."""

    DIRECT = "direct"
    HAPROXY_TCP = "haproxy-tcp"
    HEARTHGATE = "hearthgate"
    SSH_R = "ssh-r"
    SNITUN = "snitun"

    @property
    def label(self) -> str:
        return _TITLES[self]


_TITLES = {
    WayName.DIRECT: "Straight to the edge",
    WayName.HAPROXY_TCP: "HAProxy, TCP mode",
    WayName.HEARTHGATE: "Hearthgate",
    WayName.SSH_R: "ssh -R",
    WayName.SNITUN: "SniTun",
}


@dataclass(frozen=True, slots=True)
class Doors:
    """The loopback ports that visitors of a way connect to."""

    edge: int  # TLS, which ends at the edge
    forward: int | None = None  # the bare service; None: not a thing of this way


class Way(Protocol):
    """One way from a visitor to the scene's service.

    The constructor takes the scene and starts nothing. `stop` ends all that `start`
    started, also when `start` failed half-way, and may be called twice.
    """

    def start(self) -> Doors:
        """Start all processes; return where visitors connect to.

        Returns when the first visitor can be served. Raises BenchError.
        """

    def processes(self) -> Mapping[str, list[int]]:
        """Return process ids by role, the relay's role first and `edge` last."""

    def stop(self) -> None:
        """End every process."""
