"""Which names the page answers to, and what it says to others."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from hearthgate.home.settings import HomeSettings
from hearthgate.home.web.hosts import KnownHosts, name_in
from hearthgate.home.web.login.users import NoLogin
from hearthgate.home.web.server import WebServer
from hearthgate.shared.settings.loader import load_settings
from tests.support.memory_home import MemoryHome

MACHINE = "Nas.Example.NET"
OURS = [
    *("192.168.1.5", "192.168.1.5:8099", "127.0.0.1:8099", "203.0.113.9:80"),
    *("[::1]", "[::1]:8099", "[fd00::5]:8099", "[2001:db8::1]", "[::ffff:10.0.0.1]"),
    "[fe80::1%eth0]:8099",
    *("localhost:8099", "page.localhost", "nas:8099", "NAS", "hearthgate"),
    *("nas.local:8099", "homeassistant.local", "nas.lan", "nas.home", "nas.home.arpa"),
    *("a.b.internal", "nas.localdomain", "nas.intranet", "nas.local."),
    *("nas.fritz.box:8099", "nas.speedport.ip", "nas.example.net", "nas.example.net."),
    *("door.example.org", "DOOR.example.org:443"),
]
OTHERS = [
    *("evil.example", "evil.example:8099", "192.168.1.5.evil.example", "nas.evil.org"),
    *("192.168.1.5.nip.io", "local.evil.example", "xlocal", "evil.fritz.box.example"),
    *("evil.fritz.box", "evil.speedport.ip", "nas.box", "sub.door.example.org"),
    *("local", "fritz.box", "a.nas.fritz.box", "nas.example.net.evil.org"),
    *(
        "",
        ":8099",
        ".",
        ".local",
        "..local",
        "nas.local..",
        "-",
        "nas local",
        "nas,lan",
    ),
    *("1", "2130706433", "0x7f.1", "127.1", "0177.0.0.1", "1.2.3.4.5", "1.2.3.400"),
    *("[::1", "::1", "[::1]x", "[::1]:x", "[]", "[evil.example]"),
    *("evil.example:80@nas.local", "user@nas.local", "nas.local/", "nas.local:80:80"),
    *("nas.local:", "nas.local:99999999", "nas.local\\", "nas.lokal", "evil.local\0"),
    *("evil。local", "nas.loc\u0131l", "bücher.local", "x" * 254 + ".local"),
]
# Names of one label are looked up on the home network only, whatever they are.
ONE_LABEL = {"local", "xlocal", "-"}


def known(more: Collection[str] = ("door.example.org",)) -> KnownHosts:
    return KnownHosts(lambda: more, machine=MACHINE)


@pytest.mark.parametrize("host", OURS)
def test_names_that_only_a_home_network_knows_are_ours(host: str) -> None:
    assert known().knows(host.lower())


@pytest.mark.parametrize("host", OTHERS)
def test_a_name_that_a_stranger_may_own_is_not_ours(host: str) -> None:
    assert known().knows(host.lower()) is (host in ONE_LABEL)


@pytest.mark.parametrize("host", ["", ".", ":", ":80", "[", "[]", "[]:80"])
def test_nothing_is_no_name_even_if_nothing_is_listed(host: str) -> None:
    assert not known(("",)).knows(host)


def test_a_name_is_found_in_a_host_header() -> None:
    assert name_in("nas.local:8099") == "nas.local"
    assert name_in("[::1]:8099") == "[::1]"
    assert name_in("nas.local.") == "nas.local"
    assert name_in("nas.local:http") == ""


Ask = Callable[..., Any]


@pytest.fixture
async def ask(page: Path) -> AsyncIterator[Ask]:
    """Give a function that sends one request, byte by byte as given."""
    server = WebServer(
        MemoryHome(), NoLogin("test"), host="127.0.0.1", page=page, hosts=known()
    )
    await server.start()

    async def send(path: str, *headers: str, version: str = "1.1") -> tuple[int, str]:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        lines = [f"GET {path} HTTP/{version}", *headers, "Connection: close", "", ""]
        writer.write("\r\n".join(lines).encode())
        async with asyncio.timeout(30):
            said = (await reader.read()).decode()
        writer.close()
        return int(said.split(" ")[1]), said

    yield send
    await server.stop()


@pytest.mark.parametrize("host", ["192.168.1.5:8099", "nas.local", "door.example.org"])
async def test_the_page_is_there_under_a_name_of_ours(ask: Ask, host: str) -> None:
    for path in ("/", "/api/state"):
        status, said = await ask(path, f"Host: {host}")
        assert status == 200, said


async def test_another_name_gets_nothing_of_the_api(ask: Ask) -> None:
    for path in ("/api/state", "/api/session", "/api/health", "/api/nothing"):
        status, said = await ask(path, "Host: evil.example:8099")
        assert status == 421
        assert '"code": "host_unknown"' in said
        assert '"host": "evil.example"' in said
        assert "relays" not in said


async def test_a_person_reads_which_setting_to_set(ask: Ask) -> None:
    status, said = await ask("/", "Host: door.example.com", "Accept-Language: en-GB")
    assert status == 421
    assert "Content-Type: text/plain" in said
    assert "does not answer to the name door.example.com." in said
    assert "HEARTHGATE_WEB__HOSTS" in said


async def test_a_person_reads_it_in_german_too(ask: Ask) -> None:
    status, said = await ask("/", "Host: tor.example.com", "Accept-Language: de-AT,en")
    assert status == 421
    assert "antwortet nicht auf den Namen tor.example.com." in said
    assert "HEARTHGATE_WEB__HOSTS" in said


@pytest.mark.parametrize(
    "headers",
    [(), ("Host: nas.local", "Host: evil.example"), ("Host:",)],
    ids=["none", "two", "empty"],
)
@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_no_clear_name_gets_nothing(
    ask: Ask, headers: tuple[str, ...], version: str
) -> None:
    for path in ("/", "/api/state"):
        status, said = await ask(path, *headers, version=version)
        assert status in {400, 421}
        assert "relays" not in said


async def test_the_target_of_a_request_does_not_stand_for_its_name(ask: Ask) -> None:
    status, _ = await ask("http://nas.local/api/state", "Host: evil.example")
    assert status == 421


async def test_a_websocket_under_another_name_is_refused(page: Path) -> None:
    server = WebServer(
        MemoryHome(), NoLogin("test"), host="127.0.0.1", page=page, hosts=known()
    )
    await server.start()
    url = f"http://127.0.0.1:{server.port}/api/live"
    async with aiohttp.ClientSession() as browser:
        for host, origin, status in (
            ("evil.example", "http://evil.example", 421),
            ("nas.local", "http://evil.example", 403),
        ):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await browser.ws_connect(url, headers={"Host": host, "Origin": origin})
            assert refused.value.status == status
        headers = {"Host": "nas.local", "Origin": "http://nas.local"}
        async with browser.ws_connect(url, headers=headers) as live:
            assert (await live.receive_json(timeout=30))["type"] == "state"
    await server.stop()


def test_further_names_are_a_setting() -> None:
    loaded = load_settings(
        HomeSettings,
        environment={"HEARTHGATE_WEB__HOSTS": "Door.Example.org, nas.example.com"},
    )
    assert loaded.web.hosts == ("door.example.org", "nas.example.com")
