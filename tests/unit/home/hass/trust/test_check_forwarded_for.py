"""What Core's front door says to somebody who names a visitor."""

from collections.abc import AsyncIterator
import dataclasses

import pytest

from hearthgate.home.hass.errors import CoreAwayError
from hearthgate.home.hass.trust.check_forwarded_for import (
    ForwardedForCheck,
    check_forwarded_for,
)
from tests.support.hass_parts import Door


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    async with Door().open() as opened:
        yield opened


async def test_it_names_a_visitor_as_the_edge_does_and_reads_the_status(
    door: Door,
) -> None:
    found = await check_forwarded_for(door.target)
    assert found == ForwardedForCheck(400, "127.0.0.1")
    lines = door.heard[0].split("\r\n")
    assert lines[0] == "GET /manifest.json HTTP/1.1"
    assert lines.count("X-Forwarded-For: 203.0.113.1") == 1
    assert lines.count("X-Forwarded-Proto: https") == 1
    door.status = 200
    assert (await check_forwarded_for(door.target)).status == 200


@pytest.mark.parametrize("raw", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 20\r\n"])
async def test_what_is_no_http_is_no_core(door: Door, raw: bytes) -> None:
    door.raw = raw
    with pytest.raises(CoreAwayError):
        await check_forwarded_for(door.target)


async def test_a_closed_port_is_a_core_that_is_away(door: Door) -> None:
    closed = dataclasses.replace(door.target, port=1)
    with pytest.raises(CoreAwayError):
        await check_forwarded_for(closed)


@pytest.mark.parametrize(
    ("source", "proxy"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("172.30.32.1", "172.30.32.1"),
        ("172.30.33.7", "172.30.33.0/24"),
        ("::1", "::1"),
    ],
)
def test_an_add_on_with_another_address_at_every_start_is_trusted_by_its_network(
    source: str, proxy: str
) -> None:
    assert ForwardedForCheck(400, source).proxy == proxy
