"""Answers of a relay as tables in a terminal."""

from collections.abc import Iterable
import time
from typing import Any

from hearthgate.shared.terminal.plain_table import PlainTable
from hearthgate.wire.names import describe_hostname

_MINUTES_SHOWN_MAX = 120
_HOURS_SHOWN_MAX = 72
_STEP = 1000  # from one unit of bytes to the next


def show_homes(answer: dict[str, Any]) -> None:
    """Print homes and unused codes."""
    table = PlainTable("Home", "State", "Domains", "Ports", "Published")
    for home in answer["homes"]:
        state = "connected" if home["connected"] else "away"
        table.add_row(
            home["name"],
            state,
            _names(home["domains"]),
            _ports(home),
            _names(home["hostnames"]),
        )
    for one in answer["invites"]:
        left_h = max(0, one["expires"] - time.time()) / 3600
        table.add_row(
            one["name"],
            f"invited, {left_h:.0f} h left",
            _names(one["domains"]),
            _ports(one),
            "",
        )
    table.show()


def _names(names: Iterable[str], more: str = "") -> list[str]:
    return [describe_hostname(name) + more for name in names]


def _ports(home: dict[str, Any]) -> list[str]:
    return [f"{kind} {one}" for kind in ("tcp", "udp") for one in home[kind]]


def show_home(home: dict[str, Any]) -> None:
    """Print all about one home, or about its unused code."""
    table = PlainTable()
    table.add_row("Home", home["name"])
    table.add_row("State", _state(home))
    if home["state"] == "connected":
        table.add_row("From", f"{home['remote']}, Hearthgate {home['software']}")
    table.add_row("Domains", _names(home["domains"], " and below"))
    table.add_row("Ports", _ports(home) or "none")
    if home["state"] == "invited":
        table.show()
        return
    paired = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(home["paired_at"]))
    table.add_row("Paired", paired)
    table.add_row("Channels parked", str(home["parked"]))
    table.add_row("Visitors now", f"{home['visitors']}, {home['waiting']} waiting")
    table.show()
    names = PlainTable("Published", "Visitors", "To home", "To visitors")
    for one in home["traffic"]:
        names.add_row(
            one["hostname"],
            str(one["visitors"]),
            _bytes(one["to_home"]),
            _bytes(one["to_visitor"]),
        )
    names.show()


def _state(home: dict[str, Any]) -> str:
    match home["state"]:
        case "connected":
            return f"connected for {_span(time.time() - home['since'])}"
        case "invited":
            return f"invited, {_span(home['expires'] - time.time())} left"
        case _:
            return "away"


def _span(seconds: float) -> str:
    minutes = max(0, round(seconds / 60))
    if minutes < _MINUTES_SHOWN_MAX:
        return f"{minutes} min"
    hours = minutes // 60
    return f"{hours} h" if hours < _HOURS_SHOWN_MAX else f"{hours // 24} d"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < _STEP:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= _STEP
    return f"{count:.1f} TB"


def show_status(answer: dict[str, Any]) -> None:
    """Print what a relay is doing."""
    table = PlainTable()
    table.add_row("Software", answer["software"])
    table.add_row("Address", answer["address"] or "not known")
    table.add_row("Public addresses", answer["addresses"] or "not known")
    table.add_row("Running for", _span(time.time() - answer["started"]))
    table.add_row("Homes connected", f"{answer['connected']} of {answer['homes']}")
    table.add_row("Hostnames published", str(answer["hostnames"]))
    table.add_row("Channels parked", str(answer["parked"]))
    table.add_row("Visitors now", f"{answer['visitors']}, {answer['waiting']} waiting")
    table.add_row("Visitors served", str(answer["visitors_served"]))
    moved = f"{_bytes(answer['to_home'])}, {_bytes(answer['to_visitor'])}"
    table.add_row("To homes, to visitors", moved)
    half, most = answer["first_byte_s"]["half"], answer["first_byte_s"]["most"]
    if half and most:
        table.add_row("First byte", f"half below {half:g} s, 99 % below {most:g} s")
    for cause, count in sorted(answer["refused"].items()):
        table.add_row(f"Refused: {cause}", str(count))
    table.show()
