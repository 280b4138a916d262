"""The look at the DNS, against a real DNS server that says what it is told."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hearthgate.home.certificates import AcmeSettings, errors
from hearthgate.home.certificates.caa import Issuer, check_caa
from hearthgate.home.certificates.dns_check import DnsCheck
from tests.harness.pebble import Pebble
from tests.harness.ports import free_port
from tests.support.certificate_parts import Clock, Home
from tests.support.port80 import Port80

NAME = "home.cottage.example.com"
RELAY = ["203.0.113.5", "2001:db8::5"]
US = Issuer(("letsencrypt.org",), "https://ca.test/acct/1")


@pytest.fixture(scope="module")
def pebble() -> Iterator[Pebble]:
    with Pebble() as running:
        yield running


@pytest.fixture
def check(pebble: Pebble) -> Iterator[DnsCheck]:
    yield DnsCheck((pebble.dns,), question_s=5.0)
    pebble.set_a(NAME, [])
    pebble.set_aaaa(NAME, [])
    for domain in (NAME, "cottage.example.com", "example.com"):
        pebble.set_caa(domain, [])


async def test_both_addresses_of_the_relay_are_fine(
    pebble: Pebble, check: DnsCheck
) -> None:
    pebble.set_a(NAME, RELAY[:1])
    pebble.set_aaaa(NAME, ["2001:0DB8:0::5"])
    await check.check_addresses(NAME, RELAY)


async def test_an_alias_of_the_relay_is_fine(pebble: Pebble, check: DnsCheck) -> None:
    pebble.set_a("relay.example.net", RELAY[:1])
    pebble.set_cname("alias.example.com", "relay.example.net")
    await check.check_addresses("alias.example.com", RELAY)


async def test_no_record_says_which_ones_to_add(check: DnsCheck) -> None:
    with pytest.raises(errors.NoRecordError) as caught:
        await check.check_addresses(NAME, RELAY)
    assert f"{NAME} A 203.0.113.5" in caught.value.advice
    assert f"{NAME} AAAA 2001:db8::5" in caught.value.advice


async def test_no_record_without_known_relay_addresses_is_told_too(
    check: DnsCheck,
) -> None:
    with pytest.raises(errors.NoRecordError) as caught:
        await check.check_addresses(NAME, [])
    assert "address of your relay" in caught.value.advice


async def test_any_record_will_do_if_the_relay_does_not_say_its_addresses(
    pebble: Pebble, check: DnsCheck
) -> None:
    pebble.set_a(NAME, ["198.51.100.7"])
    await check.check_addresses(NAME, [])


async def test_a_record_to_elsewhere_says_where_to_and_where_it_should(
    pebble: Pebble, check: DnsCheck
) -> None:
    pebble.set_a(NAME, ["198.51.100.7"])
    with pytest.raises(errors.PointsElsewhereError) as caught:
        await check.check_addresses(NAME, RELAY)
    assert "198.51.100.7" in str(caught.value)
    assert "203.0.113.5" in str(caught.value)


async def test_a_foreign_ipv6_address_beside_a_right_ipv4_address_is_found(
    pebble: Pebble, check: DnsCheck
) -> None:
    pebble.set_a(NAME, RELAY[:1])
    pebble.set_aaaa(NAME, ["2001:db8::dead"])
    with pytest.raises(errors.ForeignIPv6Error) as caught:
        await check.check_addresses(NAME, RELAY)
    assert "2001:db8::dead" in str(caught.value)


async def test_a_second_ipv4_address_is_found(pebble: Pebble, check: DnsCheck) -> None:
    pebble.set_a(NAME, [RELAY[0], "198.51.100.7"])
    with pytest.raises(errors.AlsoElsewhereError):
        await check.check_addresses(NAME, RELAY)


async def test_a_resolver_that_fails_stops_nothing(
    pebble: Pebble, check: DnsCheck
) -> None:
    pebble.set_servfail("broken.example.com")
    await check.check_addresses("broken.example.com", RELAY)
    await check_caa("broken.example.com", US, check.caa)


async def test_a_resolver_that_is_not_there_stops_nothing() -> None:
    nobody = DnsCheck((("127.0.0.1", free_port()),), question_s=0.3)
    await nobody.check_addresses(NAME, RELAY)
    await check_caa(NAME, US, nobody.caa)


async def test_caa_of_a_parent_that_names_another_authority_forbids(
    pebble: Pebble, check: DnsCheck
) -> None:
    pebble.set_caa("example.com", [("issue", "other-ca.test")])
    with pytest.raises(errors.CaaForbidsError) as caught:
        await check_caa(NAME, US, check.caa)
    assert "example.com" in str(caught.value)
    assert 'example.com CAA 0 issue "letsencrypt.org"' in caught.value.advice


async def test_the_nearest_caa_set_counts_alone(
    pebble: Pebble, check: DnsCheck
) -> None:
    pebble.set_caa("example.com", [("issue", "other-ca.test")])
    pebble.set_caa("cottage.example.com", [("issue", "letsencrypt.org")])
    await check_caa(NAME, US, check.caa)


async def test_no_caa_at_all_allows(check: DnsCheck) -> None:
    await check_caa(NAME, US, check.caa)


async def test_a_dns_fault_ends_an_order_before_the_authority_hears_of_it(
    pebble: Pebble, tmp_path: Path
) -> None:
    pebble.set_a(NAME, ["198.51.100.7"])
    nobody = f"https://127.0.0.1:{free_port()}/dir"
    settings = AcmeSettings(directory=nobody, dns_servers=(pebble.dns,))
    home = Home(tmp_path, settings, Port80(), Clock())
    with pytest.raises(errors.PointsElsewhereError):
        await home.ensure(NAME, RELAY)
    assert home.certificates.problem(NAME) is not None
