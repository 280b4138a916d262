"""Home Assistant's notifications: told once, changed rarely, dismissed when solved."""

import asyncio
from collections.abc import AsyncIterator, Callable
import contextlib
from typing import Any, cast

import pytest

from hearthgate.home.hass.client.core import Core
from hearthgate.home.hass.client.supervisor import Supervisor
from hearthgate.home.hass.notices.notifier import Notifier
from hearthgate.home.web.api.facade import HomeApi
from hearthgate.home.web.live.feed import Feed, Subscription
from hearthgate.shared.settings.kinds import Secret
from tests.harness.supervisor import TOKEN, StandInSupervisor
from tests.unit.home.hass.notices.test_notices import (
    NOW,
    problem,
    relay,
    service,
    state,
)

Json = dict[str, Any]


class PlayedHome:
    """A home whose state a test says."""

    def __init__(self) -> None:
        self.feed = Feed()
        self.state = state()

    def snapshot(self) -> Json:
        return self.state

    def subscribe(self) -> contextlib.AbstractContextManager[Subscription]:
        return self.feed.subscribe()

    def becomes(self, shown: Json) -> None:
        self.state = shown
        self.feed.publish({"type": "relay"})


class PlayedCore:
    """Core's notifications, over the stand-in's WebSocket."""

    def __init__(self, stand_in: StandInSupervisor) -> None:
        self.shown: dict[str, str] = {}
        self.calls: list[tuple[str, str]] = []
        self.language = "en"
        stand_in.commands = {
            "persistent_notification/get": lambda _: [
                {"notification_id": one, "title": None} for one in self.shown
            ],
            "get_config": lambda _: {"language": self.language},
            "call_service": self._serve,
        }

    def _serve(self, asked: Json) -> Json:
        assert asked["domain"] == "persistent_notification"
        data = asked["service_data"]
        self.calls.append((asked["service"], data["notification_id"]))
        if asked["service"] == "create":
            self.shown[data["notification_id"]] = data["title"]
        else:
            self.shown.pop(data["notification_id"], None)
        return {"context": {}}

    async def until(self, look: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not look():  # noqa: ASYNC110  no event
                await asyncio.sleep(0.01)


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def stand_in() -> AsyncIterator[StandInSupervisor]:
    async with StandInSupervisor() as running:
        yield running


@pytest.fixture
def core(stand_in: StandInSupervisor) -> PlayedCore:
    return PlayedCore(stand_in)


@pytest.fixture
def home() -> PlayedHome:
    return PlayedHome()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextlib.asynccontextmanager
async def notifying(
    stand_in: StandInSupervisor, home: PlayedHome, clock: Clock
) -> AsyncIterator[Notifier]:
    async with Supervisor(stand_in.url, Secret(TOKEN)) as client:
        made = Notifier(
            cast("HomeApi", home),
            Core(client.core_socket, client.token),
            settle_s=0.02,
            again_s=0.02,
            clock=clock,
        )
        task = asyncio.create_task(made.run(), name="notifier")
        yield made
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.fixture
async def notifier(
    stand_in: StandInSupervisor, core: PlayedCore, home: PlayedHome, clock: Clock
) -> AsyncIterator[Notifier]:
    del core
    async with notifying(stand_in, home, clock) as running:
        yield running


REFUSED = state(first=relay("refused", problem("The key is another one.")))
OTHER = state(first=relay("refused", problem("It does not know this home.")))
ID = "hearthgate_relay_r1"


async def test_a_problem_is_told_once_and_dismissed_when_it_is_solved(
    notifier: Notifier, core: PlayedCore, home: PlayedHome
) -> None:
    del notifier
    home.becomes(REFUSED)
    await core.until(lambda: core.shown)
    assert list(core.shown) == [ID]
    core.shown.clear()  # somebody has read and dismissed it
    for _ in range(5):
        home.becomes(REFUSED)
        await asyncio.sleep(0.03)
    home.becomes(state())
    await core.until(lambda: ("dismiss", ID) in core.calls)
    assert core.calls == [("create", ID), ("dismiss", ID)]


async def test_what_comes_and_goes_is_not_told_again_and_again(
    notifier: Notifier, core: PlayedCore, home: PlayedHome, clock: Clock
) -> None:
    del notifier
    for _ in range(5):
        calls = len(core.calls)
        home.becomes(REFUSED)
        await asyncio.sleep(0.1)
        home.becomes(state())
        await asyncio.sleep(0.1)
        assert len(core.calls) <= max(2, calls)
    home.becomes(OTHER)
    await asyncio.sleep(0.1)
    assert [one for one, _ in core.calls] == ["create", "dismiss"]
    clock.now += 601
    home.becomes(OTHER)
    await core.until(lambda: core.shown)


async def test_what_an_earlier_agent_told_is_taken_off_if_it_is_solved(
    stand_in: StandInSupervisor, core: PlayedCore, home: PlayedHome, clock: Clock
) -> None:
    home.state = REFUSED
    core.shown = {ID: "old", "hearthgate_failed_lamp": "old", "of_another": "old"}
    async with notifying(stand_in, home, clock):
        await core.until(lambda: "hearthgate_failed_lamp" not in core.shown)
        await core.until(lambda: core.shown[ID] != "old")
    assert core.shown.keys() == {ID, "of_another"}


async def test_a_core_that_is_away_is_told_when_it_is_back(
    notifier: Notifier,
    stand_in: StandInSupervisor,
    core: PlayedCore,
    home: PlayedHome,
) -> None:
    del notifier
    stand_in.core_is_up = False
    home.becomes(REFUSED)
    await asyncio.sleep(0.1)
    stand_in.core_is_up = True
    await core.until(lambda: core.shown)


async def test_it_is_told_in_the_language_of_the_house(
    notifier: Notifier, core: PlayedCore, home: PlayedHome
) -> None:
    del notifier
    core.language = "de"
    home.becomes(state(service("failed", problem())))
    await core.until(lambda: core.shown)
    assert list(core.shown.values()) == ["Lamp steht nicht im Internet"]
