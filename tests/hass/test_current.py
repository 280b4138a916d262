"""A home with the Home Assistant of this month. The tests build on one another."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import ClientSession, ClientTimeout, StreamReader, WSMsgType
import pytest

from tests.harness.hearthgate import Json, RelayProcess
from tests.harness.homeassistant import OWNER, PASSWORD
from tests.harness.usage import resident_kib
from tests.harness.webservice import WebService
from tests.hass.backups import Backup, digest
from tests.hass.conftest import HOSTNAME, Household

pytestmark = [
    pytest.mark.timeout(600),
    # The edge's next generation and Core after its restart are other processes.
    pytest.mark.keeps("processes", "threads"),
]
VISITOR = "127.0.0.57"  # the address of somebody on the Internet


async def test_without_trust_visitors_get_400_and_the_page_knows_why(
    current: Household,
) -> None:
    hass = await current.trust_state("refused")
    assert hass["version"] == "2026.11.0"
    assert hass["trust"]["by"] == "api"
    assert hass["trust"]["proxy"] == "127.0.0.1"
    assert hass["trust"]["changes"] == [
        {"name": "use_x_forwarded_for", "before": "false", "after": "true"},
        {"name": "trusted_proxies", "before": "", "after": "127.0.0.1"},
    ]
    assert hass["trust"]["login_attempts"] == -1
    shown = await current.expose()
    assert shown["exposure"]["status"]["phase"] == "live"
    assert (await current.scene.visit(HOSTNAME)).status == 400


async def test_one_click_lets_visitors_in_and_is_confirmed_through_the_public_name(
    current: Household,
) -> None:
    starts = current.core.starts
    async with current.scene.home.api() as api:
        begun = await api.call("POST", "hass/trust", {"login_attempts": 3})
    assert begun["trust"]["state"] == "restarting"
    hass = await current.trust_state("accepted")
    assert current.core.starts == starts + 1
    assert hass["trust"]["changes"] == []
    assert hass["trust"]["problem"] is None
    config = await current.core.ask("http/config")
    assert config["pending"] is None
    assert config["active_config_type"] == "stable"
    assert config["stable"]["trusted_proxies"] == ["127.0.0.1/32"]
    assert config["stable"]["login_attempts_threshold"] == 3
    assert config["stable"]["server_port"] == current.core.port
    assert (await current.scene.visit(HOSTNAME, "/manifest.json")).status == 200
    await current.core.is_running()  # for the tests that follow


async def test_the_public_address_is_offered_and_set_with_one_click(
    current: Household,
) -> None:
    hass = await current.hass()
    assert hass["external_url"] is None
    assert hass["public_url"].startswith(f"https://{HOSTNAME}")
    async with current.scene.home.api() as api:
        hass = await api.call("POST", "hass/public_url")
    assert hass["external_url"] == hass["public_url"].rstrip("/")
    assert (await current.core.ask("get_config"))["external_url"] == hass[
        "external_url"
    ]


async def log_in(household: Household, password: str, *, source: str) -> int:
    """Log in through the public hostname, as the page of Home Assistant does."""
    url = f"https://{HOSTNAME}:{household.scene.relay.https_port}/"
    async with household.scene.visitor(HOSTNAME, source=source) as visitor:
        async with visitor.post(
            "/auth/login_flow",
            json={
                "client_id": url,
                "handler": ["homeassistant", None],
                "redirect_uri": url,
            },
        ) as answer:
            if answer.status != 200:
                return answer.status
            flow = (await answer.json())["flow_id"]
        async with visitor.post(
            f"/auth/login_flow/{flow}",
            json={"client_id": url, "username": OWNER, "password": password},
        ) as answer:
            told = await answer.json() if answer.status == 200 else {}
            return 200 if told.get("type") == "create_entry" else answer.status or 0


async def test_the_owner_logs_in_through_the_public_hostname(
    current: Household,
) -> None:
    assert await log_in(current, PASSWORD, source="127.0.0.1") == 200


async def test_the_websocket_of_home_assistant_outlives_a_change_of_the_edge(
    current: Household,
) -> None:
    scene = current.scene
    async with (
        scene.visitor(HOSTNAME) as visitor,
        visitor.ws_connect("/api/websocket") as socket,
    ):
        first = await socket.receive_json()
        assert first["type"] == "auth_required"
        await socket.send_json(
            {"type": "auth", "access_token": await owner_token(current)}
        )
        assert (await socket.receive_json())["type"] == "auth_ok"
        before = scene.home.edge_pids()
        with WebService(title="Lamp") as lamp:
            other = await scene.expose(lamp.url, "Lamp")
            await socket.send_json({"id": 1, "type": "ping"})
            answer = await socket.receive_json()
            assert answer["type"] == "pong"
            await scene.remove(other["id"])
        assert set(scene.home.edge_pids()) != set(before)
        await socket.send_json({"id": 2, "type": "ping"})
        frame = await socket.receive()
        assert frame.type is WSMsgType.TEXT


async def owner_token(household: Household) -> str:
    async with ClientSession() as client:
        return await household.core.token(client)


async def test_wrong_logins_ban_the_visitor_and_nobody_else(
    current: Household,
) -> None:
    for _ in range(3):
        await log_in(current, "wrong", source=VISITOR)
    banned = await current.scene.visit(HOSTNAME, "/manifest.json", source=VISITOR)
    assert banned.status == 403
    assert VISITOR in (current.core.folder / "ip_bans.yaml").read_text()
    assert "127.0.0.1:" not in (current.core.folder / "ip_bans.yaml").read_text()
    other = await current.scene.visit(HOSTNAME, "/manifest.json", source="127.0.0.58")
    assert other.status == 200
    assert f"from {VISITOR}" in current.core.log


async def test_a_backup_of_one_gibibyte_arrives_and_costs_nobody_memory(
    current: Household,
) -> None:
    """Core itself reads it, knows it afterwards, and has every byte of it."""
    scene = current.scene
    backup = Backup("b1690b1b", 1024)
    pids = [scene.relay.pid, scene.home.pid, *scene.home.edge_pids()]
    before = [resident_kib(one) for one in pids]
    most = list(before)

    async def watched() -> AsyncIterator[bytes]:
        async for block in backup.body():
            most[:] = map(max, most, map(resident_kib, pids))
            yield block

    timeout = ClientTimeout(total=400)
    async with (
        scene.visitor(HOSTNAME) as visitor,
        visitor.post(
            "/api/backup/upload?agent_id=backup.local",
            data=watched(),
            headers={
                "Authorization": f"Bearer {await owner_token(current)}",
                "Content-Type": backup.content_type,
                "Content-Length": str(backup.body_size),
            },
            timeout=timeout,
        ) as answer,
    ):
        told = await answer.text()
        assert answer.status == 201, told
        assert (await answer.json())["backup_id"] == backup.backup_id
    known = await current.core.ask("backup/info")
    agents = [one["agents"]["backup.local"] for one in known["backups"]]
    assert [one["size"] for one in agents] == [backup.size]
    (file,) = (current.core.folder / "backups").glob("*.tar")
    with file.open("rb") as opened:
        assert await asyncio.to_thread(digest, opened) == backup.digest()
    # A part of the body in memory would be hundreds of times as much.
    grown = [now - was for was, now in zip(before, most, strict=True)]
    assert max(grown) < 64 * 1024, grown


async def test_a_camera_streams_on_over_a_change_of_the_edge(
    current: Household,
) -> None:
    """A camera at home, Core in front of it: every frame comes, and in its order."""
    scene = current.scene
    entity = await add_camera(current, f"{scene.web.url}mjpeg?interval=0.02")
    headers = {"Authorization": f"Bearer {await owner_token(current)}"}
    path = f"/api/camera_proxy_stream/{entity}"
    async with (
        scene.visitor(HOSTNAME) as visitor,
        visitor.get(path, headers=headers) as answer,
    ):
        assert answer.status == 200
        assert answer.content_type == "multipart/x-mixed-replace"
        before = scene.home.edge_pids()
        numbers = [await frame(answer.content) for _ in range(50)]
        with WebService(title="Lamp") as lamp:
            other = await scene.expose(lamp.url, "Lamp")
            assert set(scene.home.edge_pids()) > set(before)  # the old one drains
            numbers += [await frame(answer.content) for _ in range(50)]
            await scene.remove(other["id"])
        numbers += [await frame(answer.content) for _ in range(100)]
    first = numbers[0]
    assert numbers == list(range(first, first + 200))


async def frame(content: StreamReader) -> int:
    """Return the number of the next frame, read whole."""
    assert await content.readline() == b"--frame\r\n"
    assert await content.readline() == b"Content-Type: image/jpeg\r\n"
    size = int((await content.readline()).partition(b": ")[2])
    assert await content.readline() == b"\r\n"
    picture = await content.readexactly(size)
    await content.readexactly(2)
    number = picture[2:10]
    assert picture == b"\xff\xd8" + number * ((size - 4) // 8) + b"\xff\xd9"
    return int(number, 16)


async def add_camera(household: Household, url: str) -> str:
    """Add a camera; return its entity."""
    wanted = {"name": "Front door", "mjpeg_url": url, "verify_ssl": True}
    await add_integration(household, "mjpeg", wanted)
    return "camera.front_door"


async def add_integration(household: Household, domain: str, wanted: Json) -> None:
    """Add an integration of one step, as its owner does."""
    flows = f"{household.core.url}/api/config/config_entries/flow"
    headers = {"Authorization": f"Bearer {await owner_token(household)}"}
    async with ClientSession(headers=headers) as client:
        async with client.post(flows, json={"handler": domain}) as answer:
            flow = (await answer.json())["flow_id"]
        async with client.post(f"{flows}/{flow}", json=wanted) as answer:
            told = await answer.json()
            assert told["type"] == "create_entry", told


async def test_the_entities_are_there_and_a_switch_is_one(current: Household) -> None:
    """Through Home Assistant's own MQTT integration, and a real broker."""
    broker = current.supervisor.broker
    assert broker is not None
    wanted: Json = {"broker": broker["host"], "port": broker["port"]}
    wanted["other_settings"] = {"set_client_cert": False, "set_ca_cert": "off"}
    await add_integration(current, "mqtt", wanted)
    lamp = await current.scene.expose(
        current.scene.web.url, "Lamp", hass_may_switch=True
    )
    states = await states_with(current, "switch.hearthgate_lamp", "on")
    # Nobody has let Home Assistant switch itself.
    assert states["binary_sensor.hearthgate_home_assistant"]["state"] == "on"
    assert "switch.hearthgate_home_assistant" not in states
    relay = states["binary_sensor.hearthgate_relay_127_0_0_1"]
    assert (relay["state"], relay["attributes"]["device_class"]) == (
        "on",
        "connectivity",
    )
    assert states["binary_sensor.hearthgate_lamp_problem"]["state"] == "off"
    assert int(states["sensor.hearthgate_visitors"]["state"]) >= 0
    sent = states["sensor.hearthgate_home_assistant_sent"]
    assert float(sent["state"]) > 0  # what all the tests before have loaded
    assert sent["attributes"]["device_class"] == "data_size"
    assert sent["attributes"]["state_class"] == "total_increasing"
    assert sent["attributes"]["unit_of_measurement"] == "B"
    await current.core.ask(
        "call_service",
        domain="switch",
        service="turn_off",
        target={"entity_id": "switch.hearthgate_lamp"},
    )
    async with current.scene.home.api() as api:
        await api.settled(lamp["id"], ("off",))
    await states_with(current, "switch.hearthgate_lamp", "off")
    await current.scene.remove(lamp["id"])


async def states_with(household: Household, entity: str, state: str) -> dict[str, Json]:
    """Wait until an entity has a state; return all states by entity."""
    async with asyncio.timeout(90):
        while True:
            listed = await household.core.ask("get_states")
            found = {one["entity_id"]: one for one in listed}
            if entity in found and found[entity]["state"] == state:
                return found
            await asyncio.sleep(0.2)


async def test_a_person_is_notified_of_what_needs_one_until_it_is_solved(
    current: Household,
) -> None:
    scene = current.scene
    with RelayProcess() as other:
        code = await asyncio.to_thread(other.invite, "other.example.com", "cottage")
        async with scene.home.api() as api:
            relay = await api.call("POST", "relays", {"code": code})
        await asyncio.to_thread(other.run, "relay", "revoke", "cottage")
        told = await notified(current, f"hearthgate_relay_{relay['id']}", is_there=True)
        assert told["title"] == "The relay 127.0.0.1 refuses this home"
        assert "Open Hearthgate in the sidebar." in told["message"]
        async with scene.home.api() as api:
            await api.call("DELETE", f"relays/{relay['id']}")
        await notified(current, f"hearthgate_relay_{relay['id']}", is_there=False)


async def notified(household: Household, notice_id: str, *, is_there: bool) -> Json:
    """Wait until Home Assistant shows a notification, or does not any more."""
    async with asyncio.timeout(120):
        while True:
            listed = await household.core.ask("persistent_notification/get")
            found: dict[str, Json] = {one["notification_id"]: one for one in listed}
            if (notice_id in found) == is_there:
                return found.get(notice_id, {})
            await asyncio.sleep(0.2)
