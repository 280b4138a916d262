"""Hostnames and addresses: one spelling, and what is none."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.wire.names import (
    AddressInvalidError,
    HostnameInvalidError,
    format_address,
    is_below,
    normalise_hostname,
    parse_address,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("photos.example.com", "photos.example.com"),
        (" Photos.EXAMPLE.com. ", "photos.example.com"),
        ("fotos.MÜLLER.example", "fotos.xn--mller-kva.example"),
        ("xn--mller-kva.example", "xn--mller-kva.example"),
        ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("a。b.example", "a.b.example"),
        ("x" * 63 + ".example", "x" * 63 + ".example"),
        (".".join(["x" * 62] * 4), ".".join(["x" * 62] * 4)),
    ],
)
def test_a_hostname_has_one_spelling(text: str, name: str) -> None:
    assert normalise_hostname(text) == name
    assert normalise_hostname(name) == name


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "..", "localhost", "example.com..", ".example.com", "a..b.com"),
        *("-a.example", "a-.example", "a b.example", "a/b.example", "*.example.com"),
        *("203.0.113.5", "2001:db8::1", "[2001:db8::1]", "a.example:443", "a.1"),
        *("https://a.example", "a\n.example", "a\0.example", "x" * 64 + ".example"),
        *(".".join(["x" * 62] * 4) + "xx", "ü" * 64 + ".example"),
        *("\ud800.example", "é" * 5000),
    ],
)
def test_what_no_certificate_could_name_is_no_hostname(text: str) -> None:
    with pytest.raises(HostnameInvalidError) as caught:
        normalise_hostname(text)
    assert len(str(caught.value)) < 300


@given(st.text(max_size=80))
def test_any_text_is_a_stable_hostname_or_none(text: str) -> None:
    try:
        name = normalise_hostname(text)
    except HostnameInvalidError:
        return
    assert name == normalise_hostname(name) == name.lower()
    assert name.isascii()


@pytest.mark.parametrize(
    ("hostname", "domain", "covered"),
    [
        ("example.com", "example.com", True),
        ("a.b.example.com", "example.com", True),
        ("badexample.com", "example.com", False),
        ("example.com", "a.example.com", False),
        ("example.com.evil.test", "example.com", False),
    ],
)
def test_below_a_domain_is_the_domain_and_whole_labels_under_it(
    hostname: str, domain: str, covered: bool
) -> None:
    assert is_below(hostname, domain) is covered


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("relay.example.com", "relay.example.com", 443),
        ("Relay.Example.com.:8443", "relay.example.com", 8443),
        ("203.0.113.5", "203.0.113.5", 443),
        ("203.0.113.5:65535", "203.0.113.5", 65535),
        ("2001:db8::5", "2001:db8::5", 443),
        ("[2001:0DB8::5]", "2001:db8::5", 443),
        ("[2001:db8::5]:1", "2001:db8::5", 1),
        ("localhost:8443", "localhost", 8443),
        ("relay.example.com:", "relay.example.com", 443),
    ],
)
def test_an_address_is_a_host_and_a_port(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)
    assert parse_address(format_address(host, port)) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", "relay", "relay.example.com:0", "relay.example.com:65536", "a.example:x"),
        *("[2001:db8::5", "2001:db8::5]", "[relay.example.com]:1", "[2001:db8::5]1"),
        *("203.0.113.5:-1", "203.0.113.5:1:2", "https://a.example", "a.example:٣"),
        *("a.example:99999999999999999999", ":443", "a b.example"),
    ],
)
def test_what_is_no_address_is_refused_with_the_reason(text: str) -> None:
    with pytest.raises(AddressInvalidError):
        parse_address(text)
