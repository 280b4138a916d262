"""An update of the add-on: the container goes and comes, and what is public is back.

    old agent ──SIGTERM, as s6 does──▶ gone ──▶ new agent, on the same data
        ▲                               │                    ▲
        └── visitors, page ─────────────┴── wait at the relay ┘

The next version is a copy of the package; what goes wrong with it is edited into it.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
from pathlib import Path

from aiohttp import ClientError, ClientSession, TCPConnector, WSMsgType
import pytest

from hearthgate.home.state import state_file
from tests.harness.hearthgate import HomeProcess, Json, ProcessError
from tests.harness.ports import free_port
from tests.harness.scene import DOMAIN, PATIENT, Scene
from tests.harness.supervisor import StandInSupervisor, in_thread
from tests.harness.versions import NEXT, OtherVersion, this_version

LAMP = f"lamp.{DOMAIN}"
PEER = "127.0.0.2"
ADMIN = {"id": "admin", "is_active": True, "group_ids": ["system-admin"]}
ORDERED = "new certificate"

# Edges keep connections to the service in this process.
pytestmark = pytest.mark.keeps("processes", "sockets")


class AddOn(Scene):
    """A scene whose home is an add-on."""

    def __init__(self, stand_in: StandInSupervisor) -> None:
        super().__init__(
            relay_environment=PATIENT,
            home_environment={
                **stand_in.environment,
                "HEARTHGATE_HASS__INGRESS_PEER": PEER,
            },
        )
        self.ingress = stand_in.own["ingress_port"]


@pytest.fixture(scope="module")
def place() -> Iterator[AddOn]:
    stand_in = StandInSupervisor(ingress_port=free_port(), core_port=free_port())
    stand_in.commands["config/auth/list"] = [ADMIN]
    with in_thread(stand_in):
        scene = AddOn(stand_in)
        asyncio.run(scene.__aenter__())
        try:
            asyncio.run(scene.expose(scene.web.url, "Lamp"))
            yield scene
        finally:
            asyncio.run(scene.__aexit__(None, None, None))


@pytest.fixture
def following(tmp_path: Path) -> OtherVersion:
    """Give the next version, as yet with no difference but its number."""
    return OtherVersion(tmp_path / "next")


@pytest.fixture
def home(place: AddOn) -> Iterator[HomeProcess]:
    """Give the home, and have the version under test run again afterwards."""
    yield place.home
    place.home.stop()
    place.home.change(this_version())
    place.home.start()
    asyncio.run(is_served(place))


async def is_served(scene: Scene) -> Json:
    """Wait until the lamp is live, visit it, and return the state."""
    async with scene.home.api() as api:
        await api.connected()
        await api.service(
            lambda one: bool(
                one["exposure"] and one["exposure"]["status"]["phase"] == "live"
            )
        )
        state = await api.state()
    assert (await scene.visit(LAMP)).status == 200
    return state


def update(home: HomeProcess, version: OtherVersion) -> None:
    """Do what the Supervisor does: end the old container, start the new one."""
    home.stop()
    home.change(version.environment)
    home.start()


def fails_to_start(home: HomeProcess) -> str:
    said_before = len(home.log)
    with pytest.raises(ProcessError):
        home.start()
    return home.log[said_before:]


# --- a visitor and an administrator during an update ----------------------------------


class Browser:
    """A page that is open at a visitor's: it reconnects its WebSocket, and reloads."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.connections = 0
        self._heard = asyncio.Event()

    async def run(self) -> None:
        async with self._scene.visitor(LAMP) as visitor:
            while True:
                with contextlib.suppress(ClientError, OSError):
                    async with visitor.ws_connect("/ws") as ws:
                        self.connections += 1
                        await ws.send_str("hello")
                        async for frame in ws:
                            if frame.type is WSMsgType.TEXT:
                                self._heard.set()
                                await asyncio.sleep(0.05)
                                await ws.send_str("hello")
                await asyncio.sleep(0.05)

    async def hears_again(self) -> None:
        self._heard.clear()
        async with asyncio.timeout(60):
            await self._heard.wait()


async def until_somebody_waits(scene: Scene) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(somebody_waits, scene):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def somebody_waits(scene: Scene) -> bool:
    return bool(scene.relay.status()["waiting"])


@contextlib.asynccontextmanager
async def open_page(scene: Scene) -> AsyncIterator[Browser]:
    browser = Browser(scene)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(browser.run(), name="browser")
        await browser.hears_again()
        yield browser
        running.cancel()


async def page_behind_ingress(scene: AddOn) -> Json:
    """Read the state as an administrator does, as soon as the page is there again."""
    connector = TCPConnector(local_addr=(PEER, 0))
    url = f"http://127.0.0.1:{scene.ingress}/api/state"
    headers = {"X-Remote-User-Id": "admin"}
    async with ClientSession(connector=connector) as client, asyncio.timeout(60):
        while True:
            with contextlib.suppress(ClientError, OSError):
                async with client.get(url, headers=headers) as got:
                    if got.status == 200:
                        found: Json = await got.json()
                        return found
            await asyncio.sleep(0.05)


async def test_a_visitor_and_an_administrator_are_back_after_an_update_by_themselves(
    place: AddOn, home: HomeProcess, following: OtherVersion
) -> None:
    before = await page_behind_ingress(place)
    ordered = home.log.count(ORDERED)
    async with open_page(place) as browser:
        connections = browser.connections
        await asyncio.to_thread(home.stop)
        waits = asyncio.create_task(place.visit(LAMP), name="comes meanwhile")
        await until_somebody_waits(place)
        home.change(following.environment)
        await home.start_again()
        assert (await waits).status == 200
        await browser.hears_again()
        assert browser.connections > connections
    after = await page_behind_ingress(place)
    assert after["home"]["version"] == NEXT
    assert [one["id"] for one in after["relays"]] == [
        one["id"] for one in before["relays"]
    ]
    assert home.log.count(ORDERED) == ordered
    assert len(place.relay.homes()) == 1
    await is_served(place)


# --- an update that goes wrong --------------------------------------------------------


def with_a_migration(version: OtherVersion, migrate: str) -> None:
    """Give the next version another format of the state."""
    module = "home/state/state_file.py"
    now = state_file.STATE_VERSION
    version.edit(module, f"STATE_VERSION = {now}", f"STATE_VERSION = {now + 1}")
    version.edit(module, "MIGRATIONS = {", f"MIGRATIONS = {{{now}: {migrate}, ")


async def goes_back(scene: AddOn) -> None:
    """Start the version from before the update; all must be as it was."""
    scene.home.stop()
    scene.home.change(this_version())
    scene.home.start()
    state = await is_served(scene)
    assert state["home"]["version"] != NEXT
    assert state["home"]["damage"] is None


async def test_after_a_migration_that_fails_the_version_before_starts_and_serves(
    place: AddOn, home: HomeProcess, following: OtherVersion
) -> None:
    with_a_migration(following, "lambda data: data['nobody has this']")
    state = (home.data / "state.yaml").read_bytes()
    home.stop()
    home.change(following.environment)
    said = fails_to_start(home)
    assert f"can't be brought to version {state_file.STATE_VERSION + 1}" in said
    assert "go back" in said
    assert "Traceback" not in said
    assert (home.data / "state.yaml").read_bytes() == state
    await goes_back(place)


async def test_after_a_version_that_crashes_the_one_before_starts_and_serves(
    place: AddOn, home: HomeProcess, following: OtherVersion
) -> None:
    """Also one with another format: it has written nothing before it was in use."""
    with_a_migration(following, "lambda data: data")
    following.edit(
        "home/agent.py",
        "    async def _begin(self) -> None:\n",
        "    async def _begin(self) -> None:\n        raise SystemError('a bug')\n",
    )
    home.stop()
    home.change(following.environment)
    assert "a bug" in fails_to_start(home)
    await goes_back(place)


async def test_after_a_version_whose_edge_is_refused_the_one_before_serves(
    place: AddOn, home: HomeProcess, following: OtherVersion
) -> None:
    """Its page is there and says what is wrong, so that one can go back."""
    with_a_migration(following, "lambda data: data")
    following.edit(
        "home/edge/folder.py",
        "CONFIG: render(wanted.routes, settings, generation),",
        "CONFIG: 'a word that HAProxy does not know',",
    )
    update(home, following)
    async with home.api() as api:
        failed = await api.service(
            lambda one: bool(
                one["exposure"] and one["exposure"]["status"]["phase"] == "failed"
            )
        )
    assert failed["exposure"]["status"]["problem"]["code"] == "edge_refused"
    assert (await page_behind_ingress(place))["home"]["version"] == NEXT
    await goes_back(place)


async def test_after_a_version_that_was_in_use_the_state_from_before_it_is_there(
    place: AddOn, home: HomeProcess, following: OtherVersion
) -> None:
    """The older version does not guess: what was switched off since would be on."""
    with_a_migration(following, "lambda data: data")
    before = (home.data / "state.yaml").read_bytes()
    update(home, following)
    guest = await place.add("http://192.0.2.1/", "Guest")
    assert (
        home.data / f"state.yaml.version-{state_file.STATE_VERSION}"
    ).read_bytes() == before
    newer = (home.data / "state.yaml").read_bytes()
    home.stop()
    home.change(this_version())
    said = fails_to_start(home)
    assert "newer Hearthgate" in said
    assert f"state.yaml.version-{state_file.STATE_VERSION}" in said
    assert (home.data / "state.yaml").read_bytes() == newer
    (home.data / f"state.yaml.version-{state_file.STATE_VERSION}").replace(
        home.data / "state.yaml"
    )
    (home.data / "state.good.yaml").unlink()
    await goes_back(place)
    async with home.api() as api:
        assert guest["id"] not in {one["id"] for one in (await api.state())["services"]}


async def test_books_of_a_newer_version_that_can_be_made_anew_are_no_obstacle(
    place: AddOn, home: HomeProcess
) -> None:
    ordered = home.log.count(ORDERED)
    home.stop()
    (book,) = home.data.glob("certificates/*/state.yaml")
    for path in (book, book.with_suffix(".good.yaml")):
        path.write_text("version: 4711\n")
    home.start()
    await is_served(place)
    assert home.log.count(ORDERED) == ordered
    assert book.with_name("state.yaml.version-4711").read_text() == "version: 4711\n"
