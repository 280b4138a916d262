"""A home as an add-on: the real agent beside a stand-in for the Supervisor."""

import asyncio
from collections.abc import Iterator
import json
from pathlib import Path
import socket

import aiohttp
from aiohttp import ClientSession, TCPConnector
import pytest

from tests.harness.hearthgate import HomeProcess, Json
from tests.harness.mosquitto import mosquitto
from tests.harness.ports import free_port
from tests.harness.supervisor import StandInSupervisor, in_thread
from tests.harness.webservice import WebService

PEER = "127.0.0.2"
ADMIN = {"id": "admin", "is_active": True, "group_ids": ["system-admin"]}


@pytest.fixture(scope="module")
def core() -> Iterator[WebService]:
    """Stand in for Home Assistant's own page."""
    with WebService(title="Home Assistant") as web:
        yield web


@pytest.fixture
def stand_in(core: WebService) -> Iterator[StandInSupervisor]:
    made = StandInSupervisor(ingress_port=free_port(), core_port=core.port)
    made.commands["config/auth/list"] = [ADMIN]
    with in_thread(made) as running:
        yield running


@pytest.fixture
def home(stand_in: StandInSupervisor) -> Iterator[HomeProcess]:
    with add_on(stand_in) as running:
        yield running


def add_on(stand_in: StandInSupervisor) -> HomeProcess:
    made = HomeProcess({**stand_in.environment, "HEARTHGATE_HASS__INGRESS_PEER": PEER})
    made.data.mkdir()
    options = {"log_level": "debug", "from_another_version": 1}
    (made.data / "options.json").write_text(json.dumps(options))
    return made


async def state_for(
    stand_in: StandInSupervisor, user: str, *, source: str = PEER
) -> tuple[int, Json]:
    connector = TCPConnector(local_addr=(source, 0))
    url = f"http://127.0.0.1:{stand_in.own['ingress_port']}/api/state"
    async with (
        ClientSession(connector=connector) as client,
        client.get(url, headers={"X-Remote-User-Id": user}) as got,
    ):
        return got.status, await got.json()


async def test_home_assistant_is_there_and_only_administrators_see_it(
    stand_in: StandInSupervisor, home: HomeProcess
) -> None:
    async with home.api() as api:
        shown = await api.service(lambda one: one["id"] == "home-assistant")
    assert shown["kind"] == "home-assistant"
    assert shown["port"] == stand_in.core["port"]
    assert shown["reachable"] is True
    status, state = await state_for(stand_in, "admin")
    assert status == 200
    assert [one["id"] for one in state["services"]] == ["home-assistant"]
    assert (await state_for(stand_in, "child"))[0] == 401
    assert (await state_for(stand_in, "admin", source="127.0.0.3"))[0] == 403
    assert "no options here, and they are left out: 'from_another_version'" in home.log
    assert " DEBUG " in home.log or "debug" in home.log.lower()


async def test_the_page_has_no_password_of_its_own(
    stand_in: StandInSupervisor, home: HomeProcess
) -> None:
    del stand_in
    assert "password for the page" not in home.log
    assert not (home.data / "password").exists()


def answers(path: Path) -> bool:
    """Tell whether somebody listens, which is a moment after the file is there."""
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


async def test_a_home_starts_without_its_supervisor_and_has_a_page_once_it_is_back(
    stand_in: StandInSupervisor,
) -> None:
    """The command line answers at once; visitors never depend on the Supervisor."""
    port = stand_in.own.pop("ingress_port")  # an answer that can't be used
    home = add_on(stand_in)
    home._wait_until_ready = lambda: home._wait(  # type: ignore[assignment,method-assign]
        lambda: answers(home.socket) or None
    )
    with home:
        async with home.api() as api:
            assert (await api.state())["relays"] == []
            stand_in.own["ingress_port"] = port
            await api.service(lambda one: one["id"] == "home-assistant")
        async with asyncio.timeout(60):
            while "The page is at" not in home.log:  # noqa: ASYNC110  no event
                await asyncio.sleep(0.1)
        assert (await state_for(stand_in, "admin"))[0] == 200


async def test_settings_that_were_set_aside_are_told_in_home_assistant(
    stand_in: StandInSupervisor,
) -> None:
    """In the language of the house; what an earlier start told is taken off."""
    told: list[Json] = []
    stand_in.commands |= {
        "persistent_notification/get": [{"notification_id": "hearthgate_failed_lamp"}],
        "get_config": {"language": "de"},
        "call_service": told.append,
    }
    home = add_on(stand_in)
    (home.data / "state.yaml").write_text("version: [")
    with home:
        async with asyncio.timeout(60):
            while len(told) < 2:  # noqa: ASYNC110  no event
                await asyncio.sleep(0.1)
    gone, new = told
    assert gone["service"] == "dismiss"
    assert gone["service_data"] == {"notification_id": "hearthgate_failed_lamp"}
    assert (new["domain"], new["service"]) == ("persistent_notification", "create")
    assert new["service_data"]["notification_id"] == "hearthgate_damage"
    assert new["service_data"]["title"] == (
        "Hearthgate konnte seine Einstellungen nicht lesen"
    )
    assert "state" in new["service_data"]["message"]


async def test_a_page_behind_ingress_keeps_its_websocket(
    stand_in: StandInSupervisor, home: HomeProcess
) -> None:
    del home
    connector = TCPConnector(local_addr=(PEER, 0))
    url = f"http://127.0.0.1:{stand_in.own['ingress_port']}/api/live"
    headers = {
        "X-Remote-User-Id": "admin",
        "Origin": "https://ha.example.com",
        "X-Forwarded-Host": "ha.example.com",
    }
    async with ClientSession(connector=connector) as client:
        async with client.ws_connect(url, headers=headers) as live:
            assert (await live.receive_json())["type"] == "state"
        headers["Origin"] = "https://evil.example"
        with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
            await client.ws_connect(url, headers=headers)
        assert refused.value.status == 403


@pytest.mark.parametrize("host", ["a..b", "x" * 64, "a b", "", "ü\x00.example", ".", 7])
async def test_an_mqtt_broker_with_an_impossible_name_ends_nothing(
    stand_in: StandInSupervisor, host: object
) -> None:
    """It ended agent, edge and tunnels; five such ends stopped the container."""
    stand_in.broker = {"host": host, "port": 1883, "ssl": False}
    with add_on(stand_in) as home:
        pid, edge = home.pid, home.edge_pids()
        async with home.api() as api:
            (problem,) = await api.until(
                lambda state: state["home"]["problems"] or None
            )
            assert problem["code"] == "supervisor_away"
            assert "/services/mqtt" in problem["message"]
            assert problem["retry_at"] is not None
        assert (home.pid, home.edge_pids()) == (pid, edge)


async def test_a_broker_is_found_once_the_supervisor_names_one_that_can_be(
    stand_in: StandInSupervisor,
) -> None:
    stand_in.broker = {"host": "a..b", "port": 1883, "ssl": False}
    with mosquitto() as port, add_on(stand_in) as home:
        async with home.api() as api:
            await api.until(lambda state: state["home"]["problems"] or None)
            stand_in.broker = {"host": "127.0.0.1", "port": port, "ssl": False}
            await api.until(
                lambda state: None if state["home"]["problems"] else state,
                deadline_s=120,
            )
        assert f"Entities are at the broker 127.0.0.1:{port}" in home.log
