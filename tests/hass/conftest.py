"""A home as an add-on beside a real Home Assistant, exposed through relay and edge."""

import asyncio
from collections.abc import Iterator
import contextlib
from dataclasses import dataclass

import pytest

from tests.harness.hearthgate import Json
from tests.harness.homeassistant import CURRENT, OLD, PREPARED, CoreProcess
from tests.harness.mosquitto import mosquitto
from tests.harness.ports import free_port
from tests.harness.scene import DOMAIN, LOOPBACK, Scene
from tests.harness.supervisor import StandInSupervisor, in_thread

PEER = "127.0.0.2"
HOSTNAME = f"ha.{DOMAIN}"


@dataclass
class Household:
    """All there is at one home with Home Assistant."""

    core: CoreProcess
    supervisor: StandInSupervisor
    scene: Scene

    async def hass(self) -> Json:
        async with self.scene.home.api() as api:
            found: Json = (await api.state())["hass"]
            return found

    async def expose(self) -> Json:
        """Put Home Assistant on the Internet."""
        await self.scene.pebble.set_a_async(HOSTNAME, [LOOPBACK])
        async with self.scene.home.api() as api:
            await api.service(lambda one: one["id"] == "home-assistant")
            return await api.expose("home-assistant", hostname=HOSTNAME)

    async def trust_state(self, *states: str, deadline_s: float = 240.0) -> Json:
        """Wait until the trust is in one of some states; return what is known."""
        async with self.scene.home.api() as api:
            return await api.until(
                lambda state: (
                    state["hass"] if state["hass"]["trust"]["state"] in states else None
                ),
                deadline_s=deadline_s,
            )


@contextlib.contextmanager
def household(core: CoreProcess, *, broker: int | None = None) -> Iterator[Household]:
    """Run one, with the port of an MQTT broker that an add-on provides, if any.

    Skips nothing: `make test-hass` has installed what it needs.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(core)
        made = StandInSupervisor(ingress_port=free_port(), core_port=core.port)
        made.core["version"] = core.release
        made.connect = core.connect
        if broker is not None:
            made.broker = {"host": "127.0.0.1", "port": broker, "ssl": False}
        supervisor = stack.enter_context(in_thread(made))
        scene = Scene(
            home_environment={
                **supervisor.environment,
                "HEARTHGATE_HASS__INGRESS_PEER": PEER,
            }
        )
        asyncio.run(scene.__aenter__())
        try:
            yield Household(core, supervisor, scene)
        finally:
            asyncio.run(scene.__aexit__(None, None, None))


@pytest.fixture(scope="session", autouse=True)
def _installed() -> None:
    ready = PREPARED / "forky" / f".ready-{CURRENT}", PREPARED / OLD / ".ready"
    if not all(one.exists() for one in ready):
        pytest.fail("Home Assistant is installed by make test-hass", pytrace=False)


@pytest.fixture(scope="module")
def current() -> Iterator[Household]:
    """Share a home with the current Home Assistant, and a broker for its entities."""
    with (
        mosquitto() as broker,
        household(CoreProcess(CURRENT), broker=broker) as running,
    ):
        yield running
