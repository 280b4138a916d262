"""A home with the Home Assistant of this month. The tests build on one another."""

from aiohttp import ClientSession, WSMsgType
import pytest

from tests.harness.homeassistant import OWNER, PASSWORD
from tests.harness.webservice import WebService
from tests.hass.conftest import HOSTNAME, Household

pytestmark = [
    pytest.mark.timeout(600),
    # The edge's next generation and Core after its restart are other processes.
    pytest.mark.keeps("processes", "threads"),
]
VISITOR = "127.0.0.57"  # the address of somebody on the Internet


async def test_without_trust_visitors_get_400_and_the_page_knows_why(
    current: Household,
) -> None:
    hass = await current.trust_state("refused")
    assert hass["version"] == "2026.11.0"
    assert hass["trust"]["by"] == "api"
    assert hass["trust"]["proxy"] == "127.0.0.1"
    assert hass["trust"]["changes"] == [
        {"name": "use_x_forwarded_for", "before": "false", "after": "true"},
        {"name": "trusted_proxies", "before": "", "after": "127.0.0.1"},
    ]
    assert hass["trust"]["login_attempts"] == -1
    shown = await current.expose()
    assert shown["exposure"]["status"]["phase"] == "live"
    assert (await current.scene.visit(HOSTNAME)).status == 400


async def test_one_click_lets_visitors_in_and_is_confirmed_through_the_public_name(
    current: Household,
) -> None:
    starts = current.core.starts
    async with current.scene.home.api() as api:
        begun = await api.call("POST", "hass/trust", {"login_attempts": 3})
    assert begun["trust"]["state"] == "restarting"
    hass = await current.trust_state("accepted")
    assert current.core.starts == starts + 1
    assert hass["trust"]["changes"] == []
    assert hass["trust"]["problem"] is None
    config = await current.core.ask("http/config")
    assert config["pending"] is None
    assert config["active_config_type"] == "stable"
    assert config["stable"]["trusted_proxies"] == ["127.0.0.1/32"]
    assert config["stable"]["login_attempts_threshold"] == 3
    assert config["stable"]["server_port"] == current.core.port
    assert (await current.scene.visit(HOSTNAME, "/manifest.json")).status == 200


async def test_the_public_address_is_offered_and_set_with_one_click(
    current: Household,
) -> None:
    hass = await current.hass()
    assert hass["external_url"] is None
    assert hass["public_url"].startswith(f"https://{HOSTNAME}")
    async with current.scene.home.api() as api:
        hass = await api.call("POST", "hass/public_url")
    assert hass["external_url"] == hass["public_url"].rstrip("/")
    assert (await current.core.ask("get_config"))["external_url"] == hass[
        "external_url"
    ]


async def log_in(household: Household, password: str, *, source: str) -> int:
    """Log in through the public hostname, as the page of Home Assistant does."""
    url = f"https://{HOSTNAME}:{household.scene.relay.https_port}/"
    async with household.scene.visitor(HOSTNAME, source=source) as visitor:
        async with visitor.post(
            "/auth/login_flow",
            json={
                "client_id": url,
                "handler": ["homeassistant", None],
                "redirect_uri": url,
            },
        ) as answer:
            if answer.status != 200:
                return answer.status
            flow = (await answer.json())["flow_id"]
        async with visitor.post(
            f"/auth/login_flow/{flow}",
            json={"client_id": url, "username": OWNER, "password": password},
        ) as answer:
            told = await answer.json() if answer.status == 200 else {}
            return 200 if told.get("type") == "create_entry" else answer.status or 0


async def test_the_owner_logs_in_through_the_public_hostname(
    current: Household,
) -> None:
    assert await log_in(current, PASSWORD, source="127.0.0.1") == 200


async def test_the_websocket_of_home_assistant_outlives_a_change_of_the_edge(
    current: Household,
) -> None:
    scene = current.scene
    async with (
        scene.visitor(HOSTNAME) as visitor,
        visitor.ws_connect("/api/websocket") as socket,
    ):
        first = await socket.receive_json()
        assert first["type"] == "auth_required"
        await socket.send_json(
            {"type": "auth", "access_token": await owner_token(current)}
        )
        assert (await socket.receive_json())["type"] == "auth_ok"
        before = scene.home.edge_pids()
        with WebService(title="Lamp") as lamp:
            other = await scene.expose(lamp.url, "Lamp")
            await socket.send_json({"id": 1, "type": "ping"})
            answer = await socket.receive_json()
            assert answer["type"] == "pong"
            await scene.remove(other["id"])
        assert set(scene.home.edge_pids()) != set(before)
        await socket.send_json({"id": 2, "type": "ping"})
        frame = await socket.receive()
        assert frame.type is WSMsgType.TEXT


async def owner_token(household: Household) -> str:
    async with ClientSession() as client:
        return await household.core.token(client)


async def test_wrong_logins_ban_the_visitor_and_nobody_else(
    current: Household,
) -> None:
    for _ in range(3):
        await log_in(current, "wrong", source=VISITOR)
    banned = await current.scene.visit(HOSTNAME, "/manifest.json", source=VISITOR)
    assert banned.status == 403
    assert VISITOR in (current.core.folder / "ip_bans.yaml").read_text()
    assert "127.0.0.1:" not in (current.core.folder / "ip_bans.yaml").read_text()
    other = await current.scene.visit(HOSTNAME, "/manifest.json", source="127.0.0.58")
    assert other.status == 200
    assert f"from {VISITOR}" in current.core.log


async def test_a_big_upload_passes_without_a_cap(current: Household) -> None:
    """Core refuses it only after it has read it all: nobody is logged in."""
    body = bytes(1024 * 1024) * 64
    answer = await current.scene.visit(
        HOSTNAME, "/api/backup/upload?agent_id=backup.local", method="POST", data=body
    )
    assert answer.status == 401
