"""Kinds of values: what people write for times, sizes, addresses, yes and no."""

from collections.abc import Callable
import contextlib
from enum import StrEnum
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.shared.settings import kinds as values
from hearthgate.shared.settings.kinds import HostPort

Reader = Callable[[object], object]


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


GOOD = [
    (values.read_duration, "90s", 90.0),
    (values.read_duration, "24h", 86400.0),
    (values.read_duration, "1h30m", 5400.0),
    (values.read_duration, "500ms", 0.5),
    (values.read_duration, "1.5 m", 90.0),
    (values.read_duration, 90, 90.0),
    (values.read_duration, "2D", 172800.0),
    (values.read_size, "64KiB", 65536),
    (values.read_size, "64 kB", 64000),
    (values.read_size, "1.5G", 1_500_000_000),
    (values.read_size, "2Mi", 2 * 1024 * 1024),
    (values.read_size, 4096, 4096),
    (values.read_size, "10b", 10),
    (values.read_bool, True, True),
    (values.read_bool, "Yes", True),
    (values.read_bool, "OFF", False),
    (values.read_bool, 0, False),
    (values.read_bool, "1", True),
    (values.read_host, "NAS.Local", "nas.local"),
    (values.read_host, "[2001:DB8::1]", "2001:db8::1"),
    (values.read_host, "::", "::"),
    (values.read_host_port, "192.0.2.1:443", HostPort("192.0.2.1", 443)),
    (values.read_host_port, "[::1]:53", HostPort("::1", 53)),
    (values.read_host_port, ":443", HostPort("", 443)),
    (values.host_port(53).read, "dns.example", HostPort("dns.example", 53)),
    (values.host_port(53).read, "[::1]", HostPort("::1", 53)),
    (values.one_of(Colour).read, "RED", Colour.RED),
    (values.list_of(values.PORT).read, "80, 443,", (80, 443)),
    (values.list_of(values.PORT).read, [80, "443"], (80, 443)),
    (values.list_of(values.PORT).read, "", ()),
    (values.PATH.read, "/data", Path("/data")),
    (values.EMAIL.read, "me@example.com", "me@example.com"),
    (values.URL.read, "https://ca.example/dir", "https://ca.example/dir"),
]
BAD = [
    (values.read_duration, "soon"),
    (values.read_duration, "5x"),
    (values.read_duration, "-5s"),
    (values.read_duration, "5s3"),
    (values.read_duration, ""),
    (values.read_duration, True),
    (values.read_duration, "inf"),
    (values.read_duration, "1e3"),
    (values.read_duration, None),
    (values.read_duration, ["5s"]),
    (values.duration(1, 10).read, "11s"),
    (values.read_size, "64iB"),
    (values.read_size, "many"),
    (values.read_size, "-1"),
    (values.read_size, True),
    (values.size(1, 10).read, "11"),
    (values.read_bool, "maybe"),
    (values.read_bool, ""),
    (values.read_bool, 2),
    (values.read_host, "192.168.1.300"),
    (values.read_host, "a b"),
    (values.read_host, "-a"),
    (values.read_host, ""),
    (values.read_host, "x" * 64),
    (values.read_host_port, "192.0.2.1"),
    (values.read_host_port, "::1:443"),
    (values.read_host_port, "host:"),
    (values.read_host_port, "host:65536"),
    (values.read_host_port, "host:-1"),
    (values.read_host_port, "[::1"),
    (values.PORT.read, 0),
    (values.PORT.read, 65536),
    (values.PORT.read, True),
    (values.PORT.read, "8 0"),
    (values.PORT.read, "\u0661"),
    (values.PORT.read, 80.5),
    (values.one_of(Colour).read, "green"),
    (values.EMAIL.read, "me"),
    (values.URL.read, "ftp://ca.example/"),
    (values.URL.read, "https://user@ca.example/"),
    (values.SECRET.read, ""),
    (values.SECRET.read, "a\nb"),
    (values.PATH.read, ""),
]


@pytest.mark.parametrize(("read", "given_", "expected"), GOOD)
def test_a_value_is_read(read: Reader, given_: object, expected: object) -> None:
    found = read(given_)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("read", "given_"), BAD)
def test_a_wrong_value_is_refused(read: Reader, given_: object) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 (the loader words it)
        read(given_)


@given(
    st.one_of(st.text(), st.integers(), st.floats(), st.none(), st.lists(st.text())),
    st.sampled_from(
        [
            values.read_duration,
            values.read_size,
            values.read_bool,
            values.read_host,
            values.read_host_port,
            values.PORT.read,
            values.PATH.read,
            values.list_of(values.HOST).read,
        ]
    ),
)
def test_anything_gives_a_value_or_a_value_error(given_: object, read: Reader) -> None:
    with contextlib.suppress(ValueError):
        read(given_)
