"""Two machines with the keys of one home: a backup was restored; the old one is back.

    old ──backup──▶ tar ──▶ new: is the home from its first connection on
     └── comes back ──▶ refused, with words; a person there may turn it round

They never push each other out in turn, and what was switched off on the new one is not
made public by the old one.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
import shutil

import pytest

from tests.harness.backup import back_up, restore
from tests.harness.hearthgate import HomeProcess, Json
from tests.harness.scene import DOMAIN, Scene
from tests.system.test_backup import EXCLUDE

LAMP = f"lamp.{DOMAIN}"
DIARY = f"diary.{DOMAIN}"

pytestmark = pytest.mark.keeps("processes")


class Twins(Scene):
    """A home, and another machine with what a backup of it holds."""

    new: HomeProcess

    async def furnish(self) -> None:
        """Expose two services; restore a backup on a machine that is off as yet."""
        await self.expose(self.web.url, "Lamp")
        await self.expose(self.web.url, "Diary")
        self.new = HomeProcess(self.acme_environment())
        tar = self.home.folder / "backup.tar"
        back_up(self.home.data, tar, EXCLUDE)
        restore(tar, self.new.data)


@pytest.fixture
def twins() -> Iterator[Twins]:
    made = Twins()
    asyncio.run(made.__aenter__())
    try:
        asyncio.run(made.furnish())
        with made.new:
            yield made
    finally:
        asyncio.run(made.__aexit__(None, None, None))


async def until_relay(home: HomeProcess, state: str, code: str = "") -> Json:
    """Wait until the relay is in a state, with a problem; return it."""

    def look(found: Json) -> Json | None:
        relay: Json = found["relays"][0]
        problem = relay["problem"]["code"] if relay["problem"] else ""
        return relay if (relay["state"], problem) == (state, code) else None

    async with home.api() as api:
        return await api.until(look)


async def insist(home: HomeProcess) -> None:
    async with home.api() as api:
        relay = (await api.state())["relays"][0]
        await api.call("POST", f"relays/{relay['id']}/reconnect")


async def switch_off(home: HomeProcess, name: str) -> None:
    async with home.api() as api:
        service = await api.service(lambda one: one["name"] == name)
        await api.settled(service["id"], ("live",))
        await api.hide(service["id"])


@contextlib.asynccontextmanager
async def undisturbed(scene: Scene) -> AsyncIterator[None]:
    """Have a WebSocket through the public hostname that nothing may end."""
    async with scene.visitor(LAMP) as visitor, visitor.ws_connect("/ws") as ws:
        yield
        await ws.send_str("still here")
        assert (await ws.receive_str()) == "still here"


def sessions(scene: Scene) -> int:
    return scene.relay.log.count("cottage: Connected from")


async def test_the_restored_home_takes_over_and_the_old_one_does_not_fight(
    twins: Twins,
) -> None:
    await until_relay(twins.new, "connected")
    ids = {(one.data / "machine").read_text() for one in (twins.home, twins.new)}
    assert len(ids) == 2, "what tells machines apart was in the backup"
    problem = (await until_relay(twins.home, "refused", "home_moved"))["problem"]
    assert "reconnect here" in problem["hint"]
    assert "Another machine is this home" in twins.home.log
    assert "Another machine is this home now" in twins.relay.log
    await switch_off(twins.new, "Diary")
    before = sessions(twins)
    async with undisturbed(twins):
        twins.home.stop()
        twins.home.start()  # the old machine comes back
        await until_relay(twins.home, "refused", "home_moved")
        with pytest.raises(OSError, match="UNRECOGNIZED_NAME"):
            await twins.open(DIARY)
    assert sessions(twins) == before
    assert (await twins.visit(LAMP)).status == 200


async def test_who_is_home_survives_a_restart_of_the_relay(twins: Twins) -> None:
    await until_relay(twins.new, "connected")
    await until_relay(twins.home, "refused", "home_moved")
    twins.new.stop()
    twins.relay.stop()
    twins.relay.start()
    twins.home.stop()
    twins.home.start()
    await until_relay(twins.home, "refused", "home_moved")  # even if it comes first
    twins.new.start()
    await until_relay(twins.new, "connected")
    assert (await twins.visit(LAMP)).status == 200


async def test_a_person_can_make_the_old_machine_the_home_again(twins: Twins) -> None:
    await until_relay(twins.new, "connected")
    await until_relay(twins.home, "refused", "home_moved")
    await insist(twins.home)
    await until_relay(twins.home, "connected")
    await until_relay(twins.new, "refused", "home_moved")
    async with undisturbed(twins):
        twins.new.stop()
        twins.new.start()
        await until_relay(twins.new, "refused", "home_moved")
    twins.home.stop()
    twins.home.start()  # it needs no second word
    await until_relay(twins.home, "connected")
    assert (await twins.visit(LAMP)).status == 200


async def test_a_copy_of_the_whole_folder_waits_until_the_other_one_is_gone(
    twins: Twins,
) -> None:
    """It has what tells machines apart as well, so the one that came last stays."""
    twins.new.stop()
    shutil.copy(twins.home.data / "machine", twins.new.data / "machine")
    await insist(twins.home)
    await until_relay(twins.home, "connected")
    twins.new.start()
    await until_relay(twins.new, "connected")
    async with undisturbed(twins):
        relay = await until_relay(twins.home, "waiting", "relay_replaced")
        assert "once the other is gone" in relay["problem"]["hint"]
        before = sessions(twins)
        async with asyncio.timeout(60):
            while "a second machine" not in twins.relay.log:  # noqa: ASYNC110
                await asyncio.sleep(0.1)  # it has asked, and was sent away
        assert sessions(twins) == before
    twins.new.stop()
    await until_relay(twins.home, "connected")
    assert (await twins.visit(LAMP)).status == 200
