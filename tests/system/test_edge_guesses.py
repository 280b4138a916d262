"""Whoever guesses is stopped, whatever is remembered; with the real HAProxy.

Each wrong password is hashed by the agent, so what was hashed is what was tried.
"""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
import contextlib
from http.cookies import SimpleCookie
import json
import os
from pathlib import Path
import signal
import threading

import pytest

from hearthgate.home.access import checks, make_access, matches
from hearthgate.home.model import Access
from tests.support.h2raw import H2
from tests.support.visiting import (
    MB,
    House,
    Household,
    Visitor,
    house,
    household,
)

pytestmark = pytest.mark.usefixtures("haproxy")

HOST = "cottage.example.com"
OTHER = "barn.example.com"
OPEN = "garden.example.com"
NAME, PASSWORD = "anna", "right right"
GUESSER, ELSEWHERE = "198.51.100.7", "192.0.2.9"
MAX = 3  # fewer than a home allows, to be there sooner


@pytest.fixture(scope="module")
def access() -> Access:
    return make_access(NAME, PASSWORD)


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note every password that is hashed."""
    seen: list[str] = []

    def note(password: str, password_hash: str) -> bool:
        seen.append(password)
        return matches(password, password_hash)

    monkeypatch.setattr(checks, "matches", note)
    return seen


def basic(password: str = PASSWORD, name: str = NAME) -> dict[str, str]:
    pair = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}


def wrong(number: int = 0) -> dict[str, str]:
    return basic(f"wrong {number}")


@contextlib.asynccontextmanager
async def locked(
    tmp_path: Path, access: Access, **settings: int
) -> AsyncIterator[tuple[Household, House]]:
    """Yield a household whose only service asks for the name and the password."""
    async with (
        house() as service,
        household(tmp_path, **{"wrong_passwords_max": MAX, **settings}) as home,
    ):
        await home.edge.apply([home.route(HOST, service.port, access=access)])
        yield home, service


async def status(
    home: Household,
    headers: dict[str, str],
    *,
    host: str = HOST,
    address: str = GUESSER,
) -> int:
    return (await home.get(host, headers=headers, address=address))[0]


async def sign_in(home: Household, address: str) -> dict[str, str]:
    """Give the right password; return the cookie as a header."""
    visitor = await home.visit(HOST, address=address)
    response = await asyncio.to_thread(visitor.ask, headers=basic())
    assert response.status == 200
    response.read()
    ((name, morsel),) = SimpleCookie(response.headers["Set-Cookie"]).items()
    return {"Cookie": f"{name}={morsel.value}"}


def ask_all(visitor: Visitor, attempts: Sequence[dict[str, str]]) -> list[int]:
    """Ask on one connection, one after the other."""
    statuses = []
    for headers in attempts:
        response = visitor.ask(headers=headers)
        response.read()
        statuses.append(response.status)
    return statuses


async def use_up(home: Household, host: str = HOST, address: str = GUESSER) -> None:
    for number in range(MAX):
        got = await status(home, wrong(number), host=host, address=address)
        assert got == 401


# --- a memory of right answers never stands before the limit -----------------------


async def test_guesser_is_stopped_on_one_kept_connection_though_others_are_remembered(
    tmp_path: Path, access: Access, hashed: list[str]
) -> None:
    async with locked(tmp_path, access) as (home, service):
        assert await status(home, basic(), address=ELSEWHERE) == 200
        hashed.clear()
        visitor = await home.visit(HOST, address=GUESSER)
        attempts = [wrong(number) for number in range(MAX + 5)]
        statuses = await asyncio.to_thread(ask_all, visitor, [*attempts, basic()])
        assert statuses == [401] * MAX + [429] * 6
        assert hashed == [f"wrong {number}" for number in range(MAX)]
        assert service.requests == 1
        # It is that address that waits, and nobody else.
        assert await status(home, basic(), address=ELSEWHERE) == 200


async def test_guesser_beside_somebody_who_was_right_is_stopped_and_tells_nothing(
    tmp_path: Path, access: Access
) -> None:
    """Two behind one address; what the one may use the other must not try."""
    async with locked(tmp_path, access) as (home, _):
        for _ in range(3):
            assert await status(home, basic()) == 200
        await use_up(home)
        for headers in (wrong(), basic(), wrong(99)):
            assert await status(home, headers) == 429


async def test_right_password_of_another_hostname_opens_no_memory_of_this_one(
    tmp_path: Path, access: Access
) -> None:
    other = make_access(NAME, "another one")
    async with locked(tmp_path, access) as (home, service):
        await home.edge.apply(
            [
                home.route(HOST, service.port, access=access),
                home.route(OTHER, service.port, access=other),
            ]
        )
        for _ in range(2):
            assert await status(home, basic()) == 200
        await use_up(home)
        assert await status(home, basic("another one"), host=OTHER) == 200
        assert await status(home, basic()) == 429


async def test_cookie_opens_where_passwords_are_stopped(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access) as (home, _):
        cookie = await sign_in(home, GUESSER)
        await use_up(home)
        assert await status(home, basic()) == 429
        assert await status(home, cookie) == 200
        assert await status(home, {**cookie, **wrong()}) == 200  # not looked at


async def test_household_of_ipv6_is_one_guesser_and_the_next_one_another(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access) as (home, _):
        await use_up(home, address="2001:db8::1")
        assert await status(home, basic(), address="2001:db8::2") == 429
        assert await status(home, basic(), address="2001:db8:0:1::1") == 200


async def test_right_password_is_hashed_once_while_it_is_remembered(
    tmp_path: Path, access: Access, hashed: list[str]
) -> None:
    async with locked(tmp_path, access) as (home, _):
        for _ in range(3):
            assert await status(home, basic()) == 200
        assert len(hashed) == 1
        # It is remembered for the address from which it was right, and no other.
        assert await status(home, basic(), address=ELSEWHERE) == 200
        assert len(hashed) == 2


async def test_right_password_is_hashed_again_when_its_time_is_over(
    tmp_path: Path, access: Access, hashed: list[str]
) -> None:
    async with locked(tmp_path, access, credential_s=1) as (home, _):
        async with asyncio.timeout(60):
            while len(hashed) < 2:
                assert await status(home, basic()) == 200
                await asyncio.sleep(0.2)


# --- what is a guess, and what is none ---------------------------------------------


async def test_what_is_meant_for_the_service_locks_nobody_out(
    tmp_path: Path, access: Access, hashed: list[str]
) -> None:
    theirs = [
        {"Authorization": value}
        for value in (
            "Bearer abc",
            'Digest username="anna", realm="x"',
            "Negotiate YII=",
            "Token anna",
            "Basic",
            "Basic !!!",
            "Basic YW5uYQ==",  # a name without a colon
            "",
        )
    ]
    theirs += [basic(name=name) for name in ("ben", "", "Anna", "anna ", "ann")]
    async with locked(tmp_path, access) as (home, service):
        for headers in theirs:
            assert await status(home, headers) == 401
        assert not hashed
        assert service.requests == 0
        assert await status(home, basic()) == 200


async def test_guesses_count_per_hostname_until_there_are_too_many_of_these(
    tmp_path: Path, access: Access
) -> None:
    names = [f"room-{number}.example.com" for number in range(3)]
    policies = [access, make_access(NAME, PASSWORD), make_access(NAME, PASSWORD)]
    async with (
        house() as service,
        household(
            tmp_path, wrong_passwords_max=MAX, wrong_passwords_hostnames=2
        ) as home,
    ):
        await home.edge.apply(
            [
                home.route(name, service.port, access=policy)
                for name, policy in zip(names, policies, strict=True)
            ]
        )
        first, second, third = names
        await use_up(home, first)
        assert await status(home, basic(), host=first) == 429
        assert await status(home, basic(), host=second) == 200
        await use_up(home, second)
        assert await status(home, basic(), host=third) == 429
        assert await status(home, basic(), host=third, address=ELSEWHERE) == 200


async def test_second_hostname_of_one_policy_gives_no_more_guesses(
    tmp_path: Path, access: Access
) -> None:
    async with house() as service, household(tmp_path, wrong_passwords_max=MAX) as home:
        await home.edge.apply(
            [home.route(name, service.port, access=access) for name in (HOST, OTHER)]
        )
        await use_up(home)
        assert await status(home, basic(), host=OTHER) == 429


# --- no way around -----------------------------------------------------------------


async def test_another_spelling_is_no_other_guess(
    tmp_path: Path, access: Access, hashed: list[str]
) -> None:
    pair = basic()["Authorization"].removeprefix("Basic ")
    async with locked(tmp_path, access) as (home, service):
        await use_up(home)
        for value in (
            f"basic {pair}",
            f"BASIC {pair}",
            f"bAsIc  {pair}",
            f"Basic\t{pair}",
            f"  Basic {pair}  ",
            f"Basic {pair}=",
            f"Basic {pair.rstrip('=')}",
            f"Basic {pair},",
            f"Basic {pair} x",
            f"Bearer x, Basic {pair}",
        ):
            assert await status(home, {"Authorization": value}) in {401, 429}, value
        assert len(hashed) == MAX
        assert service.requests == 0


async def test_second_header_line_is_no_guess_and_lets_nobody_in(
    tmp_path: Path, access: Access, hashed: list[str]
) -> None:
    async with locked(tmp_path, access) as (home, service):
        right, junk = basic()["Authorization"], "Bearer x"
        for first, second in ((right, junk), (junk, right), (right, right)):
            visitor = await home.visit(HOST)
            lines = (
                f"GET / HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
                f"Authorization: {first}\r\nAuthorization: {second}\r\n\r\n"
            )
            answer = await asyncio.to_thread(visitor.raw, lines.encode())
            assert answer.startswith(b"HTTP/1.1 401 ")
        assert not hashed
        assert service.requests == 0


@pytest.mark.parametrize(
    "spell",
    [
        lambda pair: f"Basic\t{pair}",
        lambda pair: f"Basic {pair.rstrip('=')}",
        lambda pair: f"Basic {pair[:4]} {pair[4:]}",
        lambda pair: f"Basic:{pair}",
        lambda pair: f"Bearer x, Basic {pair}",
    ],
    ids=["tab", "no padding", "blank", "colon", "second scheme"],
)
async def test_password_that_only_a_service_can_read_reaches_none(
    tmp_path: Path, access: Access, spell: Callable[[str], str]
) -> None:
    async with locked(tmp_path, access) as (home, _service):
        cookie = await sign_in(home, ELSEWHERE)
        said = spell(basic()["Authorization"].removeprefix("Basic "))
        for ask, expected in (
            ({"Authorization": said}, 401),
            ({"Authorization": said, **cookie}, 200),
        ):
            got, body = await home.get(HOST, headers=ask)
            assert got == expected
            assert b"authorization" not in body
        own = {"Authorization": "Bearer basic", **cookie}
        assert b"Bearer basic" in (await home.get(HOST, headers=own))[1]


async def test_password_longer_than_any_is_no_guess(
    tmp_path: Path, access: Access, hashed: list[str]
) -> None:
    async with locked(tmp_path, access) as (home, _):
        assert await status(home, basic("x" * 4000)) == 401
        assert not hashed
        assert await status(home, basic("ä" * 256)) == 401
        assert len(hashed) == 1


async def test_a_hundred_guesses_at_once_are_no_hundred_guesses(
    tmp_path: Path, access: Access, hashed: list[str]
) -> None:
    async with locked(tmp_path, access) as (home, service):
        # Somebody behind the same address is remembered, to make it harder.
        assert await status(home, basic()) == 200
        hashed.clear()
        visitors = [await home.visit(HOST, address=GUESSER) for _ in range(100)]
        together = threading.Barrier(len(visitors))

        def guess(number: int) -> int:
            together.wait()
            (got,) = ask_all(visitors[number], [wrong(number)])
            return got

        # Each one needs a thread of its own to wait in.
        statuses = Counter(await in_threads(guess, len(visitors)))
        assert statuses == {401: MAX, 429: 100 - MAX}
        assert len(hashed) == MAX
        assert service.requests == 1


async def in_threads(work: Callable[[int], int], count: int) -> list[int]:
    """Run blocking work in as many threads of its own."""
    results: list[int] = [0] * count

    def run(number: int) -> None:
        results[number] = work(number)

    def all_of_them() -> None:
        threads = [
            threading.Thread(target=run, args=(number,)) for number in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    await asyncio.to_thread(all_of_them)
    return results


async def test_streams_of_one_connection_are_no_way_around(
    tmp_path: Path, access: Access, hashed: list[str]
) -> None:
    async with locked(tmp_path, access) as (home, service):
        visitor = await home.visit(HOST, "h2", address=GUESSER)
        h2 = H2(visitor)
        guesses = [wrong(number) for number in range(50)] + [basic()]
        for number, headers in enumerate(guesses):
            h2.request(
                2 * number + 1,
                (":method", "HEAD"),  # 51 pages are more than the window has room for
                (":scheme", "https"),
                (":authority", HOST),
                (":path", "/echo"),
                ("authorization", headers["Authorization"]),
            )
        statuses = Counter([await asyncio.to_thread(h2.status) for _ in guesses])
        assert statuses == {401: MAX, 429: 51 - MAX}
        assert len(hashed) == MAX
        assert service.requests == 0


async def test_program_that_opens_many_connections_at_once_is_let_in_with_all(
    tmp_path: Path, access: Access, hashed: list[str]
) -> None:
    async with locked(tmp_path, access) as (home, _):
        visitors = [await home.visit(HOST, address=GUESSER) for _ in range(40)]

        def enter(number: int) -> int:
            (got,) = ask_all(visitors[number], [basic()])
            return got

        assert await in_threads(enter, 40) == [200] * 40
        assert set(hashed) == {PASSWORD}


async def test_flood_from_one_address_is_stopped_before_the_agent_is_asked(
    tmp_path: Path, access: Access, hashed: list[str]
) -> None:
    async with locked(
        tmp_path, access, wrong_passwords_max=1000, password_asks_max=3
    ) as (home, _):
        visitor = await home.visit(HOST, address=GUESSER)
        attempts = [wrong(number) for number in range(40)]
        statuses = await asyncio.to_thread(ask_all, visitor, attempts)
        assert statuses[0] == 401
        assert 429 in statuses
        assert len(hashed) < 40
        assert await status(home, basic(), address=ELSEWHERE) == 200


# --- what a change of the edge does to it ------------------------------------------


async def test_a_change_of_the_edge_forgets_no_guess(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access) as (home, service):
        await use_up(home)
        routes = [home.route(HOST, service.port, access=access)]
        await home.edge.apply([*routes, home.route(OPEN, service.port)])
        assert await status(home, basic()) == 429
        assert await status(home, basic(), address=ELSEWHERE) == 200


async def test_a_haproxy_that_was_killed_took_no_guess_with_it(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access) as (home, _):
        await use_up(home)
        (pid,) = home.edge.pids
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(20):
            while home.edge.pids in ((pid,), ()):  # noqa: ASYNC110  no event
                await asyncio.sleep(0.01)
        assert await status(home, basic()) == 429
        assert await status(home, basic(), address=ELSEWHERE) == 200


async def test_a_retired_haproxy_still_gets_answers_and_counts_with_the_others(
    tmp_path: Path, access: Access
) -> None:
    """A request that had begun before the change is asked for its password after it."""
    async with locked(tmp_path, access, request_s=120) as (home, service):
        early = [await home.visit(HOST, address=ELSEWHERE) for _ in range(2)]
        late = await home.visit(HOST, address=GUESSER)
        for visitor in (*early, late):
            visitor.tls.sendall(f"GET /echo HTTP/1.1\r\nHost: {HOST}\r\n".encode())
        routes = [home.route(HOST, service.port, access=access)]
        await home.edge.apply([*routes, home.route(OPEN, service.port)])
        assert len(home.edge.pids) == 2
        await use_up(home)
        for visitor, headers, expected in (
            (early[0], basic(), b"200"),
            (early[1], wrong(), b"401"),
            (late, basic(), b"429"),
        ):
            line = f"Authorization: {headers['Authorization']}\r\n"
            answer = await asyncio.to_thread(
                visitor.raw, f"{line}Connection: close\r\n\r\n".encode()
            )
            assert answer.startswith(b"HTTP/1.1 " + expected)


# --- what waits for the answer -----------------------------------------------------


async def test_body_waits_for_the_answer_and_arrives_whole(
    tmp_path: Path, access: Access
) -> None:
    """Programs that upload keep no cookie; their first request has a body."""
    body = os.urandom(3 * MB)
    async with locked(tmp_path, access) as (home, _):
        visitor = await home.visit(HOST)

        def put(headers: dict[str, str]) -> tuple[int, bytes]:
            got = visitor.ask("/upload", method="PUT", headers=headers, body=body)
            return got.status, got.read()

        for _ in range(2):
            got, said = await asyncio.to_thread(put, basic())
            assert got == 200
            assert json.loads(said) == {"size": len(body)}


# --- an agent that does not answer lets nobody in ----------------------------------


async def ask_without_an_answer(home: Household, service: House) -> None:
    visitor = await home.visit(HOST, address=ELSEWHERE)
    response = await asyncio.to_thread(visitor.ask, headers=basic())
    assert response.status == 503
    assert response.headers["Retry-After"]
    assert response.headers["Cache-Control"] == "no-store"
    assert b"Signing in does not work right now" in response.read()
    assert service.requests == 1


async def test_without_the_agent_the_cookie_opens_and_passwords_wait(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access) as (home, service):
        cookie = await sign_in(home, GUESSER)
        (folder,) = (tmp_path / "edge").iterdir()
        (folder / "passwords.sock").unlink()
        await ask_without_an_answer(home, service)
        assert await status(home, cookie) == 200


@pytest.mark.parametrize("answer", [b"", b"\n", b"righ", b"RIGHT\n", b"right \n"])
async def test_anything_but_the_one_word_lets_nobody_in(
    tmp_path: Path, access: Access, answer: bytes
) -> None:
    async def answer_so(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await reader.readline()
        writer.write(answer)
        writer.close()

    async with locked(tmp_path, access) as (home, service):
        await sign_in(home, GUESSER)
        (folder,) = (tmp_path / "edge").iterdir()
        socket = folder / "passwords.sock"
        socket.unlink()
        # A path in a socket's address has room for 108 bytes.
        there = Path(os.path.relpath(socket))
        async with await asyncio.start_unix_server(answer_so, there):
            await ask_without_an_answer(home, service)


async def test_more_questions_than_the_agent_should_get_in_a_second_wait(
    tmp_path: Path, access: Access
) -> None:
    async with locked(tmp_path, access, password_asks_per_second=0) as (home, service):
        visitor = await home.visit(HOST)
        response = await asyncio.to_thread(visitor.ask, headers=basic())
        assert response.status == 503
        assert service.requests == 0
