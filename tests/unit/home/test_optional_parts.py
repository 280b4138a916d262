"""Every part that a home can do without fails; edge, tunnels and page go on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
import contextlib
import os
from pathlib import Path
import signal
from typing import Any

from aiohttp import ClientSession, UnixConnector
import pytest

from hearthgate.home import agent as agent_module
from hearthgate.home.agent import SOCKET_NAME, Agent
from hearthgate.home.i18n.problems import words
from hearthgate.home.settings import HomeSettings
from hearthgate.shared.settings.loader import load_settings

Json = dict[str, Any]

# All that an agent runs beside its edge, by the name on the page.
PARTS = {
    "The renewal of certificates",
    "The look at services",
    "Discovery",
    "The way to the MQTT broker",
    "The way to Home Assistant",
    "Notifying in Home Assistant",
    "The page in Home Assistant",
}


def settings(folder: Path) -> HomeSettings:
    flags = {"data": str(folder), "hass.token": "t", "web.port": "0"}
    return load_settings(HomeSettings, environment={}, flags=flags)


class Stage:
    """An agent all of whose parts do what a test says."""

    def __init__(self, folder: Path) -> None:
        self.agent = Agent(settings(folder))
        self.socket = folder / SOCKET_NAME
        self.fails = asyncio.Event()
        self.edge_runs = False
        self.agent._parts._first_s = self.agent._parts._most_s = 0.01
        self.agent._parts._well_after_s = 0.01

    async def part(self, *_: object) -> None:
        """Fail as soon as all shall, at once or later."""
        await self.fails.wait()
        raise UnicodeError("label empty or too long")

    async def edge(self) -> None:
        self.edge_runs = True
        try:
            await asyncio.Event().wait()
        finally:
            self.edge_runs = False

    async def begin(self) -> None:
        """Serve nothing: there is no real edge."""

    async def problems(self) -> list[Json]:
        """Return what the page says."""
        connector = UnixConnector(str(self.socket))
        async with (
            ClientSession(connector=connector) as client,
            client.get("http://agent/api/state") as answer,
        ):
            found: list[Json] = (await answer.json())["home"]["problems"]
            return found

    async def until_problems(self, names: set[str]) -> list[Json]:
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(OSError):
                    found = await self.problems()
                    if {one["fields"]["part"] for one in found} == names:
                        return found
                await asyncio.sleep(0.01)


class FailingNotifier:
    """Stand in for the notifier, which is made once the parts are."""

    part: Callable[[], Awaitable[None]]

    def __init__(self, *_: object) -> None:
        pass

    async def run(self) -> None:
        await type(self).part()


@pytest.fixture
async def stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    agent = made.agent
    assert agent._hass is not None
    for owner, name in (
        (agent._certificates, "run"),
        (agent._services, "run"),
        (agent._discovery, "run"),
        (agent._entities, "run"),
        (agent._hass, "run"),
        (agent._hass, "own"),
        (agent._hass, "looked"),
    ):
        monkeypatch.setattr(owner, name, made.part)
    monkeypatch.setattr(FailingNotifier, "part", made.part, raising=False)
    monkeypatch.setattr(agent_module, "Notifier", FailingNotifier)
    monkeypatch.setattr(agent._edge, "run", made.edge)
    monkeypatch.setattr(agent, "_begin", made.begin)
    assert set(agent._optional()) == PARTS
    running = asyncio.create_task(agent.run())
    yield made
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(30):
        await running


async def test_all_may_fail_at_the_start_and_later_and_all_recover(
    stage: Stage,
) -> None:
    for _ in range(2):
        stage.fails.set()
        problems = await stage.until_problems(PARTS)
        assert {one["code"] for one in problems} == {"part_failed"}
        assert {one["fields"]["reason"] for one in problems} == {"UnicodeError"}
        assert stage.edge_runs
        stage.fails.clear()
        await stage.until_problems(set())
    assert stage.edge_runs


@pytest.mark.parametrize("part", sorted(PARTS))
def test_a_failed_part_is_told_in_german(part: str) -> None:
    problem = {
        "code": "part_failed",
        "message": "",
        "hint": "",
        "fields": {"part": part, "reason": "UnicodeError"},
    }
    message, _ = words("de").told(problem)
    assert part not in message
    assert message.endswith(
        "ist durch einen Fehler in Hearthgate ausgefallen (UnicodeError)."
    )
