"""What a home asks of the Supervisor, and what it makes of the answers."""

from collections.abc import AsyncIterator

from aiohttp import web
import pytest

from hearthgate.home.hass.client.payloads import AddOn, Broker, read_own
from hearthgate.home.hass.client.supervisor import Supervisor
from hearthgate.home.hass.errors import SupervisorAwayError, SupervisorRefusedError
from hearthgate.home.model import Scheme, Target
from hearthgate.shared.settings.kinds import Secret
from tests.harness.supervisor import SLUG, TOKEN, StandInSupervisor


@pytest.fixture
async def stand_in() -> AsyncIterator[StandInSupervisor]:
    async with StandInSupervisor(ingress_port=62001, core_port=80) as running:
        yield running


@pytest.fixture
async def supervisor(stand_in: StandInSupervisor) -> AsyncIterator[Supervisor]:
    async with Supervisor(stand_in.url, Secret(TOKEN)) as client:
        yield client


async def test_it_tells_where_ingress_reaches_us(supervisor: Supervisor) -> None:
    own = await supervisor.own()
    assert (own.slug, own.address, own.ingress_port) == (SLUG, "127.0.0.1", 62001)


async def test_port_and_scheme_of_home_assistant_are_never_assumed(
    stand_in: StandInSupervisor, supervisor: Supervisor
) -> None:
    assert (await supervisor.core()).target == Target(Scheme.HTTP, "127.0.0.1", 80)
    stand_in.core |= {"port": 8443, "ssl": True, "ip_address": "172.30.32.1"}
    assert (await supervisor.core()).target.url == "https://172.30.32.1:8443/"


async def test_it_tells_the_addresses_of_the_machine(supervisor: Supervisor) -> None:
    assert await supervisor.host_addresses() == {"192.0.2.10", "fe80::1"}


async def test_a_long_answer_is_read_to_its_end(
    stand_in: StandInSupervisor, supervisor: Supervisor
) -> None:
    """It comes in several pieces; the first one alone is no JSON."""
    stand_in.add_ons = {
        f"one_{number}": {"name": "x" * 1000, "state": "stopped"}
        for number in range(1000)
    } | {"last": {"name": "Last", "webui": "http://[HOST]:80"}}
    assert [one.slug for one in await supervisor.add_ons(without=SLUG)] == ["last"]


async def test_an_answer_without_end_is_refused(
    stand_in: StandInSupervisor, supervisor: Supervisor
) -> None:
    stand_in.own["options"] = "x" * 5_000_000
    with pytest.raises(SupervisorAwayError):
        await supervisor.own()


async def test_running_add_ons_with_a_page_are_found_and_no_others(
    stand_in: StandInSupervisor, supervisor: Supervisor
) -> None:
    stand_in.add_ons = {
        "core_zigbee": {"name": "Zigbee", "webui": "http://[HOST]:8099/ui"},
        "a0d7b954_nvr": {"name": "Recorder", "webui": "https://[HOST]:8971"},
        "core_ssh": {"name": "Terminal", "webui": None},
        "hidden": {"name": "Port not published", "webui": "http://[HOST]:None"},
        "stopped": {"name": "Off", "webui": "http://[HOST]:1", "state": "stopped"},
    }
    assert await supervisor.add_ons(without=SLUG) == [
        AddOn("core_zigbee", "Zigbee", Scheme.HTTP, 8099),
        AddOn("a0d7b954_nvr", "Recorder", Scheme.HTTPS, 8971),
    ]


async def test_a_broker_comes_with_its_login_and_none_is_no_error(
    stand_in: StandInSupervisor, supervisor: Supervisor
) -> None:
    assert await supervisor.broker() is None
    stand_in.broker = {
        "addon": "core_mosquitto",
        "host": "core-mosquitto",
        "port": 1883,
        "ssl": False,
        "username": "addons",
        "password": "secret",
        "protocol": "3.1.1",
    }
    expected = Broker("core-mosquitto", 1883, "addons", Secret("secret"), tls=False)
    found = await supervisor.broker()
    assert found == expected
    assert "secret'" not in repr(found)


async def test_a_wrong_token_is_said(stand_in: StandInSupervisor) -> None:
    async with Supervisor(stand_in.url, Secret("yesterday's")) as client:
        with pytest.raises(SupervisorAwayError, match="none of its own"):
            await client.own()


async def test_a_refusal_carries_the_supervisors_words(
    stand_in: StandInSupervisor, supervisor: Supervisor
) -> None:
    del stand_in
    with pytest.raises(SupervisorRefusedError, match="App does not exist"):
        await supervisor._read("/addons/nothing/info", read_own)


async def test_a_supervisor_that_is_not_there_is_away(
    unused_tcp_port: int,
) -> None:
    async with Supervisor(f"http://127.0.0.1:{unused_tcp_port}", Secret("x")) as client:
        with pytest.raises(SupervisorAwayError):
            await client.core()


@pytest.mark.parametrize(
    "change",
    [{"port": "80"}, {"port": 0}, {"port": True}, {"ssl": None}, {"ip_address": "?"}],
)
async def test_an_answer_that_makes_no_sense_is_not_used(
    stand_in: StandInSupervisor, supervisor: Supervisor, change: dict[str, object]
) -> None:
    stand_in.core |= change
    with pytest.raises(SupervisorAwayError, match="can't be understood"):
        await supervisor.core()


async def test_an_answer_that_is_no_json_is_not_used() -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text="<html>502</html>", status=502)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with Supervisor(url, Secret(TOKEN)) as client:
            with pytest.raises(SupervisorAwayError, match="502"):
                await client.own()
    finally:
        await runner.cleanup()
