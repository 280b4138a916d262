"""What the look at the DNS concludes, and the second look past caches."""

import dns.asyncresolver
import dns.exception
import dns.nameserver
import pytest

from hearthgate.home.certificates import dns_check, errors
from hearthgate.home.certificates.authoritative import find_addresses
from hearthgate.home.certificates.dns_check import Addresses, DnsCheck, judge
from tests.support.fake_dns import FakeDns

NONE: frozenset[str] = frozenset()
RELAY = frozenset({"203.0.113.5"})
SOA = "ns.example.com. x. 1 2 3 4 5"
ZONE = {
    ("example.com.", "SOA"): [SOA],
    ("example.com.", "NS"): ["ns.example.com."],
    ("ns.example.com.", "A"): ["127.0.0.1"],
    ("home.example.com.", "A"): ["203.0.113.5"],
    ("www.example.com.", "CNAME"): ["www.example.net."],
    ("example.net.", "SOA"): [SOA],
    ("example.net.", "NS"): ["ns.example.com."],
    ("www.example.net.", "AAAA"): ["2001:db8::5"],
    ("circle.example.com.", "CNAME"): ["circle2.example.com."],
    ("circle2.example.com.", "CNAME"): ["circle.example.com."],
}


def asking(server: FakeDns) -> dns.asyncresolver.Resolver:
    resolver = dns.asyncresolver.Resolver(configure=False)
    resolver.nameservers = [dns.nameserver.Do53Nameserver("127.0.0.1", server.port)]
    return resolver


@pytest.mark.parametrize(
    ("v4", "v6", "fault"),
    [
        (RELAY, NONE, None),
        (RELAY, None, None),
        (None, None, None),
        (NONE, None, None),
        (NONE, NONE, errors.NoRecordError),
        (frozenset({"198.51.100.1"}), NONE, errors.PointsElsewhereError),
        (frozenset({"198.51.100.1"}), None, None),
        (RELAY | {"198.51.100.1"}, None, errors.AlsoElsewhereError),
        (RELAY, frozenset({"2001:db8::1"}), errors.ForeignIPv6Error),
        (NONE, frozenset({"2001:db8::1"}), errors.PointsElsewhereError),
    ],
)
def test_only_a_certain_fault_is_one(
    v4: frozenset[str] | None,
    v6: frozenset[str] | None,
    fault: type[errors.DnsError] | None,
) -> None:
    found = judge("home.example.com", Addresses(v4, v6), RELAY)
    assert (None if found is None else type(found)) is fault


async def test_the_name_servers_of_the_domain_are_asked_themselves() -> None:
    server = FakeDns(ZONE)
    async with server.serve():
        found = await find_addresses(
            "home.example.com",
            question_s=2,
            resolver=asking(server),
            port=server.port,
        )
    assert found == (RELAY, NONE)


async def test_an_alias_into_another_zone_is_followed() -> None:
    server = FakeDns(ZONE)
    async with server.serve():
        found = await find_addresses(
            "www.example.com", question_s=2, resolver=asking(server), port=server.port
        )
    assert found == (NONE, frozenset({"2001:db8::5"}))


async def test_a_name_that_is_not_there_has_no_addresses() -> None:
    server = FakeDns(ZONE)
    async with server.serve():
        found = await find_addresses(
            "new.example.com", question_s=2, resolver=asking(server), port=server.port
        )
    assert found == (NONE, NONE)


async def test_a_circle_of_aliases_ends() -> None:
    server = FakeDns(ZONE)
    async with server.serve():
        with pytest.raises(dns.exception.DNSException):
            await find_addresses(
                "circle.example.com",
                question_s=2,
                resolver=asking(server),
                port=server.port,
            )


class _System(DnsCheck):
    """As without configured servers, but the system's resolver is a fake one."""

    def __init__(self, v4: frozenset[str]) -> None:
        super().__init__((), question_s=1.0)
        self._v4 = v4

    async def _addresses(self, hostname: str) -> Addresses:  # noqa: ARG002 (of DnsCheck)
        return Addresses(self._v4, NONE)


async def test_a_stale_cache_is_overruled_by_the_name_servers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def right(_name: str, **_kw: float) -> tuple[frozenset[str], frozenset[str]]:
        return RELAY, NONE

    monkeypatch.setattr(dns_check, "find_addresses", right)
    await _System(NONE).check_addresses("home.example.com", RELAY)


async def test_an_override_on_the_lan_stops_nothing_if_nobody_else_can_be_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def silent(_name: str, **_kw: float) -> tuple[frozenset[str], frozenset[str]]:
        raise TimeoutError

    monkeypatch.setattr(dns_check, "find_addresses", silent)
    lan = _System(frozenset({"192.168.1.20"}))
    await lan.check_addresses("home.example.com", ["8.8.4.4"])
    with pytest.raises(errors.PointsElsewhereError):
        await _System(frozenset({"9.9.9.9"})).check_addresses(
            "home.example.com", ["8.8.4.4"]
        )
    with pytest.raises(errors.NoRecordError):
        await _System(NONE).check_addresses("home.example.com", ["8.8.4.4"])
