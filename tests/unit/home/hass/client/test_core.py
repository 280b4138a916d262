"""Commands to Core through the Supervisor."""

from collections.abc import AsyncIterator

import pytest

from hearthgate.home.hass.client.core import Core
from hearthgate.home.hass.client.supervisor import Supervisor
from hearthgate.home.hass.errors import (
    CommandUnknownError,
    CoreAwayError,
    CoreRefusedError,
    CoreStartsError,
)
from hearthgate.shared.settings.kinds import Secret
from tests.harness.supervisor import TOKEN, StandInSupervisor


@pytest.fixture
async def stand_in() -> AsyncIterator[StandInSupervisor]:
    async with StandInSupervisor() as running:
        yield running


@pytest.fixture
async def core(stand_in: StandInSupervisor) -> AsyncIterator[Core]:
    async with Supervisor(stand_in.url, Secret(TOKEN)) as client:
        yield Core(client.core_socket, client.token)


async def test_a_command_gets_its_fields_and_gives_its_result(
    stand_in: StandInSupervisor, core: Core
) -> None:
    stand_in.commands["config/core/update"] = {"external_url": "https://a.example"}
    result = await core.ask("config/core/update", external_url="https://a.example")
    assert result == {"external_url": "https://a.example"}
    assert stand_in.heard[0]["external_url"] == "https://a.example"


async def test_an_unknown_command_is_told_apart(core: Core) -> None:
    with pytest.raises(CommandUnknownError):
        await core.ask("http/config")


async def test_a_refused_command_carries_cores_words(
    stand_in: StandInSupervisor, core: Core
) -> None:
    stand_in.commands["http/config/configure"] = ValueError("not a network.")
    with pytest.raises(CoreRefusedError, match="not a network"):
        await core.ask("http/config/configure")


async def test_a_core_that_has_not_started_to_the_end_says_so(
    stand_in: StandInSupervisor, core: Core
) -> None:
    refusal = ValueError("Only while it is running.", "not_running")
    stand_in.commands["http/config/configure"] = refusal
    with pytest.raises(CoreStartsError, match="still starting"):
        await core.ask("http/config/configure")


async def test_a_core_that_restarts_is_away(
    stand_in: StandInSupervisor, core: Core
) -> None:
    stand_in.core_is_up = False
    with pytest.raises(CoreAwayError):
        await core.ask("config")


async def test_a_token_that_is_not_taken_is_said(stand_in: StandInSupervisor) -> None:
    async with Supervisor(stand_in.url, Secret("old")) as client:
        with pytest.raises(CoreRefusedError, match="token"):
            await Core(client.core_socket, client.token).ask("config")
