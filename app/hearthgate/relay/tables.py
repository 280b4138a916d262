"""Answers of a relay as tables in a terminal."""

import time
from typing import Any

from rich.console import Console
from rich.table import Table


def show_homes(answer: dict[str, Any]) -> None:
    """Print homes and unused codes."""
    table = Table("Home", "State", "Domains", "Ports", "Published")
    for home in answer["homes"]:
        state = "connected" if home["connected"] else "away"
        table.add_row(
            home["name"],
            state,
            "\n".join(home["domains"]),
            _ports(home),
            "\n".join(home["hostnames"]),
        )
    for one in answer["invites"]:
        left_h = max(0, one["expires"] - time.time()) / 3600
        table.add_row(
            one["name"],
            f"invited, {left_h:.0f} h left",
            "\n".join(one["domains"]),
            _ports(one),
            "",
        )
    Console().print(table)


def _ports(home: dict[str, Any]) -> str:
    return "\n".join(f"{kind} {one}" for kind in ("tcp", "udp") for one in home[kind])


def show_status(answer: dict[str, Any]) -> None:
    """Print what a relay is doing."""
    table = Table(show_header=False)
    running_h = (time.time() - answer["started"]) / 3600
    table.add_row("Software", answer["software"])
    table.add_row("Running for", f"{running_h:.1f} h")
    table.add_row("Homes connected", f"{answer['connected']} of {answer['homes']}")
    table.add_row("Visitors now", str(answer["visitors"]))
    for cause, count in sorted(answer["refused"].items()):
        table.add_row(f"Refused: {cause}", str(count))
    Console().print(table)
