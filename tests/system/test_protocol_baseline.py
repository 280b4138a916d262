"""Today's agent and relay, each with the other side as version 1 was.

    baseline/agent.py ──▶ today's relay        today's home ──▶ baseline/relay.py

The other sides are frozen and strict: they end a session for anything that version 1
did not know. The recorded bytes are what today's code must still write and read.
"""

import ast
import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
import json
from pathlib import Path
import ssl

from aiohttp import ClientSession, TCPConnector
import pytest

from hearthgate.wire import channel as today_channel
from hearthgate.wire.messages import read_message, write_message
from hearthgate.wire.pairing import read_pairing_code
from hearthgate.wire.proxy import proxy_header
from tests.baseline import agent as baseline_agent
from tests.baseline import relay as baseline_relay
from tests.baseline import wire
from tests.harness.hearthgate import HomeProcess, RelayProcess
from tests.harness.pebble import Pebble, PebbleSettings
from tests.harness.webservice import WebService
from tests.support import hellos

BASELINE = Path(wire.__file__).parent
RECORDED = json.loads((BASELINE / "messages.json").read_text())
NAME = "a.cottage.example.com"

pytestmark = pytest.mark.keeps("processes")


def test_the_baseline_knows_nothing_of_todays_code() -> None:
    for path in BASELINE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [getattr(node, "module", None) or ""]
            names += [one.name for one in getattr(node, "names", [])]
            assert not any(name.startswith("hearthgate") for name in names), path


@pytest.mark.parametrize("text", RECORDED["frames"])
def test_recorded_frames_are_read_and_written_with_every_key_of_version_1(
    text: str,
) -> None:
    message = read_message(text)
    again = json.loads(write_message(message))
    recorded = json.loads(text)
    assert {key: again[key] for key in recorded} == recorded
    assert wire.read(write_message(message))


def test_recorded_channel_bytes_are_the_same_today() -> None:
    session, key = b"s" * 16, b"k" * 32
    preamble = bytes.fromhex(RECORDED["preamble"])
    assert wire.preamble(session, 7, key) == preamble
    assert today_channel.write_preamble(session, 7, key) == preamble
    read = today_channel.read_preamble(preamble)
    assert read is not None
    assert today_channel.preamble_is_authentic(read, key)
    header = proxy_header(("203.0.113.9", 4711), ("203.0.113.5", 443))
    assert header == wire.proxy(("203.0.113.9", 4711), ("203.0.113.5", 443))
    opening = bytes.fromhex(RECORDED["opening"])
    assert wire.opening(session, 7, key, header, b"hello") == opening
    assert today_channel.write_opening(session, 7, key, header, b"hello") == opening
    assert today_channel.opening_size(opening) == len(opening)
    assert today_channel.opening_is_authentic(opening, session, 7, key)


def test_a_recorded_pairing_code_is_read_today() -> None:
    code = read_pairing_code(RECORDED["code"])
    host, port, fingerprint, secret = wire.read_code(RECORDED["code"])
    assert (code.host, code.port) == (host, port) == ("relay.example.com", 443)
    assert (code.fingerprint, code.secret) == (fingerprint, secret)


# --- an old agent at today's relay ----------------------------------------------------


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with RelayProcess() as running:
        yield running


@pytest.fixture
async def agent(
    relay: RelayProcess, tmp_path: Path
) -> AsyncIterator[baseline_agent.Agent]:
    old = baseline_agent.Agent(relay.invite("cottage.example.com", "cottage"), tmp_path)
    try:
        assert (await old.pair())["domains"] == ["cottage.example.com"]
        async with old:
            assert old.welcome["type"] == "welcome"
            assert old.welcome["protocol"] == 1
            yield old
    finally:
        relay.run("relay", "revoke", "cottage")


async def test_an_old_agent_publishes_and_serves_visitors(
    relay: RelayProcess, agent: baseline_agent.Agent
) -> None:
    done = await agent.ask("publish", hostnames=[NAME, "not.mine.example.org"])
    assert done["type"] == "published"
    assert set(done["refused"]) == {"not.mine.example.org"}
    hello = hellos.hello(NAME)
    with contextlib.closing(await agent.park()) as channel:
        reader, writer = await asyncio.open_connection("127.0.0.1", relay.https_port)
        writer.write(hello)
        header, flight = await agent.opened(channel, 1)
        port = writer.get_extra_info("sockname")[1]
        assert header[16:20] == bytes((127, 0, 0, 1))
        assert int.from_bytes(header[24:26], "big") == port
        assert flight == hello
        await asyncio.get_running_loop().sock_sendall(channel, b"answer")
        assert await reader.readexactly(6) == b"answer"
        writer.close()
        assert await baseline_agent.read(channel, 1) == b""


async def test_an_old_agent_is_asked_for_channels(
    relay: RelayProcess, agent: baseline_agent.Agent
) -> None:
    await agent.ask("publish", hostnames=[NAME])
    _, writer = await asyncio.open_connection("127.0.0.1", relay.https_port)
    writer.write(hellos.hello(NAME))
    await writer.drain()
    async with asyncio.timeout(30):
        while not agent.needs:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await agent.hear()
    with contextlib.closing(await agent.park()) as channel:
        await agent.opened(channel, 1)
    writer.close()


async def test_an_old_agent_shows_acme_answers(
    relay: RelayProcess, agent: baseline_agent.Agent
) -> None:
    told = {"hostname": NAME, "token": "tok"}
    done = await agent.ask("answer", **told, key_authorization="tok.thumb")
    assert done["type"] == "done"
    url = f"http://127.0.0.1:{relay.http_port}/.well-known/acme-challenge/tok"
    async with (
        ClientSession() as client,
        client.get(url, headers={"Host": NAME}) as answer,
    ):
        assert await answer.text() == "tok.thumb"
    assert (await agent.ask("drop_answer", **told))["type"] == "done"


async def test_an_old_agent_understands_why_it_is_sent_away(
    relay: RelayProcess, agent: baseline_agent.Agent
) -> None:
    relay.run("relay", "grant", "cottage", "--domain", "more.example.com")
    assert await agent.hear() == {"type": "goodbye", "reason": "stopping"}


# --- today's home at an old relay -----------------------------------------------------


async def test_a_home_of_today_pairs_with_an_old_relay_and_goes_public(
    tmp_path: Path,
) -> None:
    async with baseline_relay.Relay(tmp_path) as old:
        settings = PebbleSettings(http_port=old.http_port)
        with Pebble(settings) as pebble, WebService() as web_:
            host, port = pebble.dns
            environment = {
                "HEARTHGATE_ACME__DIRECTORY": pebble.directory,
                "HEARTHGATE_ACME__CA_FILE": str(pebble.ca_file),
                "HEARTHGATE_DNS_SERVERS": f"{host}:{port}",
            }
            with HomeProcess(environment) as home:
                await _go_public(old, pebble, web_, home)
        assert old.broken == []
        kinds = [message["type"] for message in old.heard]
        assert kinds[0] == "hello"
        assert {"publish", "answer", "drop_answer"} <= set(kinds)


async def _go_public(
    old: baseline_relay.Relay, pebble: Pebble, web_: WebService, home: HomeProcess
) -> None:
    name = f"lamp.{baseline_relay.DOMAIN}"
    await pebble.set_a_async(name, ["127.0.0.1"])
    async with home.api() as api:
        await api.call("POST", "relays", {"code": old.code})
        await api.connected()
        body = {"name": "Lamp", "url": web_.url}
        service = await api.call("POST", "services", body)
        shown = await api.expose(service["id"], hostname=name)
        assert shown["exposure"]["status"]["phase"] == "live", shown
    await old.until(lambda: name in old.hostnames and old.parked)
    context = ssl.create_default_context(cadata=pebble.root_pem().decode())
    async with (
        ClientSession(connector=TCPConnector(ssl=context)) as client,
        client.get(
            f"https://127.0.0.1:{old.port}/echo",
            headers={"Host": name},
            server_hostname=name,
        ) as answer,
    ):
        assert answer.status == 200
