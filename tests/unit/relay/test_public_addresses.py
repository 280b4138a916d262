"""What a relay tells of where it is, and what homes are called for it."""

from dataclasses import replace

import pytest

from hearthgate.relay.public_addresses import PublicAddresses, with_learned_address
from hearthgate.relay.settings import RelaySettings
from hearthgate.wire.names import normalise_hostname

V4, V6, PRIVATE = "8.8.4.4", "2001:4860:4860::8844", "10.0.0.5"
PLAIN = RelaySettings()


def where(settings: RelaySettings, *local: str) -> PublicAddresses:
    return PublicAddresses(settings, lambda: local)


def test_what_the_owner_says_counts_alone() -> None:
    settings = replace(PLAIN, public_addresses=("203.0.113.5",))
    assert where(settings, V4, V6).addresses(V4) == ("203.0.113.5",)


def test_a_machine_with_public_addresses_tells_both() -> None:
    assert where(PLAIN, V4, V6).addresses(V4) == (V4, V6)


def test_a_family_without_a_listening_socket_is_not_told() -> None:
    assert where(replace(PLAIN, bind=("0.0.0.0",)), V4, V6).addresses(V4) == (V4,)


def test_behind_a_nat_nothing_is_told_so_that_homes_take_what_they_dialled() -> None:
    assert where(PLAIN, PRIVATE).addresses(PRIVATE) == ()
    assert where(PLAIN, PRIVATE, V6).addresses(PRIVATE) == ()


def test_behind_a_nat_an_address_that_was_set_is_told() -> None:
    settings = replace(PLAIN, address=V4)
    assert where(settings, PRIVATE, V6).addresses(PRIVATE) == (V4, V6)


def test_a_second_address_is_learned_from_who_dialled_it() -> None:
    assert where(PLAIN, V4).addresses("8.8.8.8") == (V4, "8.8.8.8")


def test_an_address_is_learned_only_if_none_is_set() -> None:
    assert with_learned_address(PLAIN, lambda: (V4, V6)).address == V4
    assert with_learned_address(PLAIN, lambda: (PRIVATE,)).address is None
    assert with_learned_address(PLAIN, lambda: (PRIVATE, V6)).address is None
    assert with_learned_address(PLAIN, lambda: (V6,)).address == f"[{V6}]"
    own = replace(PLAIN, address="relay.example.com")
    assert with_learned_address(own, lambda: (V4,)) is own
    other_port = replace(PLAIN, https_port=8443)
    assert with_learned_address(other_port, lambda: (V4,)).address == f"{V4}:8443"


@pytest.mark.parametrize(
    ("address", "domain"),
    [
        ("203.0.113.5", "barn.203-0-113-5.sslip.io"),
        ("203.0.113.5:8443", "barn.203-0-113-5.sslip.io"),
        ("2001:db8::7", "barn.2001-db8--7.sslip.io"),
        ("2001:db8::", "barn.2001-db8--0.sslip.io"),
        ("::ffff", "barn.0--ffff.sslip.io"),
        ("relay.example.com", "barn.relay.example.com"),
    ],
)
def test_each_home_gets_a_name_of_its_own_below_the_relays(
    address: str, domain: str
) -> None:
    assert PLAIN.domain_for("barn", address) == domain
    assert normalise_hostname(domain) == domain


def test_the_public_dns_is_a_setting() -> None:
    settings = replace(PLAIN, address_suffix="nip.example")
    assert settings.domain_for("barn", "203.0.113.5") == "barn.203-0-113-5.nip.example"


def test_a_relay_that_knows_no_address_has_no_names_to_give() -> None:
    assert PLAIN.domain_for("barn", None) is None
    assert PLAIN.first_domain("home") is None
    assert replace(PLAIN, domain="example.org").first_domain("home") == "example.org"
