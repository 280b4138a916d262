"""Name servers and authorities that send more than anybody could have asked for."""

import asyncio
from collections.abc import AsyncIterator, Callable
import contextlib
from pathlib import Path
import socket
import struct

import dns.message
import pytest

from hearthgate.home.certificates.dns_check import DnsCheck
from hearthgate.home.certificates.errors import CertificateError
from hearthgate.home.certificates.small_answers import ANSWER_MAX_BYTES
from tests.support.certificate_parts import Clock, Home, settings_for
from tests.support.fake_ca import FakeCa, Refusal
from tests.support.port80 import Port80

NAME = "a." * 100 + "example"  # as deep as it gets: each record costs 100 steps
Answers = Callable[[dns.message.Message], list[bytes]]


def fat(query: dns.message.Message, size: int) -> bytes:
    """Return an answer of so many bytes, as many addresses."""
    head, question = 12, query.question[0].name.to_wire()
    assert question is not None
    record = struct.pack(">HHHIH4s", 0xC000 | head, 1, 1, 60, 4, b"\x7f\0\0\1")
    count = (size - head - len(question) - 4) // len(record)
    counts = struct.pack(">HHHHHH", query.id, 0x8180, 1, count, 0, 0)
    asked = question + struct.pack(">HH", query.question[0].rdtype, 1)
    return counts + asked + record * count


def cut(query: dns.message.Message) -> bytes:
    answer = dns.message.make_response(query)
    answer.flags |= 0x0200  # truncated: ask by TCP
    return answer.to_wire()


class NameServer(asyncio.DatagramProtocol):
    """Sends what a test says, over UDP and TCP on one port."""

    def __init__(self, datagrams: Answers, stream: Answers) -> None:
        self._datagrams = datagrams
        self._stream = stream
        self._transport: asyncio.DatagramTransport | None = None
        self.port = 0

    @contextlib.asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        here = ("127.0.0.1", self.port)
        transport, _ = await loop.create_datagram_endpoint(lambda: self, here)
        sock: socket.socket = transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
        self._transport = transport
        async with server:
            yield
        transport.close()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        for answer in self._datagrams(dns.message.from_wire(data)):
            self._transport.sendto(answer, addr)

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            (length,) = struct.unpack(">H", await reader.readexactly(2))
            query = dns.message.from_wire(await reader.readexactly(length))
            for answer in self._stream(query):
                writer.write(struct.pack(">H", len(answer)) + answer)
            await writer.drain()
        writer.close()


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Note the size of each answer that is parsed."""
    sizes: list[int] = []
    real = dns.message.from_wire

    def from_wire(wire: bytes, *args: object, **kwargs: object) -> object:
        sizes.append(len(wire))
        return real(wire, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(dns.message, "from_wire", from_wire)
    return sizes


def nothing(_query: dns.message.Message) -> list[bytes]:
    return []


def stray(query: dns.message.Message) -> bytes:
    """Return an answer to another question."""
    query.id ^= 1
    return fat(query, 4000)


@pytest.mark.parametrize(
    ("datagrams", "stream"),
    [
        (lambda query: [fat(query, 60_000)] * 3, nothing),
        (lambda query: [cut(query)], lambda query: [fat(query, 65_000)]),
        (lambda query: [stray(query)] * 100, nothing),
        (lambda _query: [b"\0"] * 100, nothing),
    ],
)
async def test_an_answer_that_is_too_much_is_none(
    datagrams: Answers, stream: Answers, parsed: list[int]
) -> None:
    server = NameServer(datagrams, stream)
    async with server.serve():
        check = DnsCheck((("127.0.0.1", server.port),), question_s=1.0)
        # Not found out is no fault: the authority looks for itself.
        await check.check_addresses(NAME, ["203.0.113.5"])
        assert await check.caa(NAME) is None
    # What the server itself reads is small.
    assert max(parsed) <= ANSWER_MAX_BYTES
    assert len([size for size in parsed if size > 3000]) <= 200


async def test_an_answer_over_tcp_that_fits_is_taken(parsed: list[int]) -> None:
    server = NameServer(
        lambda query: [cut(query)], lambda query: [fat(query, ANSWER_MAX_BYTES)]
    )
    async with server.serve():
        check = DnsCheck((("127.0.0.1", server.port),), question_s=20.0)
        await check.check_addresses("a.example.com", ["127.0.0.1"])
    assert max(parsed) > 4000


@pytest.mark.parametrize("path", ["/directory", "/account", "/order", "/cert"])
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
async def test_an_authority_that_sends_without_end_is_refused(
    tmp_path: Path, path: str, encoding: str
) -> None:
    ca = FakeCa(tmp_path)
    text = "x" * 1_000_000
    ca.refuse_always[path] = Refusal(status=200, raw=text, packed=encoding == "gzip")
    async with ca.serve():
        home = Home(tmp_path / "home", settings_for(ca), Port80(), Clock())
        with pytest.raises(CertificateError) as caught:
            await home.ensure()
    assert "more than 262144 bytes" in str(caught.value)
