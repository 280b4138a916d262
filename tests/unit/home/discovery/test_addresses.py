"""Which interfaces are searched, and which announced addresses are believed."""

from ipaddress import ip_interface

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.home.discovery.addresses import (
    Interface,
    choose_address,
    read_interfaces,
    usable_interfaces,
)

PRESENT = [
    Interface("lo", ip_interface("127.0.0.1/8")),
    Interface("eth0", ip_interface("192.168.7.2/24")),
    Interface("eth0", ip_interface("2001:db8:7::2/64")),
    Interface("wlan0", ip_interface("198.51.100.9/28")),
    Interface("eth9", ip_interface("10.9.9.9/24"), usable=False),
    Interface("docker0", ip_interface("172.17.0.1/16")),
    Interface("hassio", ip_interface("172.30.32.1/23")),
    Interface("veth12ab", ip_interface("169.254.3.3/16")),
    Interface("br-0123456789ab", ip_interface("172.18.0.1/16")),
]


def test_networks_inside_the_machine_are_not_searched() -> None:
    assert usable_interfaces(PRESENT, ()) == ("192.168.7.2", "198.51.100.9")


def test_a_bridge_that_a_person_named_is_searched() -> None:
    bridge = Interface("br-lan", ip_interface("192.168.1.1/24"))
    assert usable_interfaces([bridge], ()) == ("192.168.1.1",)


def test_wanted_interfaces_are_taken_whatever_they_are_if_present() -> None:
    wanted = ("127.0.0.1", "172.30.32.1", "192.0.2.99")
    assert usable_interfaces(PRESENT, wanted) == ("127.0.0.1", "172.30.32.1")


@pytest.mark.parametrize(
    ("announced", "chosen"),
    [
        (["192.168.7.30"], "192.168.7.30"),
        (["fd00::1", "10.1.1.1"], "10.1.1.1"),  # IPv4 first
        (["fe80::1%eth0", "fd00::1"], "fd00::1"),
        (["2001:db8:7::30"], "2001:db8:7::30"),  # public but on our link
        (["198.51.100.10"], "198.51.100.10"),
        (["93.184.215.14"], None),  # public
        (["2606:4700::1111"], None),
        (["127.0.0.1"], None),
        (["::1"], None),
        (["::ffff:127.0.0.1"], None),
        (["169.254.1.1"], None),
        (["224.0.0.251"], None),
        (["255.255.255.255"], None),
        (["0.0.0.0", "0.1.2.3", "::"], None),
        (["not an address", ""], None),
        ([], None),
    ],
)
def test_only_addresses_on_the_lan_are_believed(
    announced: list[str], chosen: str | None
) -> None:
    assert choose_address(announced, present=PRESENT, loopback=False) == chosen


def test_loopback_is_believed_when_it_is_searched() -> None:
    found = choose_address(["::1", "127.0.0.1"], present=PRESENT, loopback=True)
    assert found == "127.0.0.1"


@given(st.lists(st.ip_addresses().map(str) | st.text(max_size=20)))
def test_no_list_of_addresses_leads_to_loopback(announced: list[str]) -> None:
    chosen = choose_address(announced, present=PRESENT, loopback=False)
    assert chosen is None or not chosen.startswith("127.")


def test_this_machine_has_a_loopback_address() -> None:
    found = [each for each in read_interfaces() if str(each.address.ip) == "127.0.0.1"]
    assert found[0].usable
