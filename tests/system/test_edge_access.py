"""A name and a password at the edge, with the real HAProxy."""

import asyncio
import base64
from collections.abc import AsyncIterator
import contextlib
from http.client import IncompleteRead
from http.cookies import SimpleCookie
import json
from pathlib import Path

import pytest

from hearthgate.home.access import make_access
from hearthgate.home.model import Access
from tests.support.visiting import House, Household, house, household

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"
OTHER = "barn.example.com"
OPEN = "garden.example.com"
NAME, PASSWORD = "Änne 'x' \"y\" # $HOME \\", "häuschen am see"


@pytest.fixture(scope="module")
def access() -> Access:
    return make_access(NAME, PASSWORD)


def basic(name: str = NAME, password: str = PASSWORD) -> dict[str, str]:
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


@contextlib.asynccontextmanager
async def locked(
    tmp_path: Path, access: Access
) -> AsyncIterator[tuple[Household, House]]:
    """Give a household whose only service asks for the name and the password."""
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply([home.route(HOST, service.port, access=access)])
        yield home, service


async def ask_with(home: Household, headers: list[tuple[str, str]]) -> str:
    """Ask for what the service got, with headers that no library sends twice."""
    visitor = await home.visit(HOST)
    sent = [("Host", HOST), ("Connection", "close"), *headers]
    lines = ["GET /echo HTTP/1.1", *(": ".join(one) for one in sent), "", ""]
    return (await asyncio.to_thread(visitor.raw, "\r\n".join(lines).encode())).decode()


async def test_right_password_opens_and_never_reaches_the_service(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access) as (home, _):
        for _ in range(3):  # checked, then remembered
            status, body = await home.get(HOST, headers=basic())
            assert status == 200
            names = [name for name, _ in json.loads(body)["headers"]]
            assert "authorization" not in names


async def test_service_without_access_keeps_its_own_authorization(
    tmp_path: Path, access: Access
) -> None:
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply(
            [
                home.route(HOST, service.port, access=access),
                home.route(OPEN, service.port),
            ]
        )
        token = {"Authorization": "Bearer abc"}
        _, body = await home.get(OPEN, headers=token)
        assert ["authorization", "Bearer abc"] in json.loads(body)["headers"]


async def test_nothing_or_nonsense_is_asked_for_a_password(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access) as (home, service):
        for headers in (
            {},
            {"Authorization": ""},
            {"Authorization": "Basic"},
            {"Authorization": "Basic !!!"},
            {"Authorization": "Bearer abc"},
            {"Proxy-Authorization": basic()["Authorization"]},
            basic(name=NAME.upper()),
            basic(password=PASSWORD.upper()),
            basic(password=""),
        ):
            visitor = await home.visit(HOST)
            response = await asyncio.to_thread(visitor.ask, headers=headers)
            assert response.status == 401
            assert response.headers["WWW-Authenticate"].startswith(
                f'Basic realm="{HOST}"'
            )
            assert b"Please sign in" in response.read()
        assert service.requests == 0


@pytest.mark.parametrize(
    "path",
    ["/", "/ECHO", "/%65cho", "//echo", "/./echo", "/.well-known/x", "/echo?a=@", "*"],
)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "PROPFIND"])
async def test_no_spelling_of_a_request_gets_past(
    quiet: tuple[Household, list[int]], path: str, method: str
) -> None:
    home, seen = quiet
    for host in (HOST, HOST.upper(), f"{HOST}.", f"{HOST}:443"):
        status, _ = await home.get(HOST, path, method=method, host=host)
        assert status in {400, 401}
    for host in (OPEN, "", "localhost"):
        status, _ = await home.get(HOST, path, method=method, host=host)
        assert status in {400, 421}
    # The open hostname's connection must not lead to the closed one.
    status, _ = await home.get(OPEN, path, method=method, host=HOST)
    assert status in {400, 421}
    assert not seen


@pytest.fixture
async def quiet(tmp_path: Path, access: Access):  # type: ignore[no-untyped-def] # noqa: ANN201
    """Yield a household whose closed service notes every request it gets."""
    seen: list[int] = []

    async def note(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(1)
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    async with server, house() as service, household(tmp_path) as home:
        port = server.sockets[0].getsockname()[1]
        await home.edge.apply(
            [home.route(HOST, port, access=access), home.route(OPEN, service.port)]
        )
        yield home, seen


async def test_connection_that_was_let_in_is_asked_again_for_every_request(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access) as (home, _):
        visitor = await home.visit(HOST)

        def ask(headers: dict[str, str]) -> int:
            response = visitor.ask(headers=headers)
            response.read()
            return response.status

        assert await asyncio.to_thread(ask, basic()) == 200
        assert await asyncio.to_thread(ask, {}) == 401
        assert await asyncio.to_thread(ask, basic()) == 200


async def test_right_password_of_one_hostname_does_not_open_another(
    tmp_path: Path, access: Access
) -> None:
    """One table for all hostnames would remember a credential for every one of them."""
    other = make_access(NAME, "another password")
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply(
            [
                home.route(HOST, service.port, access=access),
                home.route(OTHER, service.port, access=other),
            ]
        )
        assert (await home.get(HOST, headers=basic()))[0] == 200
        assert (await home.get(OTHER, headers=basic()))[0] == 401
        assert (await home.get(HOST, headers=basic()))[0] == 200


async def test_second_authorization_header_is_never_let_in(
    tmp_path: Path, access: Access
) -> None:
    """The first would be checked and the last remembered: "junk" would open later."""
    right = basic()["Authorization"]
    async with locked(tmp_path, access) as (home, service):
        for first, last in ((right, "junk"), ("junk", right)):
            twice = [("Authorization", first), ("Authorization", last)]
            assert (await ask_with(home, twice)).startswith("HTTP/1.1 401")
        status, _ = await home.get(HOST, headers={"Authorization": "junk"})
        assert status == 401
        assert service.requests == 0


# --- the cookie of who was right once ---------------------------------------------


async def sign_in(home: Household, host: str = HOST) -> str:
    """Give the right password; return the cookie as a browser sends it."""
    visitor = await home.visit(host)
    response = await asyncio.to_thread(visitor.ask, headers=basic())
    assert response.status == 200
    response.read()
    cookies = SimpleCookie(response.headers["Set-Cookie"])
    (cookie,) = cookies.values()
    assert cookie.key.startswith("__Host-")
    assert (cookie["path"], cookie["samesite"], cookie["domain"]) == ("/", "Lax", "")
    assert cookie["secure"]
    assert cookie["httponly"]
    assert len(cookie.value) == 64
    return f"{cookie.key}={cookie.value}"


async def headers_behind(home: Household, **sent: str) -> dict[str, str]:
    status, body = await home.get(HOST, headers=sent)
    assert status == 200
    return dict(json.loads(body)["headers"])


async def test_who_was_right_once_comes_in_by_cookie_and_the_service_may_use_the_header(
    tmp_path: Path, access: Access
) -> None:
    """As Home Assistant's page does; and Safari sends WebSockets no password."""
    async with locked(tmp_path, access) as (home, _):
        cookie = await sign_in(home)
        theirs = basic("somebody else", "secret")["Authorization"]
        for own in ("Bearer abc", theirs, "Digest username=x"):
            seen = await headers_behind(home, Cookie=cookie, Authorization=own)
            assert seen["authorization"] == own
            assert "cookie" not in seen
        assert "authorization" not in await headers_behind(home, Cookie=cookie)


@pytest.mark.parametrize(
    ("before", "after"), [("", ""), ("a=1; ", ""), ("", "; b=2"), ("a=1; ", "; b=2")]
)
async def test_the_service_gets_every_cookie_but_ours(
    tmp_path: Path, access: Access, before: str, after: str
) -> None:
    async with locked(tmp_path, access) as (home, _):
        ours = await sign_in(home)
        seen = await headers_behind(home, Cookie=f"{before}{ours}{after}")
        kept = [one for one in f"{before}{after}".split("; ") if one]
        assert seen.get("cookie", "") == "; ".join(kept)


async def test_a_second_line_of_cookies_is_kept_when_the_first_was_ours(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access) as (home, _):
        ours = await sign_in(home)
        for first, second in ((ours, "a=1"), ("a=1", ours)):
            answer = await ask_with(home, [("Cookie", first), ("Cookie", second)])
            assert answer.startswith("HTTP/1.1 200")
            assert "a=1" in answer
            assert ours not in answer


async def test_the_password_reaches_no_service_with_the_cookie_either(
    tmp_path: Path, access: Access
) -> None:
    """A browser sends both. What one edge has seen, the next one does not know."""
    async with locked(tmp_path, access) as (home, service):
        cookie = await sign_in(home)
        await home.edge.apply(
            [
                home.route(HOST, service.port, access=access),
                home.route(OTHER, service.port),
            ]
        )
        right = basic()["Authorization"]
        mistyped = basic(password=PASSWORD + "x")["Authorization"]
        for own in (right, right.replace("Basic", "BASIC"), mistyped):
            seen = await headers_behind(home, Cookie=cookie, Authorization=own)
            assert "authorization" not in seen
        twice = [("Authorization", "Bearer abc"), ("Authorization", right)]
        answer = await ask_with(home, [("Cookie", cookie), *twice])
        assert answer.startswith("HTTP/1.1 200")
        assert "abc" not in answer
        assert right.removeprefix("Basic ") not in answer


async def test_a_cookie_is_given_once_and_to_nobody_who_was_wrong(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access) as (home, _):
        cookie = await sign_in(home)
        for headers, given in (
            ({}, False),
            (basic(password="wrong wrong"), False),
            ({"Cookie": cookie}, False),
            ({"Cookie": cookie, **basic()}, False),
            (basic(), True),
        ):
            visitor = await home.visit(HOST)
            response = await asyncio.to_thread(visitor.ask, headers=headers)
            response.read()
            assert ("Set-Cookie" in response.headers) == given


async def test_no_other_cookie_opens(tmp_path: Path, access: Access) -> None:
    same = make_access(NAME, PASSWORD)  # with another salt
    async with house() as service, household(tmp_path) as home:
        await home.edge.apply(
            [
                home.route(HOST, service.port, access=access),
                home.route(OTHER, service.port, access=access),
            ]
        )
        cookie, other = await sign_in(home), await sign_in(home, OTHER)
        name, value = cookie.split("=")
        assert other != cookie
        requests = service.requests
        for wrong in (
            other,
            cookie[:-1],
            f"{cookie}0",
            f"{name}=",
            f"hearthgate={value}",
            f"{name}={value[:-1]}{'1' if value[-1] == '0' else '0'}",
            f"a={cookie}",
            f"{name}={'0' * 64}",
        ):
            status, _ = await home.get(HOST, headers={"Cookie": wrong})
            assert status == 401, wrong
        assert service.requests == requests
        await home.edge.apply([home.route(HOST, service.port, access=same)])
        assert (await home.get(HOST, headers={"Cookie": cookie}))[0] == 401


async def test_the_cookie_holds_over_a_change_of_the_edge(
    tmp_path: Path, access: Access
) -> None:
    async with house() as service, household(tmp_path) as home:
        routes = [home.route(HOST, service.port, access=access)]
        await home.edge.apply(routes)
        cookie = await sign_in(home)
        await home.edge.apply([*routes, home.route(OPEN, service.port)])
        assert (await home.get(HOST, headers={"Cookie": cookie}))[0] == 200


async def test_changed_password_ends_what_the_old_one_opened(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access) as (home, service):
        visitor = await home.visit(HOST)
        response = await asyncio.to_thread(
            visitor.ask, "/download?mb=2&wait=1", headers=basic()
        )
        changed = make_access(NAME, "a new password")
        await home.edge.apply([home.route(HOST, service.port, access=changed)])
        service.go.set()
        with pytest.raises((OSError, IncompleteRead)):
            await asyncio.to_thread(response.read)
        assert (await home.get(HOST, headers=basic()))[0] == 401
