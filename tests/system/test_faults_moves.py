"""A discovered service gets another address, or somebody else takes its name.

Avahi ──mDNS on loopback──▶ agent ──▶ the exposure stays, or follows
"""

import asyncio
import contextlib
import os
import secrets

from aiohttp import ClientError
import pytest

from tests.harness.hearthgate import Api, Json
from tests.harness.mdns import Avahi
from tests.harness.scene import LOOPBACK, Scene
from tests.harness.webservice import WebService

TYPE = "_http._tcp"
DISCOVERING = {
    "HEARTHGATE_DISCOVERY__ENABLED": "yes",
    "HEARTHGATE_DISCOVERY__INTERFACES": LOOPBACK,
}

pytestmark = [
    pytest.mark.keeps("processes"),
    pytest.mark.skipif(os.geteuid() != 0, reason="a private avahi-daemon needs root"),
]


async def found(api: Api, name: str) -> Json:
    return await api.service(
        lambda one: bool(one["name"] == name and one["reachable"] is not None)
    )


async def until_logged(scene: Scene, words: str) -> None:
    async with asyncio.timeout(60):
        while words not in scene.home.log:  # noqa: ASYNC110  a file has no event
            await asyncio.sleep(0.1)


async def title(scene: Scene, hostname: str) -> str:
    """Return whose page a visitor sees; empty if nobody's."""
    with contextlib.suppress(ClientError):
        body = (await scene.visit(hostname)).body.decode()
        return body.partition("<title>")[2].partition("</title>")[0]
    return ""


async def test_an_exposure_follows_its_service_only_once_the_old_address_is_dead() -> (
    None
):
    """Anybody can announce a name; that alone must not get what a device is sent."""
    name = f"Heating {secrets.token_hex(4)}"
    with (
        Avahi() as avahi,
        WebService(title="Old") as old,
        WebService(title="New") as new,
    ):
        async with Scene(home_environment=DISCOVERING) as scene:
            avahi.publish(name, TYPE, old.port)
            async with scene.home.api() as api:
                service = await found(api, name)
                hostname = service["suggested_hostname"]
                await scene.pebble.set_a_async(hostname, [LOOPBACK])
                await api.expose(service["id"])
                assert await title(scene, hostname) == "Old"

                avahi.publish(name, TYPE, new.port)
                await until_logged(scene, "staying at")
                assert await title(scene, hostname) == "Old"
                assert scene.home.log.count("staying at") == 1

                old.stop()
                moved = await api.service(
                    lambda one: bool(one["id"] == service["id"] and one["moved_from"])
                )
                assert moved["port"] == new.port
                assert moved["exposure"]["hostname"] == hostname
                async with asyncio.timeout(30):
                    while await title(scene, hostname) != "New":  # noqa: ASYNC110
                        await asyncio.sleep(0.1)


async def test_an_exposed_service_that_is_gone_stays_exposed_and_comes_back() -> None:
    name = f"Heating {secrets.token_hex(4)}"
    with Avahi() as avahi, WebService(title="Only") as only:
        async with Scene(home_environment=DISCOVERING) as scene:
            avahi.publish(name, TYPE, only.port)
            async with scene.home.api() as api:
                service = await found(api, name)
                hostname = service["suggested_hostname"]
                await scene.pebble.set_a_async(hostname, [LOOPBACK])
                await api.expose(service["id"])
                avahi.withdraw(name)
                only.stop()
                gone = await api.service(
                    lambda one: bool(one["id"] == service["id"] and not one["present"])
                )
                assert gone["exposure"]["enabled"]
                assert (await scene.visit(hostname)).status in {502, 503, 504}
                only.start()
                assert await title(scene, hostname) == "Only"
