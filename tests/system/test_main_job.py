"""The main job: pair, switch on, visit, switch off. All parts are real."""

import asyncio
from collections.abc import AsyncIterator
import contextlib
import json
import ssl

from aiohttp import ClientError, StreamReader, WSMsgType
import pytest

from tests.harness.hearthgate import Api, ApiError, HomeProcess, Json, ProcessError
from tests.harness.scene import DOMAIN, LOOPBACK, Answer, Scene
from tests.harness.webservice import WebService

ORDERED = "new certificate"

# A change replaces the edge of the shared home. The session's end still looks.
pytestmark = pytest.mark.keeps("processes")


@contextlib.asynccontextmanager
async def exposed(
    scene: Scene, url: str, name: str, *, hostname: str | None = None, **wish: object
) -> AsyncIterator[Json]:
    """Expose a service for one test."""
    service = await scene.expose(url, name, hostname=hostname, **wish)
    try:
        yield service
    finally:
        await scene.remove(service["id"])


def name_of(service: Json) -> str:
    return str(service["exposure"]["hostname"])


async def answers_at(scene: Scene, hostname: str) -> Answer:
    """Visit until it works; for what needs a moment after something came back."""
    try:
        async with asyncio.timeout(45):
            while True:
                with contextlib.suppress(ClientError, OSError):
                    return await scene.visit(hostname, "/echo")
                await asyncio.sleep(0.1)
    except TimeoutError as err:
        raise AssertionError(scene.relay.log[-3000:] + scene.home.log[-3000:]) from err


async def is_refused(scene: Scene, hostname: str) -> bool:
    """Tell whether the relay turns a name away in the TLS handshake."""
    try:
        _, writer = await scene.open(hostname)
    except ssl.SSLError as err:
        return "UNRECOGNIZED_NAME" in str(err)
    writer.transport.abort()
    return False


async def read_all(content: StreamReader) -> int:
    """Read to the end and keep nothing; return how many bytes that were."""
    size = 0
    while block := await content.readany():
        size += len(block)
    return size


async def until_refused(scene: Scene, hostname: str) -> None:
    """Wait until a name is refused."""
    async with asyncio.timeout(30):
        while not await is_refused(scene, hostname):  # noqa: ASYNC110  no event
            await asyncio.sleep(0.05)


# --- visits ---------------------------------------------------------------------------


async def test_a_visitor_gets_the_page_with_a_certificate_that_it_trusts(
    scene: Scene, hostname: str
) -> None:
    answer = await scene.visit(hostname)
    assert answer.status == 200
    assert b"Hello from the living room" in answer.body
    _, writer = await scene.open(hostname)
    certificate = writer.get_extra_info("peercert")
    writer.transport.abort()
    assert certificate["subjectAltName"] == (("DNS", hostname),)


async def test_the_relay_never_sees_the_key_of_a_certificate(
    scene: Scene, hostname: str
) -> None:
    await scene.visit(hostname)
    for path in scene.relay.data.rglob("*"):
        if path.is_file():
            assert hostname not in path.read_text(errors="replace"), path


@pytest.mark.parametrize(
    ("option", "version"), [("--http1.1", "1.1"), ("--http2", "2")]
)
async def test_curl_visits_over_the_version_that_it_asks_for(
    scene: Scene, hostname: str, option: str, version: str
) -> None:
    written = await scene.curl(
        hostname,
        "/echo",
        option,
        "--write-out",
        "\n%{http_version} %{ssl_verify_result}",
    )
    body, _, facts = written.decode().rpartition("\n")
    # The relay of the tests is not on 443, so its port belongs to the name.
    assert json.loads(body)["host"] == f"{hostname}:{scene.relay.https_port}"
    assert facts == f"{version} 0"


async def test_a_websocket_carries_text_and_a_megabyte_both_ways(
    scene: Scene, hostname: str
) -> None:
    async with scene.visitor(hostname) as visitor, visitor.ws_connect("/ws") as ws:
        await ws.send_str("grüezi")
        assert (await ws.receive_str()) == "grüezi"
        block = bytes(range(256)) * 4096
        await ws.send_bytes(block)
        assert (await ws.receive_bytes()) == block


async def test_server_sent_events_arrive_one_by_one_and_not_at_the_end(
    scene: Scene, hostname: str
) -> None:
    """The stream has no end, so what arrives was not held back for one."""
    async with (
        scene.visitor(hostname) as visitor,
        visitor.get("/sse", params={"interval": "0.2"}) as stream,
    ):
        seen = b""
        async with asyncio.timeout(30):
            while b"data: 3\n" not in seen:
                block = await stream.content.readany()
                assert block
                seen += block


async def test_a_service_with_a_self_signed_certificate_can_be_exposed(
    scene: Scene,
) -> None:
    with WebService(tls=True) as camera:
        async with exposed(scene, camera.url, "Camera") as service:
            answer = await scene.visit(name_of(service), "/echo")
    assert answer.json()["scheme"] == "https"


async def test_a_visitor_needs_the_name_and_password_in_front_of_a_service(
    scene: Scene, other_web: WebService
) -> None:
    access = {"username": "anna", "password": "wintergarden 7"}
    async with exposed(scene, other_web.url, "Diary", access=access) as service:
        name = name_of(service)
        assert service["exposure"]["access"] == {"username": "anna"}
        none = await scene.visit(name)
        wrong = await scene.visit(name, auth=("anna", "wintergarden 8"))
        other = await scene.visit(name, auth=("otto", "wintergarden 7"))
        right = await scene.visit(name, auth=("anna", "wintergarden 7"))
    assert [none.status, wrong.status, other.status] == [401, 401, 401]
    assert none.headers["WWW-Authenticate"].startswith("Basic")
    assert b"living room" not in none.body + wrong.body
    assert right.status == 200


async def test_a_password_can_be_put_in_front_and_taken_away_while_it_is_on(
    scene: Scene, other_web: WebService, api: Api
) -> None:
    access = {"username": "anna", "password": "wintergarden 7"}
    async with exposed(scene, other_web.url, "Garage") as service:
        await api.expose(service["id"], access=access)
        with_it = await scene.visit(name_of(service))
        await api.expose(service["id"])  # says nothing of access: it stays
        kept = await scene.visit(name_of(service))
        await api.expose(service["id"], access=None)
        without = await scene.visit(name_of(service))
    assert [with_it.status, kept.status, without.status] == [401, 401, 200]


async def test_the_service_learns_the_address_of_the_visitor(
    scene: Scene, hostname: str
) -> None:
    for source in ("127.0.0.7", "127.1.2.3"):
        answer = await scene.visit(hostname, "/echo", source=source)
        assert answer.json()["headers"]["X-Forwarded-For"] == source


async def test_what_a_visitor_says_of_its_own_address_never_arrives(
    scene: Scene, hostname: str
) -> None:
    lies = {
        "X-Forwarded-For": "203.0.113.66",
        "x-forwarded-host": "evil.example",
        "X-Forwarded-Proto": "http",
        "Forwarded": "for=203.0.113.66",
        "X-Real-IP": "203.0.113.66",
    }
    answer = await scene.visit(hostname, "/echo", source="127.0.0.7", headers=lies)
    pairs = [(name.lower(), value) for name, value in answer.json()["raw_headers"]]
    assert [value for name, value in pairs if name == "x-forwarded-for"] == [
        "127.0.0.7"
    ]
    assert [value for name, value in pairs if name == "x-forwarded-proto"] == ["https"]
    public = f"{hostname}:{scene.relay.https_port}"
    assert [value for name, value in pairs if name == "x-forwarded-host"] == [public]
    assert "203.0.113.66" not in str(pairs)
    assert "evil.example" not in str(pairs)


async def test_two_services_have_a_hostname_each(
    scene: Scene, hostname: str, other_web: WebService
) -> None:
    async with exposed(scene, other_web.url, "Kitchen") as kitchen:
        first = await scene.visit(hostname)
        second = await scene.visit(name_of(kitchen))
    assert b"<title>Living room" in first.body
    assert b"<title>Kitchen" in second.body


async def test_a_request_for_another_name_on_the_same_connection_gets_421(
    scene: Scene, hostname: str, other_web: WebService
) -> None:
    async with exposed(scene, other_web.url, "Kitchen") as kitchen:
        for other in (name_of(kitchen), "elsewhere.example.com"):
            answer = await scene.visit(hostname, headers={"Host": other})
            assert answer.status == 421
            assert b"Kitchen" not in answer.body


async def test_a_name_that_is_not_published_is_refused_in_the_handshake(
    scene: Scene, hostname: str
) -> None:
    assert not await is_refused(scene, hostname)
    assert await is_refused(scene, f"nothing.{DOMAIN}")
    assert await is_refused(scene, "example.com")


# --- off and on -----------------------------------------------------------------------


async def test_off_ends_a_download_and_a_websocket_and_touches_no_other_hostname(
    scene: Scene, hostname: str, other_web: WebService, api: Api
) -> None:
    async with (
        exposed(scene, other_web.url, "Kitchen") as kitchen,
        scene.visitor(name_of(kitchen)) as visitor,
        scene.visitor(hostname) as untouched,
        visitor.ws_connect("/ws") as doomed,
        untouched.ws_connect("/ws") as kept,
        visitor.get("/download", params={"bytes": str(10**12)}) as download,
    ):
        assert await download.content.readexactly(100_000)
        await api.hide(kitchen["id"])
        async with asyncio.timeout(30):
            with pytest.raises(ClientError):
                await read_all(download.content)
            assert (await doomed.receive()).type in {
                WSMsgType.CLOSED,
                WSMsgType.ERROR,
                WSMsgType.CLOSE,
            }
        assert await is_refused(scene, name_of(kitchen))
        await kept.send_str("still here")
        assert (await kept.receive_str()) == "still here"
        assert (await scene.visit(hostname)).status == 200


async def test_on_again_uses_the_certificate_that_there_is(
    scene: Scene, other_web: WebService, api: Api
) -> None:
    async with exposed(scene, other_web.url, "Attic") as attic:
        name = name_of(attic)
        await api.hide(attic["id"])
        assert await is_refused(scene, name)
        ordered = scene.home.log.count(f"{name}: {ORDERED}")
        again = await api.expose(attic["id"])
        assert again["exposure"]["status"]["phase"] == "live"
        assert (await scene.visit(name)).status == 200
        assert scene.home.log.count(f"{name}: {ORDERED}") == ordered == 1


async def test_the_last_of_many_hasty_wishes_counts(
    scene: Scene, other_web: WebService, api: Api
) -> None:
    async with exposed(scene, other_web.url, "Hall") as hall:
        path = f"services/{hall['id']}/exposure"
        for wish in (False, True, False, True, False, False):
            await api.call("PUT", path, {"enabled": wish})
        await api.settled(hall["id"], ("off",))
        assert await is_refused(scene, name_of(hall))
        for wish in (True, False, True):
            await api.call("PUT", path, {"enabled": wish})
        await api.settled(hall["id"], ("live",))
        assert (await scene.visit(name_of(hall))).status == 200


async def test_a_hostname_can_be_changed_while_it_is_on(
    scene: Scene, other_web: WebService, api: Api
) -> None:
    async with exposed(scene, other_web.url, "Shed") as shed:
        new = f"tools.{DOMAIN}"
        await scene.pebble.set_a_async(new, [LOOPBACK])
        moved = await api.expose(shed["id"], hostname=new)
        assert moved["exposure"]["hostname"] == new
        assert (await scene.visit(new)).status == 200
        assert await is_refused(scene, name_of(shed))


async def test_a_hostname_may_have_letters_of_another_language(
    scene: Scene, other_web: WebService, api: Api
) -> None:
    """As IDNA 2008 has it: 2003 would make `strasse` of it, on some of the way."""
    typed, sent = f"Straße.{DOMAIN}", f"xn--strae-oqa.{DOMAIN}"
    async with exposed(scene, other_web.url, "Street") as street:
        await scene.pebble.set_a_async(sent, [LOOPBACK])
        moved = (await api.expose(street["id"], hostname=typed))["exposure"]
        assert (moved["hostname"], moved["hostname_shown"]) == (sent, typed.lower())
        assert (await scene.visit(sent)).status == 200
        assert await is_refused(scene, f"strasse.{DOMAIN}")
        with pytest.raises(ApiError, match="has characters that no hostname may have"):
            await api.expose(street["id"], hostname=f"💩.{DOMAIN}")


async def test_removing_a_service_takes_it_off(
    scene: Scene, other_web: WebService
) -> None:
    async with exposed(scene, other_web.url, "Tent") as tent:
        assert (await scene.visit(name_of(tent))).status == 200
    await until_refused(scene, name_of(tent))


async def test_an_edited_address_is_served_without_a_gap(
    scene: Scene, other_web: WebService, api: Api
) -> None:
    async with exposed(scene, scene.web.url, "Wanderer") as wanderer:
        before = await scene.visit(name_of(wanderer))
        path = f"services/{wanderer['id']}"
        await api.call("PATCH", path, {"url": other_web.url})
        after = await scene.visit(name_of(wanderer))
    assert b"<title>Living room" in before.body
    assert b"<title>Kitchen" in after.body


async def test_what_happens_arrives_as_live_events(
    scene: Scene, other_web: WebService, api: Api
) -> None:
    service = await scene.add(other_web.url, "Porch")
    await scene.pebble.set_a_async(service["suggested_hostname"], [LOOPBACK])
    phases: list[str] = []

    def note(state: Json) -> bool | None:
        for one in state["services"]:
            if one["id"] == service["id"] and one["exposure"]:
                phase = one["exposure"]["status"]["phase"]
                if not phases or phases[-1] != phase:
                    phases.append(phase)
        return True if phases[-1:] == ["live"] else None

    watching = asyncio.create_task(api.until(note))
    await asyncio.sleep(0)
    await api.expose(service["id"])
    await watching
    await scene.remove(service["id"])
    known = ["checking_dns", "ordering", "proving", "switching_on", "live"]
    assert [one for one in known if one in phases] == known
    await api.until(
        lambda state: (
            True
            if all(one["id"] != service["id"] for one in state["services"])
            else None
        )
    )


# --- nonsense -------------------------------------------------------------------------


async def test_wishes_that_make_no_sense_are_refused_in_words(
    scene: Scene, hostname: str, api: Api
) -> None:
    async def refusal(path: str, body: Json) -> tuple[int, str]:
        with pytest.raises(ApiError) as refused:
            await api.call("PUT", path, body)
        assert refused.value.error["message"]
        return refused.value.status, refused.value.error["code"]

    second = await scene.add("http://127.0.0.1:9/", "Second")
    path = f"services/{second['id']}/exposure"
    on: Json = {"enabled": True}
    try:
        assert await refusal("services/nobody/exposure", on) == (404, "service_unknown")
        outside = {**on, "hostname": "photos.example.org"}
        assert await refusal(path, outside) == (409, "hostname_not_granted")
        taken = {**on, "hostname": hostname.upper()}
        assert await refusal(path, taken) == (409, "hostname_in_use")
        for nonsense in ("", "no name", "-x.home.example.com", "*.home.example.com"):
            status, _ = await refusal(path, {**on, "hostname": nonsense})
            assert status == 422, nonsense
        nowhere = {**on, "relay_id": "0123456789ab"}
        assert await refusal(path, nowhere) == (404, "relay_unknown")
    finally:
        await scene.remove(second["id"])
    assert (await scene.visit(hostname)).status == 200


@pytest.mark.parametrize(
    "code", ["", "nonsense", "HG1-AAAA-BBBB", "https://relay.example.com"]
)
async def test_a_pairing_code_that_is_none_is_refused(api: Api, code: str) -> None:
    with pytest.raises(ApiError) as refused:
        await api.call("POST", "relays", {"code": code})
    assert 400 <= refused.value.status < 500
    assert len((await api.state())["relays"]) == 1


async def test_a_pairing_code_works_once(scene: Scene, api: Api) -> None:
    code = await asyncio.to_thread(scene.relay.invite, "barn.example.com", "barn")
    with HomeProcess(scene.acme_environment()) as barn:
        async with barn.api() as first:
            await first.call("POST", "relays", {"code": code})
            await first.connected()
        with pytest.raises(ApiError) as refused:
            await api.call("POST", "relays", {"code": code})
        assert refused.value.status < 500
        assert "used" in refused.value.error["message"]
        assert len((await api.state())["relays"]) == 1
    scene.relay.run("relay", "revoke", "barn")


# --- the command line -----------------------------------------------------------------


async def test_the_command_line_shows_switches_on_and_off(
    scene: Scene, other_web: WebService, api: Api
) -> None:
    service = await scene.add(other_web.url, "Cellar")
    await scene.pebble.set_a_async(f"wine.{DOMAIN}", [LOOPBACK])
    try:
        said = scene.home.run(
            "home", "expose", service["id"], "--hostname", f"wine.{DOMAIN}"
        )
        assert f"wine.{DOMAIN}" in said
        await api.settled(service["id"], ("live",))
        shown = scene.home.run("home", "status")
        assert "Cellar" in shown
        assert f"https://wine.{DOMAIN}" in shown
        listed = json.loads(scene.home.run("home", "status", "--json"))
        assert any(one["id"] == service["id"] for one in listed["services"])
        assert "off" in scene.home.run("home", "hide", service["id"])
        await api.settled(service["id"], ("off",))
        assert await is_refused(scene, f"wine.{DOMAIN}")
        with pytest.raises(ProcessError) as failed:
            scene.home.run("home", "expose", "nobody")
        assert "no such service" in str(failed.value)
        assert "Traceback" not in str(failed.value)
    finally:
        await scene.remove(service["id"])


# --- over restarts --------------------------------------------------------------------


async def test_a_restarted_agent_serves_the_same_as_before(
    scene: Scene, hostname: str, other_web: WebService, api: Api
) -> None:
    access = {"username": "anna", "password": "wintergarden 7"}
    async with (
        exposed(scene, other_web.url, "Safe", access=access) as safe,
        exposed(scene, other_web.url, "Off") as off,
    ):
        await api.hide(off["id"])
        ordered = scene.home.log.count(ORDERED)
        old = scene.home.pid
        scene.home.stop()
        scene.home.start()
        assert scene.home.pid != old
        await api.settled(safe["id"], ("live",))
        assert (await answers_at(scene, hostname)).status == 200
        assert (await scene.visit(name_of(safe))).status == 401
        right = await scene.visit(name_of(safe), auth=("anna", "wintergarden 7"))
        assert right.status == 200
        assert await is_refused(scene, name_of(off))
        assert scene.home.log.count(ORDERED) == ordered


def test_the_command_line_says_so_if_no_home_runs(scene: Scene) -> None:
    with pytest.raises(ProcessError) as failed:
        scene.home.run("home", "status", "--data", str(scene.home.folder / "none"))
    assert "No home is running" in str(failed.value)
    assert "Traceback" not in str(failed.value)
