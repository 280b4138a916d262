"""What zeroconf holds of an instance is read, however much of it there is."""

from ipaddress import IPv4Address

import pytest
from zeroconf import current_time_millis
from zeroconf._cache import DNSCache
from zeroconf._dns import DNSAddress, DNSRecord, DNSService, DNSText

from hearthgate.home.discovery.limits import DiscoveryLimits
from hearthgate.home.discovery.records import question, read_records, read_txt
from hearthgate.home.discovery.sighting import Announcement

NAME, SERVER = "Attic._http._tcp.local.", "attic.local."
KEY = ("_http._tcp", "Attic")
LIMITS = DiscoveryLimits()
A, TXT, AAAA, SRV, IN = 1, 16, 28, 33, 1


def service(server: str = SERVER) -> DNSService:
    return DNSService(NAME, SRV, IN, 4500, 0, 0, 8080, server)


def text(raw: bytes = b"\x04a=b=") -> DNSText:
    return DNSText(NAME, TXT, IN, 4500, raw)


def address(number: int = 0, *, age_s: int = 0) -> DNSAddress:
    packed = (int(IPv4Address("192.168.0.1")) + number).to_bytes(4, "big")
    created = current_time_millis() - age_s * 1000
    return DNSAddress(SERVER, A, IN, 120, packed, created=created)


def read(*records: DNSRecord) -> Announcement | None:
    cache = DNSCache()
    cache.async_add_records(records)
    return read_records(cache, NAME, KEY, LIMITS)


def test_an_instance_is_read_from_its_records() -> None:
    v6 = DNSAddress(SERVER, AAAA, IN, 120, b"\xfd" + bytes(14) + b"\1")
    assert read(service(), text(), address(), v6) == Announcement(
        service_type="_http._tcp",
        instance="Attic",
        server=SERVER,
        port=8080,
        addresses=("fd00::1", "192.168.0.1"),
        txt={"a": "b="},
    )


@pytest.mark.parametrize(
    "records",
    [
        (text(), address()),
        (service(), address()),
        (service(), text()),
        (service("other.local."), text(), address()),
        (service(), text(), address(age_s=3600)),
    ],
)
def test_an_instance_without_all_its_records_is_not_read(
    records: tuple[DNSRecord, ...],
) -> None:
    assert read(*records) is None


def test_ten_thousand_addresses_cost_no_more_than_a_few() -> None:
    cache = DNSCache()
    cache.async_add_records([service(), text(), *map(address, range(9900))])
    for _ in range(1000):  # zeroconf's own way needs a second for each
        found = read_records(cache, NAME, KEY, LIMITS)
    assert found is not None
    assert len(found.addresses) == LIMITS.records_per_server


@pytest.mark.parametrize(
    ("raw", "pairs"),
    [
        (b"", {}),
        (b"\0", {}),
        (b"\x05Key=v\x03k=w\x05key=x", {"key": "v", "k": "w"}),
        (b"\x01k\x03=ab\x02k=", {"k": ""}),
        (b"\xffk=cut", {"k": "cut"}),
        (b"\x04\xff=\xffa", {"\ufffd": "\ufffda"}),
        (b"\x03a=b" * 1300, {}),  # more than any honest device says
    ],
)
def test_pairs_of_a_txt_record(raw: bytes, pairs: dict[str, str]) -> None:
    assert read_txt(raw, LIMITS) == pairs


def test_no_more_pairs_are_read_than_a_device_has() -> None:
    raw = b"".join(b"\x05%03d=x" % number for number in range(500))
    assert len(read_txt(raw, LIMITS)) == LIMITS.txt_max_keys


def test_what_is_missing_is_asked_for() -> None:
    cache = DNSCache()
    asked = [(each.name, each.type) for each in question(cache, NAME).questions]
    assert asked == [(NAME, SRV), (NAME, TXT), (NAME, A), (NAME, AAAA)]
    cache.async_add_records([service()])
    asked = [(each.name, each.type) for each in question(cache, NAME).questions]
    assert asked == [(NAME, SRV), (NAME, TXT), (SERVER, A), (SERVER, AAAA)]
