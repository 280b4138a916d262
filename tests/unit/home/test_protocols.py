"""Which protocols a user may let a service switch to."""

import pytest

from hearthgate.home.protocols import protocol_mistake


@pytest.mark.parametrize(
    "name", ["tailscale-control-protocol", "spdy/3.1", "imap", "x", "rtr.v1", "a" * 64]
)
def test_name_of_a_protocol_may_be_allowed(name: str) -> None:
    assert protocol_mistake(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *("h2c", "h2", "h3", "http", "http/1.1", "http/2.0", "https", "tls/1.2", "tls"),
        *(
            "h2c-14",
            "http2",
            "connect",
            "tls1.3",
            "connect-udp",
            "connect-ip",
            "connect-tcp",
            "websocket",
            "websocket/13",
        ),
    ],
)
def test_what_could_carry_requests_never_is(name: str) -> None:
    assert protocol_mistake(name) is not None


@pytest.mark.parametrize(
    "name",
    ["", "H2C", "a b", "a,b", "a\n", "x}", "a/", "/a", "a/b/c", "-a", "ä", "a" * 65, 1],
)
def test_what_is_no_name_is_refused(name: object) -> None:
    assert protocol_mistake(name) is not None
