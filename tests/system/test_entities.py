"""Entities over a real Mosquitto: discovery, switches both ways, availability."""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
import json
from typing import Any

import aiomqtt
import pytest

from tests.harness.hearthgate import HomeProcess, Json
from tests.harness.mosquitto import mosquitto
from tests.harness.scene import Scene
from tests.system import test_forwards_udp as udp

pytestmark = pytest.mark.keeps("processes")


@pytest.fixture(scope="module")
def broker() -> Iterator[int]:
    """Share a Mosquitto; gives its port."""
    with mosquitto() as port:
        yield port


@contextlib.asynccontextmanager
async def listening(port: int) -> AsyncIterator[tuple[aiomqtt.Client, dict[str, Any]]]:
    """Hear everything; the dict has the last payload of each topic."""
    heard: dict[str, Any] = {}
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe("#")

        async def listen() -> None:
            async for message in client.messages:
                raw = message.payload
                heard[str(message.topic)] = raw.decode() if raw else ""

        task = asyncio.create_task(listen(), name="listener")
        try:
            yield client, heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(heard: dict[str, Any], topic: str, value: str) -> None:
    async with asyncio.timeout(60):
        while heard.get(topic) != value:  # noqa: ASYNC110  no event
            await asyncio.sleep(0.05)


def environment(port: int) -> dict[str, str]:
    return {"HEARTHGATE_MQTT__HOST": "127.0.0.1", "HEARTHGATE_MQTT__PORT": str(port)}


async def home_id(home: HomeProcess) -> str:
    """Wait until a home has an id for its entities; return it."""
    async with asyncio.timeout(60):
        while not (  # noqa: ASYNC110  no event
            (home.data / "entities-id").exists()
            and (found := (home.data / "entities-id").read_text().strip())
        ):
            await asyncio.sleep(0.05)
    return found


def configs(heard: dict[str, Any]) -> dict[str, Any]:
    """Return what Home Assistant is told there is, by topic."""
    return {
        name: json.loads(text)
        for name, text in heard.items()
        if name.startswith("homeassistant/") and text
    }


async def until_config(
    heard: dict[str, Any], kind: str, service_id: str
) -> dict[str, Any]:
    """Wait until a service is an entity of one kind, and nothing else."""
    async with asyncio.timeout(60):
        while True:
            found = {
                name: one
                for name, one in configs(heard).items()
                if one["state_topic"].endswith(f"/service/{service_id}")
            }
            if [name.split("/")[1] for name in found] == [kind]:
                (config,) = found.values()
                return dict(config)
            await asyncio.sleep(0.05)


async def allow(scene: Scene, service: Json) -> None:
    """Let Home Assistant switch a service, as its owner does on the page."""
    wish = {"enabled": True, "hass_may_switch": True}
    async with scene.home.api() as api:
        await api.call("PUT", f"services/{service['id']}/exposure", wish)


async def exposure(scene: Scene, service_id: str) -> Json:
    async with scene.home.api() as api:
        found: Json = (await api.service(lambda one: one["id"] == service_id))[
            "exposure"
        ]
        return found


async def test_home_assistant_switches_what_its_owner_lets_it_switch(
    broker: int,
) -> None:
    """With the rules that it was public with; the switch is a sensor until then."""
    access = {"username": "anna", "password": "a word for us"}
    async with (
        Scene(home_environment=environment(broker)) as scene,
        listening(broker) as (mq, heard),
    ):
        home = await home_id(scene.home)
        await until(heard, f"hearthgate/{home}/availability", "online")
        service = await scene.expose(scene.web.url, "Lamp", access=access)
        topic = f"hearthgate/{home}/service/{service['id']}"
        await until(heard, topic, "ON")
        sensor = await until_config(heard, "binary_sensor", service["id"])
        assert sensor["name"] == "Lamp"
        assert "command_topic" not in sensor
        await allow(scene, service)
        switch = await until_config(heard, "switch", service["id"])
        assert switch["command_topic"] == f"{topic}/set"
        ids = [one["unique_id"] for one in configs(heard).values()]
        assert len(set(ids)) == len(ids)
        await mq.publish(f"{topic}/set", "OFF")
        async with scene.home.api() as api:
            off = await api.settled(service["id"], ("off",))
        assert off["exposure"]["enabled"] is False
        await until(heard, topic, "OFF")
        await mq.publish(f"{topic}/set", "ON")
        async with scene.home.api() as api:
            live = await api.settled(service["id"], ("live",))
        assert live["exposure"]["access"] == {"username": "anna"}
        answer = await scene.visit(service["exposure"]["hostname"])
        assert answer.status == 401
        await scene.remove(service["id"])
        gone = next(name for name in heard if name.endswith(f"{service['id']}/config"))
        await until(heard, gone, "")


async def test_a_command_makes_nothing_public_that_its_owner_has_not_allowed(
    broker: int,
) -> None:
    """Whoever reaches the broker knows all topics. A last command shows the order."""
    async with (
        Scene(home_environment=environment(broker)) as scene,
        listening(broker) as (mq, heard),
    ):
        home = await home_id(scene.home)
        never = await scene.add(scene.web.url, "Never")
        shy = await scene.expose(scene.web.url, "Shy")
        open_ = await scene.expose(scene.web.url, "Open")
        at = f"hearthgate/{home}/service"
        async with scene.home.api() as api:
            for one in (shy, open_):
                await api.hide(one["id"])
            await allow(scene, open_)
            await api.settled(open_["id"], ("live",))
            await api.hide(open_["id"])
        await until_config(heard, "switch", open_["id"])
        for one in (never, shy):
            await mq.publish(f"{at}/{one['id']}/set", "ON", qos=1)
        await mq.publish(f"{at}/{open_['id']}/set", "ON", qos=1)
        async with scene.home.api() as api:
            await api.settled(open_["id"], ("live",))
        assert (await exposure(scene, shy["id"]))["enabled"] is False
        assert await exposure(scene, never["id"]) is None


async def until_sensor(heard: dict[str, Any], topic: str, least: int) -> None:
    async with asyncio.timeout(90):
        while int(heard.get(topic) or -1) < least:  # noqa: ASYNC110  no event
            await asyncio.sleep(0.05)


async def test_visitors_and_bytes_are_counted_for_encrypted_traffic_too(
    broker: int,
) -> None:
    """And go on over a change of the edge, which is another process then."""
    async with (
        Scene(home_environment=environment(broker)) as scene,
        listening(broker) as (_, heard),
    ):
        home = await home_id(scene.home)
        service = await scene.expose(scene.web.url, "Lamp")
        at, hostname = f"hearthgate/{home}", service["exposure"]["hostname"]
        await until(heard, f"{at}/sent/{service['id']}", "0")
        async with scene.visitor(hostname) as visitor:
            async with visitor.post("/upload", data=bytes(200_000)) as answer:
                assert answer.status == 200
            async with visitor.get("/download?bytes=3000000") as answer:
                assert len(await answer.read()) == 3_000_000
            async with visitor.ws_connect("/ws") as socket:
                # The change makes an event; the WebSocket stays with the old process.
                await scene.expose(scene.web.url, "Other")
                await until_sensor(heard, f"{at}/visitors", 1)
                await until_sensor(heard, f"{at}/sent/{service['id']}", 3_000_000)
                await socket.send_bytes(bytes(500_000))
                await socket.receive()
            async with visitor.get("/download?bytes=4000000") as answer:
                await answer.read()
        await scene.expose(scene.web.url, "Third")
        await until_sensor(heard, f"{at}/sent/{service['id']}", 7_500_000)
        await until_sensor(heard, f"{at}/received/{service['id']}", 700_000)
        await until(heard, f"{at}/visitors", "0")
        assert int(heard[f"{at}/sent/{service['id']}"]) < 8_000_000
        sensors = {
            one["state_topic"].removeprefix(f"{at}/"): one
            for one in (
                json.loads(text)
                for name, text in heard.items()
                if name.startswith("homeassistant/sensor/") and text
            )
        }
        assert sensors["visitors"]["state_class"] == "measurement"
        sent = sensors[f"sent/{service['id']}"]
        assert sent["device_class"] == "data_size"
        assert sent["state_class"] == "total_increasing"
        assert sent["unit_of_measurement"] == "B"
        assert sent["unique_id"] == f"hearthgate_{home}_sent_{service['id']}"


async def test_datagrams_are_counted_and_whoever_sends_them_is_a_visitor(
    broker: int,
) -> None:
    async with (
        Scene(home_environment=environment(broker)) as scene,
        listening(broker) as (_, heard),
    ):
        home = await home_id(scene.home)
        at = f"hearthgate/{home}"
        async with udp.forwarded(scene, udp.Megaphone()) as service:
            with udp.visitor(service) as visitor:
                for _ in range(10):
                    await udp.ask(visitor, b"x" * 100)
            await scene.expose(scene.web.url, "Lamp")  # makes an event: it counts now
            await until_sensor(heard, f"{at}/received/{service['id']}", 1_000)
            await until_sensor(heard, f"{at}/sent/{service['id']}", 60_000)
            await until_sensor(heard, f"{at}/visitors", 1)


async def test_a_killed_home_becomes_unavailable_and_a_stopped_one_too(
    broker: int,
) -> None:
    with HomeProcess(environment(broker)) as home:
        async with listening(broker) as (_, heard):
            name = await home_id(home)
            topic = f"hearthgate/{name}/availability"
            await until(heard, topic, "online")
            home.kill()
            await until(heard, topic, "offline")
            home.start()
            await until(heard, topic, "online")
            await asyncio.to_thread(home.stop)
            await until(heard, topic, "offline")
