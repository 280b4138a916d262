"""The door of the API: what is not exactly right never reaches the home."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
import json
import logging
from typing import Any

import pytest

from hearthgate.home.model import Scheme, Target
from hearthgate.home.web.api.facade import KEEP, AccessWish, ExposureWish
from hearthgate.shared.settings.kinds import Secret
from tests.support.memory_home import disk_full
from tests.unit.home.web.conftest import Running

LAMP = {"name": "Lamp", "url": "192.168.1.20:3000"}
JSON = {"Content-Type": "application/json"}


async def error_of(
    running: Running,
    method: str,
    path: str,
    **request: Any,  # noqa: ANN401 (as aiohttp has it)
) -> tuple[int, dict[str, Any]]:
    async with running.browser.request(method, path, **request) as got:
        answer = await got.json()
        return got.status, answer["error"]


async def test_a_service_is_added_changed_and_removed(owner: Running) -> None:
    async with owner.browser.post("/api/services", json=LAMP) as got:
        service = await got.json()
    assert service["url"] == "http://192.168.1.20:3000/"
    change = {"url": "https://nas.local"}
    async with owner.browser.patch("/api/services/s-1", json=change) as got:
        changed = await got.json()
    assert changed["url"] == Target(Scheme.HTTPS, "nas.local", 443).url
    assert changed["name"] == "Lamp"
    async with owner.browser.delete("/api/services/s-1") as got:
        assert got.status == 204
    assert owner.home.services == {}


WISHES: list[tuple[dict[str, Any], ExposureWish]] = [
    ({"enabled": False}, ExposureWish(enabled=False, access=KEEP)),
    ({"enabled": True, "access": None}, ExposureWish(enabled=True, access=None)),
    (
        {"enabled": True, "hostname": "Lamp.EXAMPLE.com.", "relay_id": "cottage"},
        ExposureWish(enabled=True, hostname="lamp.example.com", relay_id="cottage"),
    ),
    (
        {"enabled": True, "hostname": "müller.example.com"},
        ExposureWish(enabled=True, hostname="xn--mller-kva.example.com"),
    ),
    (
        {"enabled": True, "access": {"username": "anna", "password": " a b c d "}},
        ExposureWish(enabled=True, access=AccessWish("anna", Secret(" a b c d "))),
    ),
]


@pytest.mark.parametrize(("body", "wish"), WISHES)
async def test_a_wish_arrives_as_it_was_meant(
    owner: Running, body: dict[str, Any], wish: ExposureWish
) -> None:
    await owner.browser.post("/api/services", json=LAMP)
    async with owner.browser.put("/api/services/s-1/exposure", json=body) as got:
        assert got.status == 202, await got.text()
    assert owner.home.wishes == [wish]


def test_a_wish_hides_its_password() -> None:
    assert "hunter22" not in repr(AccessWish("anna", Secret("hunter22")))


BAD_BODIES = {
    "nothing": b"",
    "no JSON": b"{",
    "not UTF-8": b'{"name": "\xff", "url": "nas"}',
    "UTF-16": json.dumps(LAMP).encode("utf-16"),
    "NaN": b'{"name": NaN, "url": "nas"}',
    "a key twice": b'{"name": "a", "name": "b", "url": "nas"}',
    "nested": b"[" * 30_000,
    "trailing": b'{"name": "a", "url": "nas"} {}',
}


@pytest.mark.parametrize("raw", BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_body_that_is_no_json_is_refused(owner: Running, raw: bytes) -> None:
    status, error = await error_of(
        owner, "POST", "/api/services", data=raw, headers=JSON
    )
    assert (status, error["code"]) == (400, "not_json")
    assert owner.home.services == {}


BAD_SERVICES: list[tuple[object, str]] = [
    ([], "body"),
    (None, "body"),
    ("x", "body"),
    ({"url": "nas"}, "name"),
    ({"name": "", "url": "nas"}, "name"),
    ({"name": "   ", "url": "nas"}, "name"),
    ({"name": "x" * 65, "url": "nas"}, "name"),
    ({"name": "a\nb", "url": "nas"}, "name"),
    ({"name": "a\u202eb", "url": "nas"}, "name"),
    ({"name": 7, "url": "nas"}, "name"),
    ({"name": ["x"], "url": "nas"}, "name"),
    ({"name": "x"}, "url"),
    ({"name": "x", "url": None}, "url"),
    ({"name": "x", "url": "ftp://nas"}, "url"),
    ({"name": "x", "url": "http://user:pw@nas"}, "url"),
    ({"name": "x", "url": "http://nas/app"}, "url"),
    ({"name": "x", "url": "nas:70000"}, "url"),
    ({"name": "x", "url": "169.254.169.254"}, "url"),
    ({"name": "x", "url": "nas", "id": "mine"}, "id"),
]


@pytest.mark.parametrize(("body", "field"), BAD_SERVICES)
async def test_a_wrong_service_is_refused_and_names_the_field(
    owner: Running, body: object, field: str
) -> None:
    raw = json.dumps(body).encode()  # aiohttp takes json=None for no body at all
    status, error = await error_of(
        owner, "POST", "/api/services", data=raw, headers=JSON
    )
    assert (status, error["code"]) == (422, "invalid_body")
    assert error["fields"]["field"] == field
    assert owner.home.services == {}


@dataclass(frozen=True)
class Refused:
    """A value that is wrong, and the words for it."""

    method: str
    path: str
    body: dict[str, object]
    said: str
    message: str
    hint: str


REFUSED = [
    Refused(
        method="POST",
        path="/api/services",
        body={"name": "x", "url": "192.168.1.300"},
        said="invalid_address",
        message="192.168.1.300 can't be the address of a service: it looks like an IP "
        "address, but is none.",
        hint="Use an address like 192.168.1.20:3000 or http://nas.local:5000.",
    ),
    Refused(
        method="PUT",
        path="/api/services/s-1/exposure",
        body={"enabled": True, "hostname": "x_y.example.com"},
        said="hostname_invalid",
        message="“x_y.example.com” is not a hostname: “x_y” may only have letters, "
        "digits and hyphens.",
        hint="A hostname looks like photos.home.example.com.",
    ),
]


@pytest.mark.parametrize("wrong", REFUSED, ids=lambda one: one.said)
async def test_a_wrong_value_is_told_in_a_users_words_without_the_name_of_a_field(
    owner: Running, wrong: Refused
) -> None:
    status, error = await error_of(owner, wrong.method, wrong.path, json=wrong.body)
    assert (status, error["code"]) == (422, "invalid_body")
    assert error["fields"]["said"] == wrong.said
    assert (error["message"], error["hint"]) == (wrong.message, wrong.hint)


BAD_WISHES: list[tuple[dict[str, object], str]] = [
    ({}, "enabled"),
    ({"enabled": "true"}, "enabled"),
    ({"enabled": 1}, "enabled"),
    ({"enabled": None}, "enabled"),
    ({"enabled": True, "hostname": None}, "hostname"),
    ({"enabled": True, "hostname": ""}, "hostname"),
    ({"enabled": True, "hostname": "lamp"}, "hostname"),
    ({"enabled": True, "hostname": "*.example.com"}, "hostname"),
    ({"enabled": True, "hostname": "a.example.com/x"}, "hostname"),
    ({"enabled": True, "hostname": "a.example.com:443"}, "hostname"),
    ({"enabled": True, "hostname": "192.0.2.1"}, "hostname"),
    ({"enabled": True, "hostname": "a." + "b" * 64 + ".com"}, "hostname"),
    ({"enabled": True, "relay_id": 5}, "relay_id"),
    ({"enabled": True, "access": "keep"}, "access"),
    ({"enabled": True, "access": True}, "access"),
    ({"enabled": True, "access": []}, "access"),
    ({"enabled": True, "access": {}}, "access."),
    ({"enabled": True, "access": {"username": "anna"}}, "access.password"),
    (
        {"enabled": True, "access": {"username": "a:b", "password": "12345678"}},
        "access.username",
    ),
    (
        {"enabled": True, "access": {"username": "anna", "password": "short"}},
        "access.password",
    ),
    ({"enabled": True, "admin": True}, "admin"),
]


@pytest.mark.parametrize(("body", "field"), BAD_WISHES)
async def test_a_wrong_wish_is_refused_and_names_the_field(
    owner: Running, body: dict[str, object], field: str
) -> None:
    status, error = await error_of(
        owner, "PUT", "/api/services/s-1/exposure", json=body
    )
    assert (status, error["code"]) == (422, "invalid_body")
    assert error["fields"]["field"].startswith(field)
    assert owner.home.wishes == []


@pytest.mark.parametrize("body", [{}, {"name": ""}, {"url": "x/y"}, {"enabled": True}])
async def test_a_change_of_nothing_is_refused(
    owner: Running, body: dict[str, object]
) -> None:
    status, _error = await error_of(owner, "PATCH", "/api/services/s-1", json=body)
    assert status == 422


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "x/json"]
)
async def test_only_json_is_taken_for_json(owner: Running, content_type: str) -> None:
    """A form of another page can send any body, but not this content type."""
    status, error = await error_of(
        owner,
        "POST",
        "/api/services",
        data=json.dumps(LAMP).encode(),
        headers={"Content-Type": content_type},
    )
    assert (status, error["code"]) == (415, "not_json")


async def test_a_body_beyond_the_cap_is_refused(owner: Running) -> None:
    status, error = await error_of(
        owner, "POST", "/api/services", data=b" " * (64 * 1024 + 1), headers=JSON
    )
    assert (status, error["code"]) == (413, "body_too_large")


async def test_a_body_without_a_length_is_capped_as_well(owner: Running) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b" " * 4096

    status, error = await error_of(
        owner, "POST", "/api/services", data=chunks(), headers=JSON
    )
    assert (status, error["code"]) == (413, "body_too_large")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api", 404),
        ("GET", "/api/", 404),
        ("GET", "/api/nothing", 404),
        ("GET", "/api/services/UPPER/icon", 404),
        ("GET", "/api/services/..%2f..%2fetc/icon", 404),
        ("GET", "/api/state/", 404),
        ("PUT", "/api/state", 405),
        ("DELETE", "/index.html", 405),
    ],
)
async def test_what_does_not_exist_is_an_error_in_json(
    owner: Running, method: str, path: str, status: int
) -> None:
    found, error = await error_of(owner, method, path)
    assert found == status
    assert error["message"]


async def test_an_error_of_the_home_keeps_its_status_and_words(owner: Running) -> None:
    owner.home.fail_with = disk_full()
    status, error = await error_of(owner, "POST", "/api/services", json=LAMP)
    assert (status, error["code"]) == (507, "state_not_writable")
    assert "No space left" in error["message"]
    assert error["hint"]


async def test_a_bug_gives_a_number_and_the_traceback_only_to_the_log(
    owner: Running, caplog: pytest.LogCaptureFixture
) -> None:
    owner.home.fail_with = RuntimeError("the inside of it")
    with caplog.at_level(logging.ERROR):
        status, error = await error_of(owner, "POST", "/api/services", json=LAMP)
    assert (status, error["code"]) == (500, "internal")
    assert "inside" not in json.dumps(error)
    assert error["fields"]["id"] in caplog.text
    assert "the inside of it" in caplog.text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/state"),
        ("GET", "/api/live"),
        ("GET", "/api/openapi.json"),
        ("GET", "/api/services/s-1/icon"),
        ("POST", "/api/services"),
        ("POST", "/api/relays"),
        ("DELETE", "/api/relays/cottage"),
        ("PUT", "/api/services/s-1/exposure"),
        ("POST", "/api/logout"),
        ("GET", "/api/nothing"),
        ("GET", "/api"),
        ("GET", "/api/session/"),
        ("GET", "/api/health/../state"),
    ],
)
async def test_nobody_learns_anything_without_a_login(
    running: Running, method: str, path: str
) -> None:
    status, error = await error_of(running, method, path)
    assert (status, error["code"]) == (401, "login_needed")


async def raw_answer(running: Running, request: bytes) -> bytes:
    """Send bytes as no browser would and return what comes back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", running.server.port)
    try:
        writer.write(request)
        async with asyncio.timeout(30):
            return await reader.read(4096)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize(
    "target",
    [
        "/API/state",
        "//api/state",
        "/./api/state",
        "/x/../api/state",
        "/%61pi/state",
        "/api%2fstate",
        "/api//state",
        "http://127.0.0.1/api/state",
        "/api/state;x",
        "/api/health/%2e%2e/state",
        "*",
    ],
)
async def test_no_spelling_of_a_path_goes_around_the_login(
    running: Running, target: str
) -> None:
    head = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = await raw_answer(running, head.encode())
    assert answer.split()[1] in {b"400", b"401", b"404"}
    assert b"relays" not in answer


async def test_rubbish_on_the_port_is_refused_and_forgotten(running: Running) -> None:
    answer = await raw_answer(running, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    assert answer.split()[1] == b"400"
    assert b"Traceback" not in answer
    async with running.browser.get("/api/health") as got:
        assert got.status == 200
