"""Who may open the page through Home Assistant, and who may not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
import socket
from typing import Any

import aiohttp
from aiohttp import TCPConnector
from multidict import CIMultiDict
import pytest

from hearthgate.home.hass.client.core import Core
from hearthgate.home.hass.client.supervisor import Supervisor
from hearthgate.home.hass.ingress import Ingress, host_for_browser
from hearthgate.home.web.server import WebServer
from hearthgate.shared.settings.kinds import Secret
from tests.harness.supervisor import TOKEN, StandInSupervisor
from tests.support.memory_home import MemoryHome

SUPERVISOR, OTHER = "127.0.0.2", "127.0.0.3"  # addresses that a peer connects from
USERS: list[dict[str, Any]] = [
    {"id": "owner", "is_owner": True, "is_active": True, "group_ids": []},
    {"id": "admin", "is_active": True, "group_ids": ["system-admin"]},
    {"id": "child", "is_active": True, "group_ids": ["system-users"]},
    {"id": "gone", "is_active": False, "group_ids": ["system-admin"]},
    {"id": "gone-owner", "is_owner": True, "is_active": False, "group_ids": []},
]


@dataclass
class Page:
    """A page behind ingress."""

    stand_in: StandInSupervisor
    port: int
    clock: list[float]

    async def get(
        self, *users: str, source: str = SUPERVISOR, path: str = "api/state"
    ) -> tuple[int, Any]:
        headers = CIMultiDict([("X-Remote-User-Id", user) for user in users])
        async with (
            aiohttp.ClientSession(connector=TCPConnector(local_addr=(source, 0))) as c,
            c.get(f"http://127.0.0.1:{self.port}/{path}", headers=headers) as got,
        ):
            return got.status, await got.json()

    async def post(self, **headers: str) -> int:
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        connector = TCPConnector(local_addr=(SUPERVISOR, 0))
        async with (
            aiohttp.ClientSession(connector=connector) as client,
            client.post(
                f"http://127.0.0.1:{self.port}/api/services",
                headers={"X-Remote-User-Id": "admin", **told},
                json={"name": "Lamp", "url": "http://192.0.2.1"},
            ) as got,
        ):
            return got.status


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    clock = [1000.0]
    async with StandInSupervisor() as stand_in:
        stand_in.commands["config/auth/list"] = lambda _: USERS
        async with Supervisor(stand_in.url, Secret(TOKEN)) as client:
            core = Core(client.core_socket, client.token)
            server = WebServer(
                MemoryHome(),
                Ingress(core, monotonic=lambda: clock[0]),
                host="127.0.0.1",
                port=0,
                own_host=host_for_browser,
                peers={SUPERVISOR},
            )
            await server.start()
            try:
                yield Page(stand_in, server.port, clock)
            finally:
                await server.stop()


@pytest.mark.parametrize("user", ["owner", "admin"])
async def test_administrators_are_let_in(page: Page, user: str) -> None:
    assert (await page.get(user))[0] == 200


@pytest.mark.parametrize("user", ["child", "gone", "gone-owner", "nobody", ""])
async def test_everybody_else_is_not(page: Page, user: str) -> None:
    assert (await page.get(user))[0] == 401


async def test_no_id_at_all_is_nobody(page: Page) -> None:
    assert (await page.get())[0] == 401


async def test_two_ids_are_nobody_because_one_of_them_is_made_up(page: Page) -> None:
    assert (await page.get("admin", "child"))[0] == 401
    assert (await page.get("admin", "admin"))[0] == 401


async def test_the_page_can_tell_a_user_that_administrators_are_needed(
    page: Page,
) -> None:
    status, session = await page.get("child", path="api/session")
    assert (status, session) == (200, {"authenticated": False, "login": "none"})


async def test_only_the_supervisor_may_connect_whatever_the_headers_say(
    page: Page,
) -> None:
    status, answer = await page.get("admin", source=OTHER)
    assert status == 403
    assert answer["error"]["code"] == "peer_unknown"
    assert (await page.get("admin", source=OTHER, path=""))[0] == 403
    assert (await page.get("admin", source=OTHER, path="api/health"))[0] == 403


async def test_nobody_is_let_in_while_core_does_not_answer(page: Page) -> None:
    page.stand_in.core_is_up = False
    status, answer = await page.get("admin")
    assert status == 503
    assert answer["error"]["code"] == "core_away"


async def test_a_list_that_cannot_be_read_lets_nobody_in(page: Page) -> None:
    page.stand_in.commands["config/auth/list"] = [{"id": "admin", "is_active": "yes"}]
    assert (await page.get("admin"))[0] == 503


async def test_the_list_is_asked_for_once_and_again_when_it_is_old(page: Page) -> None:
    for _ in range(3):
        await page.get("admin")
    assert len(page.stand_in.heard) == 1
    page.stand_in.commands["config/auth/list"] = []
    page.clock[0] += 16
    assert (await page.get("admin"))[0] == 401
    assert len(page.stand_in.heard) == 2


async def test_an_old_list_does_not_count_when_core_went_away(page: Page) -> None:
    await page.get("admin")
    page.clock[0] += 16
    page.stand_in.core_is_up = False
    assert (await page.get("admin"))[0] == 503


async def test_wishes_of_the_page_itself_pass_below_the_ingress_path(
    page: Page,
) -> None:
    status = await page.post(
        Origin="https://ha.example.com:8443", X_Forwarded_Host="ha.example.com:8443"
    )
    assert status == 201


@pytest.mark.parametrize("host", ["ha.example.com", "", "ha.example.com, evil.example"])
async def test_wishes_of_another_page_do_not(page: Page, host: str) -> None:
    assert await page.post(Origin="https://evil.example", X_Forwarded_Host=host) == 403


async def test_the_socket_listens_on_the_address_that_it_was_given(page: Page) -> None:
    with socket.socket() as other:
        other.settimeout(2)
        with pytest.raises(ConnectionRefusedError):
            other.connect(("127.0.0.77", page.port))
