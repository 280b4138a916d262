"""What stands between a wish and its certificate, as the user gets to see it.

    home ──▶ FaultyRelay (any TCP) ──▶ Pebble       down, slow, refusing
    home ──▶ FakeCa                                 limits rates, which Pebble can't

In every case another exposure, which has its certificate, goes on.
"""

import asyncio
from collections.abc import AsyncIterator
import contextlib
from pathlib import Path
import time

import pytest

from tests.harness.faulty import BLACKHOLE, PASS, FaultyRelay, Kind
from tests.harness.hearthgate import Api, HomeProcess, Json
from tests.harness.pebble import PebbleSettings
from tests.harness.ports import free_port
from tests.harness.scene import DOMAIN, LOOPBACK, Scene
from tests.support.fake_ca import FakeCa, Refusal

WATCHED_S = 3.0  # how long a home that failed is looked at for a busy loop
BY_ITSELF_S = 150.0  # the first repetition is due after a minute

pytestmark = pytest.mark.keeps("processes")


@contextlib.asynccontextmanager
async def gated(
    pebble: PebbleSettings | None = None,
) -> AsyncIterator[tuple[Scene, FaultyRelay]]:
    """Give a scene whose home asks Pebble through a faulty path, and one live lamp."""
    port = free_port()
    directory = {"HEARTHGATE_ACME__DIRECTORY": f"https://{LOOPBACK}:{port}/dir"}
    async with Scene(home_environment=directory, pebble=pebble) as scene:
        target = int(scene.pebble.directory.split(":")[2].partition("/")[0])
        async with FaultyRelay(target, listen_port=port) as path:
            await scene.expose(scene.web.url, "Lamp")
            yield scene, path


async def wish(scene: Scene, api: Api, name: str) -> Json:
    """Switch a new service on; return it once it is live or has failed."""
    service = await scene.add(scene.web.url, name)
    shown: Json = await api.expose(service["id"])
    return shown


def problem_of(service: Json) -> Json:
    status = service["exposure"]["status"]
    assert status["phase"] == "failed"
    assert status["problem"]["hint"]
    found: Json = status["problem"]
    return found


async def retried(api: Api, service: Json) -> Json:
    """Ask for another try as the user would; return how that ended."""
    await api.call("POST", f"services/{service['id']}/exposure/retry")
    return await api.settled(service["id"])


async def lamp_is_lit(scene: Scene) -> bool:
    return (await scene.visit(f"lamp.{DOMAIN}")).status == 200


async def point(scene: Scene, label: str, address: str = LOOPBACK) -> None:
    await scene.pebble.set_a_async(f"{label}.{DOMAIN}", [address])


async def test_an_authority_that_is_away_is_named_and_found_again_on_retry() -> None:
    async with gated() as (scene, path), scene.home.api() as api:
        await point(scene, "shed")
        path.refuse(*Kind)
        path.cut()
        shed = await wish(scene, api, "Shed")
        problem = problem_of(shed)
        assert problem["code"] == "ca_unreachable"
        assert problem["retry_at"] > time.time()
        tries = path.accepted
        await asyncio.sleep(WATCHED_S)
        assert path.accepted == tries
        assert await lamp_is_lit(scene)
        path.refuse()
        again = await retried(api, shed)
        assert again["exposure"]["status"]["phase"] == "live"
        assert (await scene.visit(f"shed.{DOMAIN}")).status == 200


@pytest.mark.slow
async def test_an_authority_that_hangs_is_given_up_and_holds_up_nobody() -> None:
    async with gated() as (scene, path), scene.home.api() as api:
        await point(scene, "shed")
        await path.fault(BLACKHOLE)
        failing = asyncio.create_task(wish(scene, api, "Shed"))
        await api.service(
            lambda one: bool(
                one["name"] == "Shed"
                and one["exposure"]
                and one["exposure"]["status"]["phase"] in ("checking_dns", "ordering")
            )
        )
        lamp = (await api.state())["services"][0]
        await api.hide(lamp["id"])
        await api.expose(lamp["id"])
        assert await lamp_is_lit(scene)
        problem = problem_of(await failing)
        assert problem["code"] == "ca_slow"
        tries = path.accepted
        await asyncio.sleep(WATCHED_S)
        assert path.accepted == tries
        await path.fault(PASS)


@pytest.mark.slow
async def test_what_failed_for_a_passing_reason_comes_by_itself() -> None:
    async with gated() as (scene, path), scene.home.api() as api:
        await point(scene, "away")
        late = await wish(scene, api, "Late")
        path.refuse(*Kind)
        path.cut()
        away = await wish(scene, api, "Away")
        assert problem_of(late)["code"] == "dns_no_record"
        assert problem_of(away)["code"] == "ca_unreachable"
        path.refuse()
        await point(scene, "late")
        for service in (late, away):
            await api.service(
                lambda one, wanted=service["id"]: bool(  # type: ignore[misc]
                    one["id"] == wanted and one["exposure"]["status"]["phase"] == "live"
                ),
                deadline_s=BY_ITSELF_S,
            )


async def test_an_authority_that_refuses_good_nonces_costs_only_patience() -> None:
    async with gated(PebbleSettings(nonce_reject_percent=60)) as (scene, _):
        assert await lamp_is_lit(scene)


async def test_a_wrong_dns_record_is_told_with_what_it_should_be() -> None:
    async with gated() as (scene, path), scene.home.api() as api:
        orders = path.accepted
        none = await wish(scene, api, "None")
        await point(scene, "other", "192.0.2.77")
        other = await wish(scene, api, "Other")
        missing, elsewhere = problem_of(none), problem_of(other)
        assert missing["code"] == "dns_no_record"
        assert f"none.{DOMAIN}" in missing["message"]
        assert LOOPBACK in missing["hint"]
        assert elsewhere["code"] == "dns_points_elsewhere"
        assert "192.0.2.77" in elsewhere["message"]
        assert missing["retry_at"] > time.time()
        assert path.accepted == orders  # the authority was spared
        assert await lamp_is_lit(scene)
        for label in ("none", "other"):
            await point(scene, label)
        for service in (none, other):
            again = await retried(api, service)
            assert again["exposure"]["status"]["phase"] == "live"


async def test_the_authoritys_own_words_reach_the_user() -> None:
    pebble = PebbleSettings(blocked_domains=(f"blocked.{DOMAIN}",))
    async with gated(pebble) as (scene, _), scene.home.api() as api:
        await point(scene, "blocked")
        problem = problem_of(await wish(scene, api, "Blocked"))
        assert problem["code"] == "ca_refuses"
        assert f"blocked.{DOMAIN}" in problem["message"]
        assert "policy" in problem["message"]
        assert await lamp_is_lit(scene)


async def test_a_proof_that_nobody_can_see_is_told_with_what_was_tried() -> None:
    """Pebble looks at a port 80 where no relay is, as behind a closed firewall."""
    async with Scene(pebble=PebbleSettings(http_port=free_port())) as scene:
        await point(scene, "lamp")
        async with scene.home.api() as api:
            problem = problem_of(await wish(scene, api, "Lamp"))
        assert problem["code"] == "proof_failed"
        assert f"lamp.{DOMAIN}" in problem["message"]
        assert "refused" in problem["message"]


async def test_a_rate_limit_is_kept_even_if_the_user_insists(tmp_path: Path) -> None:
    ca = FakeCa(tmp_path)
    words = "too many certificates already issued for example.com"
    ca.refuse_always["/order"] = Refusal(
        "rateLimited", words, 429, {"Retry-After": "7200"}
    )
    async with ca.serve(), Scene(paired=False) as scene:
        environment = {
            **scene.acme_environment(),
            "HEARTHGATE_ACME__DIRECTORY": ca.directory,
            "HEARTHGATE_ACME__CA_FILE": str(ca.ca_file),
        }
        with HomeProcess(environment) as home:
            async with home.api() as api:
                code = await asyncio.to_thread(scene.relay.invite, DOMAIN, "limited")
                await api.call("POST", "relays", {"code": code})
                await api.connected()
                await point(scene, "lamp")
                body = {"name": "Lamp", "url": scene.web.url}
                lamp = await api.call("POST", "services", body)
                problem = problem_of(await api.expose(lamp["id"]))
                assert problem["code"] == "ca_rate_limited"
                assert words in problem["message"]
                assert problem["retry_at"] > time.time() + 7000
                assert ca.count("/order") == 1
                for _ in range(5):
                    again = problem_of(await retried(api, lamp))
                    assert words in again["message"]
                    assert again["retry_at"] > time.time() + 7000
            home.stop()
            home.start()  # the pause is on disk
            async with home.api() as api:
                await api.connected()
                again = problem_of(await api.settled(lamp["id"]))
                assert words in again["message"]
            await asyncio.sleep(WATCHED_S)
            assert ca.count("/order") == 1
