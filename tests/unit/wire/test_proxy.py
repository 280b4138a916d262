"""PROXY headers, compared with the layout in HAProxy's proxy-protocol.txt §2.2."""

import pytest

from hearthgate.wire.alerts import Alert, alert_record
from hearthgate.wire.proxy import (
    PROXY_HEADER_MAX_BYTES,
    PROXY_HEADER_SIZES,
    proxy_header,
)

SIGNATURE = bytes.fromhex("0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A")
V4 = bytes.fromhex("C6 33 64 07"), bytes.fromhex("CB 00 71 05")
V6 = (
    bytes.fromhex("20010db8000000000000000000000007"),
    bytes.fromhex("20010db8000000000000000000000005"),
)


def test_ipv4_is_written_as_documented() -> None:
    header = proxy_header(("198.51.100.7", 50_000), ("203.0.113.5", 443))
    assert header == b"".join(
        (
            SIGNATURE,
            b"\x21",  # version 2, PROXY
            b"\x11",  # AF_INET, STREAM
            b"\x00\x0c",  # 12 bytes of addresses
            *V4,
            b"\xc3\x50",
            b"\x01\xbb",
        )
    )


def test_ipv6_is_written_as_documented() -> None:
    header = proxy_header(("2001:db8::7", 50_000), ("2001:db8::5", 443))
    assert header == b"".join(
        (SIGNATURE, b"\x21", b"\x21", b"\x00\x24", *V6, b"\xc3\x50", b"\x01\xbb")
    )


def test_a_mapped_address_is_written_as_ipv4() -> None:
    mapped = proxy_header(("::ffff:198.51.100.7", 1), ("::ffff:203.0.113.5", 2))
    assert mapped == proxy_header(("198.51.100.7", 1), ("203.0.113.5", 2))


def test_a_zone_is_left_out() -> None:
    scoped = proxy_header(("fe80::1%eth0", 1), ("fe80::2%eth0", 2))
    assert scoped == proxy_header(("fe80::1", 1), ("fe80::2", 2))


def test_two_families_are_written_as_ipv6() -> None:
    header = proxy_header(("198.51.100.7", 1), ("2001:db8::5", 2))
    assert header[13:16] == b"\x21\x00\x24"
    assert header[16:32] == bytes(10) + b"\xff\xff" + V4[0]


@pytest.mark.parametrize("text", ["", "somewhere", "203.0.113.5:443", "1.2.3"])
def test_what_is_no_address_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        proxy_header((text, 1), ("203.0.113.5", 2))


def test_headers_have_the_sizes_that_an_opening_may_name() -> None:
    v4 = proxy_header(("198.51.100.7", 1), ("203.0.113.5", 2))
    v6 = proxy_header(("2001:db8::7", 1), ("2001:db8::5", 2))
    assert (len(v4), len(v6)) == PROXY_HEADER_SIZES == (28, 52)
    assert len(v6) == PROXY_HEADER_MAX_BYTES


def test_alerts_are_records_of_seven_bytes() -> None:
    assert alert_record(Alert.UNRECOGNIZED_NAME) == bytes.fromhex("15 0303 0002 02 70")
    assert alert_record(Alert.NO_APPLICATION_PROTOCOL)[-1] == 120
    assert alert_record(Alert.INTERNAL_ERROR)[-1] == 80
