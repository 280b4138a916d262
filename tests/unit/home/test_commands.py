"""What the command line says if a home does not do what it was asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable
import json
from pathlib import Path
from typing import Any

from aiohttp import ClientConnectorError, ClientSession, web
from click.testing import CliRunner, Result
import pytest

from hearthgate.errors import HearthgateError
from hearthgate.home import commands
from hearthgate.home.agent import agent_socket

Json = dict[str, Any]


def service(phase: str) -> Json:
    status = {"phase": phase, "problem": None}
    return {"id": "lamp", "name": "Lamp", "exposure": {"status": status}}


class FakeAgent:
    """Says one phase after the other; the last one stays."""

    def __init__(self, *phases: str) -> None:
        self.phases = list(phases)
        self.asked: list[str] = []

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.asked.append(request.method)
        phase = self.phases.pop(0) if len(self.phases) > 1 else self.phases[0]
        if request.method == "PUT":
            return web.json_response(service(phase), status=202)
        return web.json_response({"relays": [], "services": [service(phase)]})


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Callable[..., Any]]:
    """Give a function that runs `hearthgate home hide` against a fake agent."""
    runners: list[web.ServerRunner] = []

    async def hide(agent: FakeAgent) -> Result:
        runner = web.ServerRunner(web.Server(agent.answer), shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        await web.UnixSite(runner, str(agent_socket(tmp_path))).start()
        words = ["hide", "lamp", "--data", str(tmp_path)]
        return await asyncio.to_thread(CliRunner().invoke, commands.commands, words)

    yield hide
    for runner in runners:
        await runner.cleanup()


async def test_hide_says_off_only_once_it_is(run: Callable[..., Any]) -> None:
    agent = FakeAgent("live", "live", "switching_off", "off")
    result = await run(agent)
    assert (result.output, result.exit_code) == ("Lamp is off.\n", 0)
    assert agent.asked == ["PUT", "GET", "GET", "GET"]


async def test_hide_says_that_it_is_not_off(
    run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "_OFF_DEADLINE_S", 0.3)
    result = await run(FakeAgent("switching_off"))
    assert isinstance(result.exception, commands.NotHiddenError)
    assert "Lamp is not off yet" in str(result.exception)
    assert "is off" not in result.output


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (PermissionError(13, "Permission denied"), commands.AgentNotAllowedError),
        (TimeoutError(), commands.AgentSlowError),
        (FileNotFoundError(2, "none"), commands.AgentNotRunningError),
        (ConnectionRefusedError(111, "no"), commands.AgentNotRunningError),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_each_way_to_get_no_answer_has_its_own_words(
    error: Exception, expected: type[HearthgateError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happened, it said that no home is running."""

    def request(*_arguments: object, **_more: object) -> None:
        raise error

    monkeypatch.setattr(ClientSession, "request", request)
    result = CliRunner().invoke(commands.commands, ["status", "--data", "/nowhere"])
    assert type(result.exception) is expected
    assert json.dumps(result.exception.as_dict())


def test_a_socket_of_somebody_else_is_told_apart() -> None:
    """The error that aiohttp raises has the system's one inside."""
    inner = PermissionError(13, "Permission denied")
    key: Any = None
    wrapped = ClientConnectorError(key, inner)
    found = commands._no_answer(wrapped, Path("/data"))
    assert isinstance(found, commands.AgentNotAllowedError)
