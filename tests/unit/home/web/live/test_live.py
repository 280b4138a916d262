"""Live pages: complete, bounded, and never waited for."""

import asyncio
import contextlib
import socket
from typing import Any

import aiohttp
from aiohttp import WSMsgType, WSServerHandshakeError
import pytest

from hearthgate.home.state.targets import read_target
from hearthgate.home.web.live.feed import RESYNC, Feed
from hearthgate.home.web.login.login import COOKIE
from tests.unit.home.web.conftest import Running

TARGET = read_target("192.168.1.20:3000")


async def next_message(page: aiohttp.ClientWebSocketResponse) -> dict[str, Any]:
    message: dict[str, Any] = await page.receive_json(timeout=30)
    return message


async def test_the_state_comes_first_and_events_follow(owner: Running) -> None:
    await owner.home.add_service("Lamp", TARGET)
    async with owner.browser.ws_connect("/api/live") as page:
        first = await next_message(page)
        assert first == {"type": "state", "state": owner.home.snapshot()}
        await owner.home.add_service("Fan", TARGET)
        assert (await next_message(page))["service"]["name"] == "Fan"
        await owner.home.remove_service("s-1")
        assert await next_message(page) == {"type": "service_removed", "id": "s-1"}


async def test_every_page_gets_every_event(owner: Running) -> None:
    async with (
        owner.browser.ws_connect("/api/live") as one,
        owner.browser.ws_connect("/api/live") as two,
    ):
        for page in (one, two):
            await next_message(page)
        await owner.home.add_service("Lamp", TARGET)
        for page in (one, two):
            assert (await next_message(page))["type"] == "service"


async def test_a_page_too_many_is_told_and_room_comes_back(owner: Running) -> None:
    pages = [await owner.browser.ws_connect("/api/live") for _ in range(4)]
    with pytest.raises(WSServerHandshakeError) as caught:
        await owner.browser.ws_connect("/api/live")
    assert caught.value.status == 503
    await pages[0].close()
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(WSServerHandshakeError):
                pages.append(await owner.browser.ws_connect("/api/live"))
                break
    for page in pages:
        await page.close()


async def test_logging_out_ends_the_live_page_at_once(owner: Running) -> None:
    owner.server._live._check_seconds = 3600.0
    async with owner.browser.ws_connect("/api/live") as page:
        await next_message(page)
        await owner.browser.post("/api/logout")
        message = await page.receive(timeout=30)
        assert message.type == WSMsgType.CLOSE
        assert message.data == 1008


async def test_another_password_ends_the_live_page_before_its_next_event(
    owner: Running,
) -> None:
    async with owner.browser.ws_connect("/api/live") as page:
        await next_message(page)
        owner.login._sessions._expires.clear()
        await owner.home.add_service("Secret lamp", TARGET)
        message = await page.receive(timeout=30)
        assert message.type == WSMsgType.CLOSE


async def test_what_a_page_says_changes_nothing(owner: Running) -> None:
    async with owner.browser.ws_connect("/api/live") as page:
        await next_message(page)
        for _ in range(100):
            await page.send_str('{"type": "state", "state": {}}')
        await page.send_bytes(b"\x00\xff")
        await owner.home.add_service("Lamp", TARGET)
        assert (await next_message(page))["type"] == "service"


async def test_a_page_that_sends_a_flood_in_one_message_is_closed(
    owner: Running,
) -> None:
    async with owner.browser.ws_connect("/api/live") as page:
        await next_message(page)
        await page.send_str("x" * 100_000)
        message = await page.receive(timeout=30)
        assert message.type in {WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.ERROR}
    async with owner.browser.get("/api/state") as got:
        assert got.status == 200


async def test_a_bug_in_the_state_closes_this_page_only(owner: Running) -> None:
    async with owner.browser.ws_connect("/api/live") as page:
        await next_message(page)
        owner.home.feed.publish({"no": "type"})
        message = await page.receive(timeout=30)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1011)
    async with owner.browser.ws_connect("/api/live") as page:
        assert (await next_message(page))["type"] == "state"


async def test_stopping_tells_the_pages_to_come_back(owner: Running) -> None:
    async with owner.browser.ws_connect("/api/live") as page:
        await next_message(page)
        async with asyncio.timeout(30):
            stopping = asyncio.create_task(owner.server.stop())
            message = await page.receive(timeout=30)
            assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
            await stopping


async def sleeping_page(owner: Running) -> socket.socket:
    """Open a live page that never reads what it is sent."""
    page = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    page.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    page.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(page, ("127.0.0.1", owner.server.port))
    token = next(iter(owner.browser.cookie_jar)).value
    lines = [
        "GET /api/live HTTP/1.1",
        "Host: x",
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        f"Cookie: {COOKIE}={token}",
    ]
    await loop.sock_sendall(page, ("\r\n".join(lines) + "\r\n\r\n").encode())
    assert b"101" in await loop.sock_recv(page, 64)
    return page


async def flood(owner: Running, events: int) -> None:
    """Publish large events as fast as the loop lets the pages run."""
    for number in range(events):
        owner.home.feed.publish(
            {"type": "service", "service": {"id": str(number), "fill": "x" * 20_000}}
        )
        await asyncio.sleep(0)


async def test_a_page_that_does_not_read_costs_no_more_than_its_queue(
    owner: Running,
) -> None:
    with await sleeping_page(owner):
        async with owner.browser.ws_connect("/api/live") as awake:
            await next_message(awake)
            await flood(owner, 2000)
            queues = list(owner.home.feed._subscriptions)
            assert len(queues) == 2
            assert all(queue.qsize() <= 8 for queue in queues)
            await owner.home.add_service("Lamp", TARGET)
            assert (await next_message(awake))["type"] in {"service", "state"}


async def test_a_page_that_fell_behind_gets_the_whole_state(owner: Running) -> None:
    async with owner.browser.ws_connect("/api/live") as page:
        await next_message(page)
        for number in range(100):  # without giving the page a turn
            owner.home.feed.publish({"type": "service_removed", "id": f"s-{number}"})
        await owner.home.add_service("Last", TARGET)
        message = await next_message(page)
        assert message["type"] == "state"
        async with asyncio.timeout(30):
            while "Last" not in str(message):
                message = await next_message(page)


async def test_a_page_that_sleeps_too_long_is_dropped(owner: Running) -> None:
    owner.server._live._send_seconds = 0.05
    owner.server._live._heartbeat_seconds = 600  # or this drops it, later
    with await sleeping_page(owner):
        async with asyncio.timeout(60):
            while owner.home.feed._subscriptions:
                await flood(owner, 50)
    assert not owner.server._live._pages


def test_a_full_queue_asks_for_the_state_and_then_goes_on() -> None:
    feed = Feed(max_events=3)
    with feed.subscribe() as events:
        for number in range(5):
            feed.publish({"type": "relay_removed", "id": str(number)})
        found = [events.get_nowait() for _ in range(events.qsize())]
    assert found == [{"type": RESYNC}, {"type": "relay_removed", "id": "4"}]


def test_a_page_that_left_gets_nothing_more() -> None:
    feed = Feed()
    with feed.subscribe() as events:
        pass
    feed.publish({"type": "relay_removed", "id": "x"})
    assert events.empty()
