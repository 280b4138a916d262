"""Entities over a real Mosquitto: discovery, switches both ways, availability."""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
import json
from typing import Any

import aiomqtt
import pytest

from tests.harness.hearthgate import HomeProcess
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


async def test_a_switch_in_home_assistant_switches_a_service(broker: int) -> None:
    mqtt = {"HEARTHGATE_MQTT__HOST": "127.0.0.1", "HEARTHGATE_MQTT__PORT": str(broker)}
    async with Scene(home_environment=mqtt) as scene, listening(broker) as (mq, heard):
        home = (scene.home.data / "entities-id").read_text().strip()
        await until(heard, f"hearthgate/{home}/availability", "online")
        service = await scene.expose(scene.web.url, "Lamp")
        topic = f"hearthgate/{home}/service/{service['id']}"
        await until(heard, topic, "ON")
        configs = {
            name: json.loads(text)
            for name, text in heard.items()
            if name.startswith("homeassistant/") and text
        }
        switch = next(one for one in configs.values() if one["name"] == "Lamp")
        assert switch["command_topic"] == f"{topic}/set"
        assert len({one["unique_id"] for one in configs.values()}) == len(configs)
        await mq.publish(f"{topic}/set", "OFF")
        async with scene.home.api() as api:
            off = await api.settled(service["id"], ("off",))
        assert off["exposure"]["enabled"] is False
        await until(heard, topic, "OFF")
        await scene.remove(service["id"])
        gone = next(
            name for name in configs if name.endswith(f"{service['id']}/config")
        )
        await until(heard, gone, "")


async def until_sensor(heard: dict[str, Any], topic: str, least: int) -> None:
    async with asyncio.timeout(90):
        while int(heard.get(topic) or -1) < least:  # noqa: ASYNC110  no event
            await asyncio.sleep(0.05)


async def test_visitors_and_bytes_are_counted_for_encrypted_traffic_too(
    broker: int,
) -> None:
    """And go on over a change of the edge, which is another process then."""
    mqtt = {"HEARTHGATE_MQTT__HOST": "127.0.0.1", "HEARTHGATE_MQTT__PORT": str(broker)}
    async with Scene(home_environment=mqtt) as scene, listening(broker) as (_, heard):
        home = (scene.home.data / "entities-id").read_text().strip()
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
    mqtt = {"HEARTHGATE_MQTT__HOST": "127.0.0.1", "HEARTHGATE_MQTT__PORT": str(broker)}
    async with Scene(home_environment=mqtt) as scene, listening(broker) as (_, heard):
        home = (scene.home.data / "entities-id").read_text().strip()
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
    mqtt = {"HEARTHGATE_MQTT__HOST": "127.0.0.1", "HEARTHGATE_MQTT__PORT": str(broker)}
    with HomeProcess(mqtt) as home:
        async with listening(broker) as (_, heard):
            name = (home.data / "entities-id").read_text().strip()
            topic = f"hearthgate/{name}/availability"
            await until(heard, topic, "online")
            home.kill()
            await until(heard, topic, "offline")
            home.start()
            await until(heard, topic, "online")
            await asyncio.to_thread(home.stop)
            await until(heard, topic, "offline")
