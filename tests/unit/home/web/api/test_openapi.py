"""The description of the API is true: routes, answers, errors and live messages."""

import re

import pytest

from hearthgate.home.state.targets import read_target
from hearthgate.home.web.api.api import Api
from hearthgate.home.web.live.live import LivePages
from hearthgate.home.web.login.users import NoLogin
from hearthgate.home.web.server import read_description
from tests.support.memory_home import MemoryHome
from tests.unit.home.web.conftest import PASSWORD, Running
from tests.unit.home.web.openapi_check import Schema, faults, resolve

DESCRIPTION: Schema = read_description()
METHODS = {"get", "put", "post", "patch", "delete"}


def routes() -> set[tuple[str, str]]:
    home = MemoryHome()
    api = Api(home, LivePages(home), NoLogin("test"), {})
    return {
        (route.method.lower(), re.sub(r"\{(\w+):[^/]*\}", r"{\1}", route.path))
        for route in api.routes()
    }


def described() -> set[tuple[str, str]]:
    return {
        (method, path)
        for path, operations in DESCRIPTION["paths"].items()
        for method in operations
        if method in METHODS
    }


def test_every_route_is_described_and_every_described_one_exists() -> None:
    assert routes() == described()


def test_every_reference_leads_somewhere() -> None:
    def walk(node: object) -> None:
        if isinstance(node, dict):
            if "$ref" in node:
                assert resolve(str(node["$ref"]), DESCRIPTION)
            for child in node.values():
                walk(child)
        elif isinstance(node, list):
            for child in node:
                walk(child)

    walk(DESCRIPTION)


@pytest.mark.parametrize("name", DESCRIPTION["components"]["schemas"])
def test_every_schema_uses_only_what_the_checker_knows(name: str) -> None:
    schema = DESCRIPTION["components"]["schemas"][name]
    values: list[object] = [None, {}, [], "x", 1, True]
    for value in values:
        told = faults(value, schema, DESCRIPTION)
        assert not any("does not know" in one for one in told)


async def check(
    running: Running,
    method: str,
    path: str,
    template: str | None = None,
    *,
    body: object = None,
    expect: int,
) -> object:
    """Send a request and hold the answer against its description."""
    async with running.browser.request(method, path, json=body) as got:
        answer = await got.json() if await got.read() else None
        assert got.status == expect, answer
    operation = DESCRIPTION["paths"][template or path][method.lower()]
    described_answer = operation["responses"][str(expect)]
    if "$ref" in described_answer:
        described_answer = resolve(described_answer["$ref"], DESCRIPTION)
    content = described_answer.get("content")
    if content is None:
        assert answer is None
    else:
        schema = content["application/json"]["schema"]
        assert faults(answer, schema, DESCRIPTION) == []
    return answer


SERVICE = "/api/services/{service_id}"
RELAY = "/api/relays/{relay_id}"


async def test_real_answers_are_as_described(owner: Running) -> None:
    lamp = {"name": "Lamp", "url": "192.168.1.20:3000"}
    wish = {"enabled": True, "hostname": "Lamp.Example.com", "access": None}
    await check(owner, "GET", "/api/health", expect=200)
    await check(owner, "GET", "/api/session", expect=200)
    await check(owner, "GET", "/api/openapi.json", expect=200)
    await check(owner, "POST", "/api/relays", body={"code": "x"}, expect=201)
    await check(
        owner, "POST", "/api/relays/cottage/reconnect", f"{RELAY}/reconnect", expect=202
    )
    await check(owner, "POST", "/api/services", body=lamp, expect=201)
    await check(
        owner, "PATCH", "/api/services/s-1", SERVICE, body={"name": "L"}, expect=200
    )
    await check(
        owner,
        "PUT",
        "/api/services/s-1/exposure",
        f"{SERVICE}/exposure",
        body=wish,
        expect=202,
    )
    await check(
        owner,
        "POST",
        "/api/services/s-1/exposure/retry",
        f"{SERVICE}/exposure/retry",
        expect=202,
    )
    await check(owner, "GET", "/api/state", expect=200)
    await check(owner, "DELETE", "/api/services/s-1", SERVICE, expect=204)
    await check(owner, "DELETE", "/api/relays/cottage", RELAY, expect=204)
    change = {"current": PASSWORD, "password": "battery staple"}
    await check(owner, "POST", "/api/password", body=change, expect=204)
    await check(owner, "POST", "/api/logout", expect=204)


async def test_real_refusals_are_as_described(owner: Running) -> None:
    await check(owner, "POST", "/api/relays", body={}, expect=422)
    await check(owner, "POST", "/api/relays", body={"code": "x" * 70_000}, expect=413)
    await check(owner, "DELETE", "/api/relays/gone", RELAY, expect=404)
    await check(
        owner, "PATCH", "/api/services/gone", SERVICE, body={"name": "x"}, expect=404
    )
    await check(owner, "POST", "/api/login", body={"password": "wrong"}, expect=401)
    change = {"current": PASSWORD, "password": "short"}
    await check(owner, "POST", "/api/password", body=change, expect=400)
    owner.browser.cookie_jar.clear()
    await check(owner, "GET", "/api/state", expect=401)
    await check(owner, "POST", "/api/services", body={}, expect=401)


async def test_live_messages_are_as_described(owner: Running) -> None:
    schema = {"$ref": "#/components/schemas/LiveMessage"}
    async with owner.browser.ws_connect("/api/live") as page:
        messages = [await page.receive_json(timeout=30)]
        await owner.home.add_service("Lamp", read_target("192.168.1.20:3000"))
        messages.append(await page.receive_json(timeout=30))
        await owner.home.remove_service("s-1")
        messages.append(await page.receive_json(timeout=30))
    assert [one["type"] for one in messages] == ["state", "service", "service_removed"]
    for message in messages:
        assert faults(message, schema, DESCRIPTION) == []


async def test_the_description_is_served_as_it_is_written(owner: Running) -> None:
    async with owner.browser.get("/api/openapi.json") as got:
        assert await got.json() == DESCRIPTION


def test_the_checker_finds_what_is_wrong() -> None:
    state = {"home": 1, "relays": [], "services": [], "hass": None, "more": 1}
    found = faults(state, {"$ref": "#/components/schemas/State"}, DESCRIPTION)
    assert len(found) == 2
