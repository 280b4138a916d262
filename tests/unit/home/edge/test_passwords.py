"""The desk where HAProxy asks: what is a question, and what is none."""

import asyncio
from collections.abc import AsyncIterator
import contextlib
import os
from pathlib import Path

import pytest

from hearthgate.home.access import PasswordChecks, Verdict
from hearthgate.home.edge import Route
from hearthgate.home.edge.passwords import Desk
from hearthgate.home.model import Access, Scheme, Target

ACCESS = Access("anna", "$6$saltsalt$" + "a" * 86)
HOST = "cottage.example.com"


class Checks(PasswordChecks):
    """Says what it is told to, and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Access, str]] = []

    async def check(self, password: str, access: Access, address: str) -> Verdict:
        """Lets the right one in."""
        self.asked.append((password, access, address))
        return Verdict.RIGHT if password == "right" else Verdict.LIMITED


def route(hostname: str, access: Access | None) -> Route:
    target = Target(Scheme.HTTP, "192.0.2.7", 80)
    return Route(hostname, target, Path("/c.pem"), access, "x")


@contextlib.asynccontextmanager
async def desk(folder: Path) -> AsyncIterator[Checks]:
    checks = Checks()
    opened = Desk([route(HOST, ACCESS), route("open.example.com", None)], checks)
    await opened.open(folder)
    try:
        yield checks
    finally:
        await opened.close()


async def ask(folder: Path, question: bytes) -> bytes:
    # A path in a socket's address has room for 108 bytes.
    path = os.path.relpath(folder / "passwords.sock")
    reader, writer = await asyncio.open_unix_connection(path)
    with contextlib.suppress(ConnectionError):
        writer.write(question)
        writer.write_eof()
    try:
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def test_question_is_answered_in_one_word(tmp_path: Path) -> None:
    async with desk(tmp_path) as checks:
        question = b"cottage.example.com 2001:db8::1 7269676874\n"
        assert await ask(tmp_path, question) == b"right\n"
        assert await ask(tmp_path, b"cottage.example.com 192.0.2.1 \n") == b"limited\n"
        assert checks.asked == [
            ("right", ACCESS, "2001:db8::1"),
            ("", ACCESS, "192.0.2.1"),
        ]


@pytest.mark.parametrize(
    "question",
    [
        b"",
        b"\n",
        b"cottage.example.com 192.0.2.1 7269676874",  # not ended
        b"cottage.example.com 192.0.2.1\n",
        b"cottage.example.com 192.0.2.1 72 69\n",
        b"cottage.example.com 192.0.2.1 xyz\n",
        b"cottage.example.com 192.0.2.1 \xff\n",
        b"open.example.com 192.0.2.1 7269676874\n",
        b"barn.example.com 192.0.2.1 7269676874\n",
        b"cottage.example.com 192.0.2.1 " + b"72" * 100_000 + b"\n",
        b"x" * 100_000,
    ],
)
async def test_what_is_no_question_gets_no_answer(
    tmp_path: Path, question: bytes
) -> None:
    async with desk(tmp_path) as checks:
        assert await ask(tmp_path, question) == b""
        assert not checks.asked
        # And the next one does.
        assert await ask(tmp_path, b"cottage.example.com ::1 00\n") == b"limited\n"


async def test_bytes_that_are_no_text_are_a_guess_that_cannot_be_right(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as checks:
        await ask(tmp_path, b"cottage.example.com 192.0.2.1 ff\n")
        assert checks.asked == [("\udcff", ACCESS, "192.0.2.1")]


async def test_socket_is_there_only_while_somebody_may_ask(tmp_path: Path) -> None:
    async with desk(tmp_path):
        assert (tmp_path / "passwords.sock").is_socket()
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        await asyncio.open_unix_connection(os.path.relpath(tmp_path / "passwords.sock"))
    (tmp_path / "open").mkdir()
    nobody = Desk([route("open.example.com", None)], Checks())
    await nobody.open(tmp_path / "open")
    assert not list((tmp_path / "open").iterdir())
    await nobody.close()
