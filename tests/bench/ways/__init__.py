"""The ways from a visitor to an edge, in the order of the table.

Each starts its own edge, so that memory is told apart. A way knows nothing of loads.
"""

from collections.abc import Callable

from tests.bench.scene import Scene
from tests.bench.ways.base import Doors, Way, WayName
from tests.bench.ways.direct import DirectWay
from tests.bench.ways.haproxy_tcp import HaproxyTcpWay
from tests.bench.ways.hearthgate import HearthgateWay
from tests.bench.ways.snitun import SniTunWay
from tests.bench.ways.ssh_r import SshWay

__all__ = ["WAYS", "Doors", "Way", "WayName", "with_door"]

WAYS: dict[WayName, Callable[[Scene], Way]] = {
    WayName.DIRECT: DirectWay,
    WayName.HAPROXY_TCP: HaproxyTcpWay,
    WayName.HEARTHGATE: HearthgateWay,
    WayName.SSH_R: SshWay,
    WayName.SNITUN: SniTunWay,
}
_FORWARDING = frozenset({WayName.DIRECT, WayName.HEARTHGATE, WayName.SSH_R})


def with_door(door: str, ways: tuple[WayName, ...]) -> tuple[WayName, ...]:
    """Return those of the ways that have such a door; all have an edge."""
    return tuple(way for way in ways if door == "edge" or way in _FORWARDING)
