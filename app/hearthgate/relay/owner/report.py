"""What the owner of a relay sees of it: numbers of one home, and of all together.

Reads; changes nothing. The commands print it as tables or JSON, metrics reads it too.
"""

from collections.abc import Iterator
from typing import Any

from hearthgate.relay.counting.traffic import (
    FIRST_BYTE_BOUNDS_S,
    Counted,
    Moved,
    Traffic,
)
from hearthgate.relay.homes.sessions import Presence, Sessions


def live_bytes(sessions: Sessions) -> Iterator[tuple[str, int, int]]:
    """Give hostname, bytes to home and bytes to the visitor of all who are there."""
    for presence in sessions.presences.values():
        yield from _live_bytes(presence)


def _live_bytes(presence: Presence) -> Iterator[tuple[str, int, int]]:
    for route in presence.routes.values():
        for one in route.live:
            if isinstance(one, Counted):
                yield route.hostname, one.to_home, one.to_visitor


def home_report(presence: Presence | None, traffic: Traffic | None) -> dict[str, Any]:
    """Return what a home does now, and how its hostnames are used."""
    session = presence.session if presence else None
    routes = presence.routes if presence else {}
    live = list(_live_bytes(presence)) if presence else []
    moved = traffic.by_hostname(live) if traffic else {}
    return {
        "state": "connected" if session else "away",
        "since": int(session.since) if session else None,
        "remote": session.remote if session else None,
        "software": session.software if session else None,
        "waiting": len(presence.waiting) if presence else 0,
        "visitors": sum(len(route.live) for route in routes.values()),
        "traffic": [
            {
                "hostname": name,
                "visitors": len(routes[name].live),
                "to_home": moved.get(name, Moved()).to_home,
                "to_visitor": moved.get(name, Moved()).to_visitor,
            }
            for name in sorted(routes)
        ],
    }


def relay_report(sessions: Sessions, traffic: Traffic) -> dict[str, Any]:
    """Return the numbers of all homes together."""
    presences = sessions.presences.values()
    moved = traffic.by_hostname(live_bytes(sessions)).values()
    return {
        "hostnames": len(sessions.routes),
        "parked": sum(len(one.session.parked) for one in presences if one.session),
        "waiting": sum(len(one.waiting) for one in presences),
        "visitors_served": traffic.visitors,
        "to_home": sum(one.to_home for one in moved),
        "to_visitor": sum(one.to_visitor for one in moved),
        "first_byte_s": {
            "half": quantile(traffic, 0.5),
            "most": quantile(traffic, 0.99),
        },
    }


def quantile(traffic: Traffic, share: float) -> float | None:
    """Return the bound, in seconds, below which that share of first bytes came.

    None: nobody was there yet, or they took longer than the last bound.
    """
    wanted = share * sum(traffic.first_bytes)
    seen = 0
    for bound, count in zip(FIRST_BYTE_BOUNDS_S, traffic.first_bytes, strict=False):
        seen += count
        if seen and seen >= wanted:
            return bound
    return None
