"""Tunnels come and go in turn, so that each has an owner."""

import asyncio
from pathlib import Path
import random
import socket

from hearthgate.home.settings import TunnelOptions
from hearthgate.home.state.state import Membership
from hearthgate.home.tunnel.tunnels import Tunnels
from hearthgate.shared.net.poller import Poller

RELAY = Membership("r", "cottage", "127.0.0.1", 9, "0" * 64, "h", 1)


async def test_two_starts_at_once_leave_one_tunnel(tmp_path: Path) -> None:
    """Pairing twice with a relay at the same moment left a tunnel without an owner."""
    poller = Poller(asyncio.get_running_loop())
    tunnels = Tunnels(
        tmp_path,
        TunnelOptions(),
        poller=poller,
        hand_over=socket.socket.close,
        on_status=lambda _relay_id, _status: None,
        rng=random.Random(1),
    )
    await tunnels.start(RELAY, ())
    await asyncio.sleep(0)
    await asyncio.gather(*(tunnels.start(RELAY, ()) for _ in range(3)))
    assert len(tunnels._tasks) == 1
    await tunnels.stop("r")
    assert len(tunnels._tasks) == 0
    assert tunnels.get("r") is None
    await tunnels.close()
    poller.close()
