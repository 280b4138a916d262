"""A home beside a real Mosquitto on which anybody may say anything."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import aiomqtt
import pytest

from tests.harness.hearthgate import HomeProcess
from tests.harness.mosquitto import Mosquitto
from tests.harness.scene import Scene
from tests.harness.usage import resident_kib
from tests.system.test_entities import (
    allow,
    environment,
    exposure,
    home_id,
    listening,
    until,
    until_config,
)

pytestmark = pytest.mark.keeps("processes")

MIB = 1024 * 1024
OURS = "hearthgate-"  # how our client ids begin


@pytest.fixture
def broker() -> Iterator[Mosquitto]:
    with Mosquitto() as running:
        yield running


async def until_true(look: Callable[[], Any]) -> None:
    async with asyncio.timeout(90):
        while not look():  # noqa: ASYNC110  no event
            await asyncio.sleep(0.05)


async def test_a_retained_command_is_never_obeyed(broker: Mosquitto) -> None:
    """It made public again, at each start, what its owner had switched off."""
    async with (
        Scene(home_environment=environment(broker.port)) as scene,
        listening(broker.port) as (mq, heard),
    ):
        lamp = await scene.expose(scene.web.url, "Lamp")
        den = await scene.expose(scene.web.url, "Den")
        for one in (lamp, den):
            await allow(scene, one)
            await until_config(heard, "switch", one["id"])
        async with scene.home.api() as api:
            await api.hide(lamp["id"])
            await api.hide(den["id"])
        at = f"hearthgate/{await home_id(scene.home)}"
        await mq.publish(f"{at}/service/{lamp['id']}/set", "ON", qos=1, retain=True)
        await asyncio.to_thread(scene.home.stop)
        await until(heard, f"{at}/availability", "offline")
        await asyncio.to_thread(scene.home.start)
        await until(heard, f"{at}/availability", "online")
        # One that comes now is obeyed, so the other one has been dropped.
        await mq.publish(f"{at}/service/{den['id']}/set", "ON", qos=1)
        async with scene.home.api() as api:
            await api.settled(den["id"], ("live",))
        assert (await exposure(scene, lamp["id"]))["enabled"] is False


async def test_what_others_publish_costs_no_memory_and_no_lines_in_the_log(
    broker: Mosquitto,
) -> None:
    """200 MB cost 680 MB at every start, and each wrong command a warning."""
    async with (
        Scene(home_environment=environment(broker.port)) as scene,
        listening(broker.port) as (mq, heard),
    ):
        lamp = await scene.expose(scene.web.url, "Lamp")
        await allow(scene, lamp)
        await until_config(heard, "switch", lamp["id"])
        at = f"hearthgate/{await home_id(scene.home)}"
        mine = f"{at}/service/{lamp['id']}/set"
        before = resident_kib(scene.home.pid, "VmHWM")
        for topic in (mine, f"{at}/service/other/set", f"{at}/availability/x"):
            await mq.publish(topic, bytes(64 * MIB), qos=1, retain=True, timeout=60)
        for number in range(3000):
            await mq.publish(mine, f"PERHAPS {number}")
            await mq.publish(f"{at}/service/no-{number}/set", "ON")
        await mq.publish(mine, "OFF", qos=1)
        async with scene.home.api() as api:
            await api.settled(lamp["id"], ("off",))
        assert resident_kib(scene.home.pid, "VmHWM") - before < 32 * 1024
        await asyncio.to_thread(scene.home.stop)
        await until(heard, f"{at}/availability", "offline")
        await asyncio.to_thread(scene.home.start)
        await until(heard, f"{at}/availability", "online")
        # Started anew, it is no larger than it was while it served.
        assert resident_kib(scene.home.pid, "VmHWM") - before < 32 * 1024
        said = [line for line in scene.home.log.splitlines() if "ommand" in line]
        assert len(said) <= 1, said


async def test_a_broker_that_restarts_finds_the_same_home_again(
    broker: Mosquitto,
) -> None:
    with HomeProcess(environment(broker.port)) as home:
        name = await home_id(home)
        async with listening(broker.port) as (_, heard):
            await until(heard, f"hearthgate/{name}/availability", "online")
        pid = home.pid
        broker.stop()
        async with home.api() as api:
            problem = await api.until(lambda state: state["home"]["problems"] or None)
            assert [one["code"] for one in problem] == ["broker_away"]
            assert problem[0]["fields"]["port"] == str(broker.port)
            broker.start()
            async with listening(broker.port) as (_, heard):
                await until(heard, f"hearthgate/{name}/availability", "online")
            await api.until(lambda state: not state["home"]["problems"] or None)
        assert home.pid == pid


async def test_who_takes_our_name_at_the_broker_cannot_do_it_twice(
    broker: Mosquitto,
) -> None:
    with HomeProcess(environment(broker.port)) as home:
        topic = f"hearthgate/{await home_id(home)}/availability"
        async with listening(broker.port) as (_, heard):
            await until(heard, topic, "online")
            await until_true(lambda: broker.clients(OURS))
            ours = broker.clients(OURS)[-1]
            async with aiomqtt.Client("127.0.0.1", broker.port, identifier=ours):
                await until(heard, topic, "offline")
                await until(heard, topic, "online")
            assert broker.clients(OURS)[-1] not in ("", ours)


async def test_a_last_will_that_comes_late_leaves_nobody_offline(
    broker: Mosquitto,
) -> None:
    """As that of a connection which the broker has noticed later than we did."""
    with HomeProcess(environment(broker.port)) as home:
        topic = f"hearthgate/{await home_id(home)}/availability"
        async with listening(broker.port) as (mq, heard):
            await until(heard, topic, "online")
            heard.clear()
            await mq.publish(topic, "offline", qos=1, retain=True)
            await until(heard, topic, "online")
