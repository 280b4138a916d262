"""Ports as text and as sets."""

import pytest

from hearthgate.wire.ports import (
    PortRange,
    Ports,
    PortsInvalidError,
    Protocol,
    joined,
    read_ports,
    without,
)


@pytest.mark.parametrize("text", ["25565", "51820-51830", "1", "1-65535"])
def test_ports_are_written_as_they_were_read(text: str) -> None:
    assert str(read_ports(text)) == text


@pytest.mark.parametrize(
    "text", ["", "0", "65536", "5-4", "-1", "1-", "1-2-3", "٣", "1,2", "http"]
)
def test_what_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(PortsInvalidError):
        read_ports(text)


def test_neighbours_are_joined() -> None:
    ranges = [PortRange(5, 9), PortRange(1, 2), PortRange(3, 4), PortRange(20, 20)]
    assert joined(ranges) == (PortRange(1, 9), PortRange(20, 20))


def test_taking_ports_away_may_split_a_range() -> None:
    left = without([PortRange(10, 20)], [PortRange(13, 14), PortRange(20, 30)])
    assert left == (PortRange(10, 12), PortRange(15, 19))


def test_a_grant_covers_a_port_of_its_protocol_only() -> None:
    ports = Ports(tcp=(PortRange(25565, 25565),))
    assert ports.covers(Protocol.TCP, 25565)
    assert not ports.covers(Protocol.UDP, 25565)
    assert not ports.covers(Protocol.TCP, 25566)
