"""Home Assistant and add-ons as services."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from hearthgate.home.discovery.probe import Probe
from hearthgate.home.hass.client.supervisor import Supervisor
from hearthgate.home.model import Problem, Scheme, Service, Target
from hearthgate.home.services import hass_sightings as sightings_module
from hearthgate.home.services.hass_sightings import Sightings
from hearthgate.shared.settings.kinds import Secret
from tests.harness.supervisor import TOKEN, StandInSupervisor
from tests.support.relay_parts import until


class Watch:
    """What was said of services."""

    def __init__(self) -> None:
        self.services: dict[str, Service] = {}
        self.changes: list[str] = []
        self.problems: list[Problem | None] = []

    def change(self, service: Service) -> None:
        self.services[service.id] = service
        self.changes.append(service.id)

    def tell(self, problem: Problem | None) -> None:
        self.problems.append(problem)

    def lose(self, service_id: str) -> None:
        del self.services[service_id]


async def probe(target: Target) -> Probe:
    return Probe(reachable=True, title=f"Page on {target.port}")


@pytest.fixture
async def stand_in() -> AsyncIterator[StandInSupervisor]:
    async with StandInSupervisor(ingress_port=62001, core_port=80) as running:
        yield running


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
async def sightings(
    stand_in: StandInSupervisor, watch: Watch
) -> AsyncIterator[Sightings]:
    async with Supervisor(stand_in.url, Secret(TOKEN)) as client:
        yield Sightings(
            client,
            probe,
            on_change=watch.change,
            on_lost=watch.lose,
            on_problem=watch.tell,
        )


async def test_home_assistant_is_a_service_where_the_supervisor_says(
    stand_in: StandInSupervisor, sightings: Sightings, watch: Watch
) -> None:
    await sightings.look()
    found = watch.services["home-assistant"]
    assert (found.name, found.kind) == ("Home Assistant", "home-assistant")
    assert found.target == Target(Scheme.HTTP, "127.0.0.1", 80)
    stand_in.core |= {"port": 8123, "ssl": True}
    await sightings.look()
    moved = watch.services["home-assistant"].target
    assert moved == Target(Scheme.HTTPS, "127.0.0.1", 8123)


async def test_add_ons_come_and_go_with_their_pages(
    stand_in: StandInSupervisor, sightings: Sightings, watch: Watch
) -> None:
    stand_in.add_ons["a0d7_Node.red"] = {
        "name": "Node-RED",
        "webui": "http://[HOST]:1880/",
    }
    await sightings.look()
    found = watch.services["addon-a0d7-node-red"]
    assert (found.name, found.kind, found.title) == (
        "Node-RED",
        "addon",
        "Page on 1880",
    )
    del stand_in.add_ons["a0d7_Node.red"]
    await sightings.look()
    assert set(watch.services) == {"home-assistant"}


async def test_a_look_that_shows_nothing_new_says_nothing(
    sightings: Sightings, watch: Watch
) -> None:
    await sightings.look()
    await sightings.look()
    assert watch.changes == ["home-assistant"]


async def test_what_mdns_says_of_this_machine_is_known_already(
    sightings: Sightings,
) -> None:
    await sightings.look()
    assert sightings.knows(Target(Scheme.HTTP, "192.0.2.10", 80))
    assert not sightings.knows(Target(Scheme.HTTP, "192.0.2.10", 8080))
    assert not sightings.knows(Target(Scheme.HTTP, "192.0.2.11", 80))


async def test_a_supervisor_that_says_nonsense_is_told_until_it_does_not(
    stand_in: StandInSupervisor,
    sightings: Sightings,
    watch: Watch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sightings_module, "_LOOK_AGAIN_S", 0.01)
    port = stand_in.core.pop("port")
    running = asyncio.create_task(sightings.run())
    await until(lambda: watch.problems)
    problem = watch.problems[-1]
    assert problem is not None
    assert problem.code == "supervisor_away"
    assert "/core/info" in problem.message
    stand_in.core["port"] = port
    await until(lambda: watch.problems[-1] is None)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
