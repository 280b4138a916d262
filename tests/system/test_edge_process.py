"""One HAProxy process: its door, its refusal, its end."""

import asyncio
import os
from pathlib import Path
import signal
import socket

import pytest

from hearthgate.home.edge import EdgeFailedError, EdgeSettings, Route
from hearthgate.home.edge import folder as folders
from hearthgate.home.edge.process import Haproxy
from hearthgate.home.model import Scheme, Target
from tests.harness import haproxies
from tests.support.visiting import make_certificate, tcp_pair

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"


@pytest.fixture
async def process(tmp_path: Path):  # type: ignore[no-untyped-def] # noqa: ANN201
    """Yield a HAProxy that runs."""
    pem = make_certificate(tmp_path / "c.pem", HOST)
    route = Route(HOST, Target(Scheme.HTTP, "127.0.0.1", 9), pem, None, "x")
    settings = EdgeSettings(
        threads=1, program=haproxies.program(), door_deadline_s=30.0
    )
    folders.write(tmp_path / "1", folders.plan([route]), settings, 1)
    haproxy = Haproxy(tmp_path / "1", 1, settings)
    try:
        await haproxy.check()
        await haproxy.start()
        await haproxy.ready()
        yield haproxy
    finally:
        await haproxy.end()
        haproxy.close()


async def test_door_is_empty_only_when_the_last_visitor_was_accepted(
    process: Haproxy,
) -> None:
    """A visitor that lies in the pair when HAProxy closes its end is lost."""
    assert process.pid is not None
    await process.door_is_empty()
    os.kill(process.pid, signal.SIGSTOP)
    near, far = tcp_pair()
    with near:
        with far:
            socket.send_fds(process.pair, [b"\0"], [far.fileno()])
        empty = asyncio.create_task(process.door_is_empty(), name="door")
        done, _ = await asyncio.wait({empty}, timeout=0.2)
        assert not done
        os.kill(process.pid, signal.SIGCONT)
        async with asyncio.timeout(20):
            await empty


async def test_process_that_ends_while_it_starts_says_why(tmp_path: Path) -> None:
    (tmp_path / "haproxy.cfg").write_text("nonsense\n")
    haproxy = Haproxy(tmp_path, 1, EdgeSettings(program=haproxies.program()))
    await haproxy.start()
    waiting = asyncio.create_task(haproxy.wait(), name="wait")
    with pytest.raises(EdgeFailedError, match="nonsense"):
        await haproxy.ready()
    assert await waiting != 0
    haproxy.close()


async def test_end_ends_even_a_process_that_does_not_listen(process: Haproxy) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGSTOP)
    async with asyncio.timeout(30):
        await process.end()
    assert process.pid is None
