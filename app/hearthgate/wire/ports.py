"""Public ports, as grants, declarations and people write them.

    "25565"  "51820-51830"  ──▶  PortRange  ──▶  the same text

Pure values. Which ports a relay may give away is the relay's setting.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
import re

from hearthgate.errors import HearthgateError

PORT_MAX = 65535
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?")


class PortsInvalidError(HearthgateError):
    """Raise if a text is no port and no range of ports."""

    code = "ports_invalid"
    message = "“{text}” is no port and no range of ports."
    hint = "Write a port such as 25565, or a range such as 51820-51830."


class Protocol(StrEnum):
    """What a forward carries."""

    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, slots=True, order=True)
class PortRange:
    """Ports from first to last, both included."""

    first: int
    last: int

    def __str__(self) -> str:
        only = self.first == self.last
        return str(self.first) if only else f"{self.first}-{self.last}"

    def __contains__(self, port: int) -> bool:
        return self.first <= port <= self.last

    def overlaps(self, other: "PortRange") -> bool:
        """Tell whether a port is in both."""
        return self.first <= other.last and other.first <= self.last

    def within(self, other: "PortRange") -> bool:
        """Tell whether all of these ports are in the other range."""
        return other.first <= self.first and self.last <= other.last


def read_ports(text: str) -> PortRange:
    """Return the range that a text means. Raises PortsInvalidError."""
    match = _RANGE.fullmatch(text.strip())
    if match is None:
        raise PortsInvalidError(text=text[:40])
    first = int(match[1])
    last = int(match[2]) if match[2] else first
    if not 1 <= first <= last <= PORT_MAX:
        raise PortsInvalidError(text=text[:40])
    return PortRange(first, last)


def joined(ranges: Iterable[PortRange]) -> tuple[PortRange, ...]:
    """Return the same ports in order, as few ranges."""
    found: list[PortRange] = []
    for one in sorted(ranges):
        if found and one.first <= found[-1].last + 1:
            found[-1] = PortRange(found[-1].first, max(found[-1].last, one.last))
        else:
            found.append(one)
    return tuple(found)


def without(
    ranges: Iterable[PortRange], removed: Iterable[PortRange]
) -> tuple[PortRange, ...]:
    """Return the ports that are in no removed range."""
    left = list(joined(ranges))
    for gone in removed:
        pieces: list[PortRange] = []
        for one in left:
            if not one.overlaps(gone):
                pieces.append(one)
                continue
            if one.first < gone.first:
                pieces.append(PortRange(one.first, gone.first - 1))
            if one.last > gone.last:
                pieces.append(PortRange(gone.last + 1, one.last))
        left = pieces
    return tuple(left)


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one grant."""

    tcp: tuple[PortRange, ...] = ()
    udp: tuple[PortRange, ...] = ()

    def of(self, protocol: Protocol) -> tuple[PortRange, ...]:
        """Return the ranges of one protocol."""
        return self.tcp if protocol is Protocol.TCP else self.udp

    def covers(self, protocol: Protocol, port: int) -> bool:
        """Tell whether a port is among them."""
        return any(port in one for one in self.of(protocol))

    def plus(self, other: "Ports") -> "Ports":
        """Return the ports of both."""
        return Ports(joined(self.tcp + other.tcp), joined(self.udp + other.udp))

    def minus(self, other: "Ports") -> "Ports":
        """Return the ports that the other ones do not have."""
        return Ports(without(self.tcp, other.tcp), without(self.udp, other.udp))

    def __bool__(self) -> bool:
        return bool(self.tcp or self.udp)

    def __str__(self) -> str:
        words = [f"{name} {one}" for name in Protocol for one in self.of(name)]
        return ", ".join(words)


NO_PORTS = Ports()
