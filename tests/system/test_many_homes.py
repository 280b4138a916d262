"""Two households on one relay: each has its own, and edits work at once.

cottage ── lamp.home.example.com      barn ── shelf.barn.203-0-113-5.sslip.io
"""

import asyncio
from collections.abc import Iterator
import contextlib
import json

from aiohttp import ClientError
import pytest

from tests.harness.hearthgate import ApiError, HomeProcess, Json, ProcessError
from tests.harness.scene import LOOPBACK, Scene, furnish

LAMP = "lamp.home.example.com"
BARN = "barn.203-0-113-5.sslip.io"
SHELF = f"shelf.{BARN}"

pytestmark = pytest.mark.keeps("processes")


class Village(Scene):
    """A scene with a second home, which has no domain of its own."""

    barn: HomeProcess

    async def settle(self) -> None:
        self.barn = HomeProcess(self.acme_environment())
        self.barn.start()
        await self.expose(self.web.url, "Lamp")
        code = await asyncio.to_thread(
            self.relay.run,
            *("relay", "invite", "--name", "barn", "--json"),
            *("--address", "203.0.113.5"),
        )
        assert json.loads(code)["domains"] == [BARN]
        self.relay.run("relay", "revoke", "barn")
        code = self.relay.invite(BARN, "barn")
        await self.pebble.set_a_async(SHELF, [LOOPBACK])
        await furnish(self.barn, code, self.web.url, SHELF)


@pytest.fixture(scope="module")
def village() -> Iterator[Village]:
    there = Village()
    asyncio.run(there.__aenter__())
    try:
        try:
            asyncio.run(there.settle())
            yield there
        finally:
            there.barn.stop()
    finally:
        asyncio.run(there.__aexit__(None, None, None))


async def test_each_home_answers_for_its_own_names_only(village: Village) -> None:
    assert (await village.visit(LAMP, "/echo")).status == 200
    assert (await village.visit(SHELF, "/echo")).status == 200
    async with village.barn.api() as api:
        # Its own page refuses already, or the relay does: it must not be live.
        with contextlib.suppress(ApiError):
            shown = await api.expose(await shelf(village), hostname=LAMP)
            assert shown["exposure"]["status"]["phase"] == "failed"
    assert (await village.visit(LAMP, "/echo")).status == 200
    async with village.barn.api() as api:
        await api.expose(await shelf(village), hostname=SHELF)


async def shelf(village: Village) -> str:
    async with village.barn.api() as api:
        found: str = (await api.state())["services"][0]["id"]
        return found


def test_a_home_is_shown_with_what_its_names_carried(village: Village) -> None:
    home = show(village, "cottage")
    assert home["state"] == "connected"
    assert home["remote"] == LOOPBACK
    assert [one["hostname"] for one in home["traffic"]] == [LAMP]
    assert home["traffic"][0]["to_visitor"] > 1000
    assert SHELF not in json.dumps(home)
    table = village.relay.run("relay", "show", "cottage")
    assert LAMP in table
    assert "connected for" in table


def test_the_status_is_there_for_people_and_programs(village: Village) -> None:
    status = village.relay.status()
    assert (status["homes"], status["connected"]) == (2, 2)
    assert status["visitors_served"] >= 1
    assert status["first_byte_s"]["half"] is not None
    table = village.relay.run("relay", "status")
    assert "Homes connected" in table
    assert "First byte" in table


def test_a_home_that_nobody_knows_is_named(village: Village) -> None:
    with pytest.raises(ProcessError, match="no home with the name stable"):
        village.relay.run("relay", "show", "stable")


def test_a_conflicting_grant_is_refused_with_the_holder(village: Village) -> None:
    with pytest.raises(ProcessError) as caught:
        grant(village, "cottage", f"x.{SHELF}")
    assert "belongs to the home barn" in " ".join(str(caught.value).split())
    with pytest.raises(ProcessError, match="belongs to the home"):
        grant(village, "barn", "home.example.com")


async def test_a_domain_that_is_granted_works_at_once(village: Village) -> None:
    name = "shelf.extra.example.com"
    grant(village, "barn", "extra.example.com")
    await village.pebble.set_a_async(name, [LOOPBACK])
    async with village.barn.api() as api:
        await api.until(
            lambda state: "extra.example.com" in state["relays"][0]["domains"] or None
        )
        shown = await api.expose(await shelf(village), hostname=name)
        assert shown["exposure"]["status"]["phase"] == "live"
        assert (await village.visit(name, "/echo")).status == 200
        await api.expose(await shelf(village), hostname=SHELF)
    grant(village, "barn", "extra.example.com", "--remove")


async def test_a_domain_that_is_taken_away_is_cut_at_once_and_only_it(
    village: Village,
) -> None:
    async with village.visitor(SHELF) as one, village.visitor(LAMP) as other:
        cut = await one.get("/sse", params={"interval": "0.02"})
        kept = await other.get("/sse", params={"interval": "0.02"})
        await cut.content.readany()
        await kept.content.readany()
        grant(village, "barn", BARN, "--remove")
        async with asyncio.timeout(20):
            with contextlib.suppress(ClientError, ConnectionError):
                while await cut.content.readany():
                    pass
        for _ in range(10):
            assert await kept.content.readany()
        cut.close()
        kept.close()
    with pytest.raises(ClientError):
        await village.visit(SHELF, "/echo")
    assert show(village, "barn")["hostnames"] == []
    grant(village, "barn", BARN)
    async with village.barn.api() as api:
        await api.until(lambda state: BARN in state["relays"][0]["domains"] or None)
        await api.expose(await shelf(village), hostname=SHELF)
    assert (await village.visit(SHELF, "/echo")).status == 200


def show(village: Village, name: str) -> Json:
    found: Json = json.loads(village.relay.run("relay", "show", name, "--json"))
    return found


def grant(village: Village, name: str, domain: str, *more: str) -> None:
    village.relay.run("relay", "grant", name, "--domain", domain, *more)
