"""What a user may choose, and words said once."""

import pytest

from hearthgate.home.discovery import DiscoverySettings
from hearthgate.home.discovery.errors import InterfaceNotAnAddressError
from hearthgate.shared.process.periodic import OncePer


@pytest.mark.parametrize("wrong", ["eth0", "", "::1", "127.0.0.1/8"])
def test_an_interface_must_be_an_ipv4_address(wrong: str) -> None:
    with pytest.raises(InterfaceNotAnAddressError, match="is not an IPv4 address"):
        DiscoverySettings(interfaces=(wrong,))


def test_loopback_is_searched_only_when_asked_for() -> None:
    assert not DiscoverySettings().loopback
    assert not DiscoverySettings(interfaces=("192.0.2.1",)).loopback
    assert DiscoverySettings(interfaces=("192.0.2.1", "127.0.0.1")).loopback


def test_a_warning_is_said_once_per_period() -> None:
    now = [100.0]
    once = OncePer(60.0, lambda: now[0])
    assert [once.due("full"), once.due("full"), once.due("other")] == [
        *(True, False, True)
    ]
    now[0] += 60
    assert once.due("full")
    now[0] -= 1000  # the clock was set back
    assert once.due("full")
