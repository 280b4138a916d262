"""One agent from the first file to the last, with a stand-in for its edge."""

import asyncio
import logging
import os
from pathlib import Path
import signal

import pytest

from hearthgate.home.agent import Agent
from hearthgate.home.settings import HomeSettings
from hearthgate.shared.process.log import LogFormat, LogLevel, set_up_log
from hearthgate.shared.settings.loader import load_settings
from tests.support.relay_parts import until


def settings(folder: Path) -> HomeSettings:
    flags = {
        "data": str(folder),
        "web.host": "127.0.0.1",
        "web.port": "0",
        "discovery.enabled": "false",
    }
    return load_settings(HomeSettings, environment={}, flags=flags)


async def test_the_tunnels_end_before_the_edge_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other way round, the relay gave visitors to an edge that was gone."""
    agent = Agent(settings(tmp_path))
    ended: list[str] = []

    async def edge() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("edge")

    async def begin() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    close = agent._tunnels.close

    async def close_tunnels() -> None:
        ended.append("tunnels")
        await close()

    monkeypatch.setattr(agent._edge, "run", edge)
    monkeypatch.setattr(agent, "_begin", begin)
    monkeypatch.setattr(agent._tunnels, "close", close_tunnels)
    async with asyncio.timeout(30):
        await agent.run()
    assert ended[:2] == ["tunnels", "edge"]


async def test_the_first_password_is_shown_at_every_log_level(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is made once, so a quiet log would lose it for good."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    before = logging.getLogger("hearthgate").level
    set_up_log(LogLevel.WARNING, LogFormat.TEXT)
    try:
        agent = Agent(settings(tmp_path))
        running = asyncio.create_task(agent.run())
        await until((tmp_path / "agent.sock").exists)
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(30):
            await running
    finally:
        logging.captureWarnings(capture=False)
        logging.getLogger("hearthgate").setLevel(before)
    said = capfd.readouterr().err
    assert "The password for the page is " in said
    assert "The page is at" not in said
