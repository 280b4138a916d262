"""Addresses of services as people type them, and as attackers would."""

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.home.model import Scheme, Target
from hearthgate.home.state.targets import InvalidTargetError, read_target

HTTP, HTTPS = Scheme.HTTP, Scheme.HTTPS

GOOD = {
    "192.168.1.20:3000": Target(HTTP, "192.168.1.20", 3000),
    "192.168.1.20": Target(HTTP, "192.168.1.20", 80),
    " http://192.168.1.20 ": Target(HTTP, "192.168.1.20", 80),
    "https://192.168.1.20": Target(HTTPS, "192.168.1.20", 443),
    "https://192.168.1.20:8443/": Target(HTTPS, "192.168.1.20", 8443),
    "192.168.1.20:443": Target(HTTPS, "192.168.1.20", 443),
    "http://192.168.1.20:443": Target(HTTP, "192.168.1.20", 443),
    "HTTP://NAS.Local:5000": Target(HTTP, "nas.local", 5000),
    "nas.local.": Target(HTTP, "nas.local", 80),
    "nas": Target(HTTP, "nas", 80),
    "my_nas:5000": Target(HTTP, "my_nas", 5000),
    "localhost:8123": Target(HTTP, "localhost", 8123),
    "127.0.0.1:8123": Target(HTTP, "127.0.0.1", 8123),
    "[fd00::1]:8080": Target(HTTP, "fd00::1", 8080),
    "http://[FD00:0:0::1]/": Target(HTTP, "fd00::1", 80),
    "fd00::1": Target(HTTP, "fd00::1", 80),
    "[::1]": Target(HTTP, "::1", 80),
    "[::ffff:192.168.1.20]:80": Target(HTTP, "192.168.1.20", 80),
    "[2001:db8::7]:443": Target(HTTPS, "2001:db8::7", 443),
    "100.64.0.1:80": Target(HTTP, "100.64.0.1", 80),
    "8.8.8.8:80": Target(HTTP, "8.8.8.8", 80),
}
BAD = {
    "": "empty",
    "   ": "empty",
    "x" * 3000: "too long",
    "http://": "no valid host",
    ":80": "no valid host",
    "ftp://nas": "http, https, tcp or udp",
    "javascript://nas": "http, https, tcp or udp",
    "tcp://nas": "tcp needs a port",
    "javascript:alert(1)": "port",
    "http://user@nas": "user name",
    "http://user:secret@nas": "user name",
    "http://nas@evil.example:80": "user name",
    "http://nas/path": "leave away",
    "nas:80/a": "leave away",
    "http://nas?x=1": "leave away",
    "http://nas/#x": "leave away",
    "http://nas#": "leave away",
    "http://nas//": "leave away",
    "http://nas\\@evil": "characters",
    "http://nas evil": "characters",
    "http://nas\r\nHost: x": "characters",
    "http://nas\x00": "characters",
    "nas:0": "port",
    "nas:65536": "port",
    "nas:-1": "port",
    "nas:": "port",
    "nas:80:90": "IPv6",
    "nas:٨٠": "port",
    "[::1": "IPv6",
    "[::1]x": "IPv6",
    "[nas]:80": "IPv6",
    "fd00:::1": "IPv6",
    "192.168.1.300": "address, but is none",
    "192.168.1": "address, but is none",
    "127.1": "address, but is none",
    "2130706433": "address, but is none",
    "0x7f000001": "address, but is none",
    "0x7f.1": "address, but is none",
    "0177.0.0.1": "address, but is none",
    "169.254.169.254": "link-local",
    "[fe80::1]:80": "link-local",
    "[fe80::1%25eth0]:80": "link-local",
    "[::ffff:169.254.169.254]": "link-local",
    "0.0.0.0:80": "no single device",
    "[::]:80": "no single device",
    "224.0.0.251": "no single device",
    "[ff02::fb]": "no single device",
    "255.255.255.255": "reserved",
    "240.0.0.1": "reserved",
    "-nas": "no valid host",
    "nas..local": "no valid host",
    "a" * 64 + ".local": "no valid host",
    "müller.local": "no spelling that all programs know",
    "nas.local..": "no valid host",
    "*.local": "no valid host",
}


@pytest.mark.parametrize(("text", "target"), GOOD.items(), ids=list(GOOD))
def test_an_address_is_read(text: str, target: Target) -> None:
    assert read_target(text) == target


@pytest.mark.parametrize("target", GOOD.values(), ids=str)
def test_what_we_write_we_read(target: Target) -> None:
    assert read_target(target.url) == target


@pytest.mark.parametrize(
    ("text", "reason"), BAD.items(), ids=[repr(text)[:30] for text in BAD]
)
def test_what_is_no_address_says_why(text: str, reason: str) -> None:
    with pytest.raises(InvalidTargetError) as caught:
        read_target(text)
    assert reason in str(caught.value)


def test_a_password_in_an_address_is_not_repeated() -> None:
    with pytest.raises(InvalidTargetError) as caught:
        read_target("http://user:secret@nas")
    assert "secret" not in str(caught.value)
    assert "secret" not in str(caught.value.as_dict())


@given(st.text())
def test_any_text_is_a_target_that_reads_back_or_refused(text: str) -> None:
    try:
        target = read_target(text)
    except InvalidTargetError:
        return
    assert read_target(target.url) == target
