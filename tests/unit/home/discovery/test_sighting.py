"""What one announcement is taken for."""

from ipaddress import ip_interface

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.home.discovery.addresses import Interface
from hearthgate.home.discovery.catalog import CATALOG, Role
from hearthgate.home.discovery.limits import DiscoveryLimits
from hearthgate.home.discovery.sighting import (
    Announcement,
    Refused,
    Sighting,
    read_sighting,
)
from hearthgate.home.model import Scheme, Target

PRESENT = [Interface("eth0", ip_interface("192.168.7.2/24"))]
LIMITS = DiscoveryLimits()


def announce(
    service_type: str = "_http._tcp",
    *,
    instance: str = "Attic",
    port: int = 8080,
    addresses: tuple[str, ...] = ("192.168.7.30",),
    server: str = "Attic.local.",
    txt: dict[str, str] | None = None,
) -> Announcement:
    return Announcement(service_type, instance, server, port, addresses, txt or {})


def read(announcement: Announcement) -> Sighting:
    found = read_sighting(announcement, present=PRESENT, loopback=False, limits=LIMITS)
    assert isinstance(found, Sighting), found
    return found


def refusal(announcement: Announcement) -> str:
    found = read_sighting(announcement, present=PRESENT, loopback=False, limits=LIMITS)
    assert isinstance(found, Refused), found
    return found.reason


def test_an_http_service_is_at_its_announced_port() -> None:
    assert read(announce()).target == Target(Scheme.HTTP, "192.168.7.30", 8080)


def test_the_type_says_scheme_and_port() -> None:
    assert read(announce("_https._tcp", port=8443)).target.scheme is Scheme.HTTPS
    esphome = read(announce("_esphomelib._tcp", port=6053))
    assert (esphome.target.port, esphome.role) == (80, Role.MAYBE)


def test_a_path_in_the_announcement_is_never_requested() -> None:
    assert read(announce(txt={"path": "/reboot?now=1"})).paths == ("/",)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("http://Attic.local.:8081/hp", Target(Scheme.HTTP, "192.168.7.30", 8081)),
        ("https://192.168.7.30/", Target(Scheme.HTTPS, "192.168.7.30", 443)),
        ("HTTP://attic./", Target(Scheme.HTTP, "192.168.7.30", 80)),
    ],
)
def test_a_printer_says_where_its_pages_are(url: str, target: Target) -> None:
    found = read(announce("_ipp._tcp", port=631, txt={"adminurl": url}))
    assert (found.target, found.role) == (target, Role.PAGE)


@pytest.mark.parametrize(
    "url",
    [
        "http://192.168.7.1/reboot",
        "http://attic.local@192.168.7.1/",
        "file:///etc/passwd",
        "http://[",
        "http://attic.local:99999/",
        "",
    ],
)
def test_a_printer_can_not_point_at_somebody_else(url: str) -> None:
    found = read(announce("_ipp._tcp", port=631, txt={"adminurl": url}))
    assert (found.target, found.role) == (
        Target(Scheme.HTTP, "192.168.7.30", 80),
        Role.MAYBE,
    )


@pytest.mark.parametrize(
    ("announcement", "reason"),
    [
        (announce("_bittorrent._tcp"), "unknown type"),
        (announce(port=0), "no port"),
        (announce(port=9100), "port 9100 is not for web pages"),
        (announce(addresses=("8.8.8.8",)), "no address on this network"),
        (announce(addresses=()), "no address on this network"),
    ],
)
def test_what_is_not_believed_has_a_reason(
    announcement: Announcement, reason: str
) -> None:
    assert refusal(announcement) == reason


def test_an_admin_url_does_not_lead_to_the_paper_tray() -> None:
    txt = {"adminurl": "http://attic.local:9100/"}
    assert "9100" in refusal(announce("_ipp._tcp", port=631, txt=txt))


def test_a_serial_number_gives_way_to_a_friendly_name() -> None:
    opaque = "8e6f0c52b0a94c7aa3d7b6c1d2e3f405"
    assert read(announce(instance=opaque, txt={"fn": "Hall"})).name == "Hall"
    assert read(announce(instance=opaque)).name == ""


ANNOUNCEMENTS = st.builds(
    Announcement,
    st.sampled_from(sorted(CATALOG)),
    st.text(),
    st.text(),
    st.integers(-5, 70000),
    st.lists(st.text() | st.ip_addresses().map(str)),
    st.dictionaries(st.sampled_from(["adminurl", "fn", "ty", "path"]), st.text()),
)


@given(ANNOUNCEMENTS)
def test_no_announcement_raises_or_points_outside(announcement: Announcement) -> None:
    found = read_sighting(announcement, present=PRESENT, loopback=False, limits=LIMITS)
    if isinstance(found, Sighting):
        assert found.target.host in announcement.addresses
        assert len(found.name) <= LIMITS.text_max_chars
