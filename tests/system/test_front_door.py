"""The front door of a running relay: what strangers say, and what they get for it.

The corpus is the one that the parser is tested with. Each answer is the whole of what
the relay sends until it closes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
import contextlib
from pathlib import Path
import socket

import pytest

from hearthgate.wire import messages
from hearthgate.wire.channel import OPENING_BYTES, opening_is_authentic, write_preamble
from tests.harness.hearthgate import RelayProcess
from tests.support import hellos
from tests.support.fake_agent import FakeAgent, dial, joined, read
from tests.support.hellos import NAME

UNRECOGNIZED_NAME = bytes.fromhex("15 0303 0002 02 70")
NO_APPLICATION_PROTOCOL = bytes.fromhex("15 0303 0002 02 78")
QUICK = {
    "HEARTHGATE_LIMITS__HELLO_DEADLINE_S": "0.5",
    "HEARTHGATE_LIMITS__PLAIN_DEADLINE_S": "1.5",
    "HEARTHGATE_LIMITS__WAITING_DEADLINE_S": "1",
}


@pytest.fixture(scope="module")
def relay() -> Iterator[RelayProcess]:
    with RelayProcess(environment=QUICK) as running:
        yield running
        assert "Traceback" not in running.log


@pytest.fixture(scope="module")
def code(relay: RelayProcess) -> str:
    return relay.invite("cottage.example.com", "cottage")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


_PAIRED: dict[str, FakeAgent] = {}


@pytest.fixture
async def agent(code: str, folder: Path) -> AsyncIterator[FakeAgent]:
    """Connect a home that publishes NAME; it is paired once."""
    if code not in _PAIRED:
        _PAIRED[code] = await FakeAgent.join(code, folder)
    one = FakeAgent(_PAIRED[code].joined, folder)
    async with one:
        await one.publish(NAME)
        yield one


async def answer(port: int, *pieces: bytes, pause_s: float = 0.0) -> bytes:
    """Say something and return everything that comes until the end."""
    sock = await dial(port)
    try:
        for piece in pieces:
            with contextlib.suppress(ConnectionError):
                await asyncio.get_running_loop().sock_sendall(sock, piece)
            if pause_s:
                await asyncio.sleep(pause_s)
        return await read(sock, 1 << 20)
    finally:
        sock.close()


def refused(relay: RelayProcess, cause: str) -> int:
    return int(relay.status()["refused"].get(cause, 0))


# --- hellos ---------------------------------------------------------------------------


@pytest.mark.parametrize("flight", hellos.HELLOS.values(), ids=hellos.HELLOS)
async def test_a_name_that_nobody_published_gets_an_alert(
    relay: RelayProcess, flight: bytes
) -> None:
    unknown = flight.replace(b"photos", b"nobody").replace(b"PHOTOS", b"NOBODY")
    assert await answer(relay.https_port, unknown) == UNRECOGNIZED_NAME


@pytest.mark.parametrize("flight", hellos.NAMELESS.values(), ids=hellos.NAMELESS)
async def test_no_name_gets_an_alert_and_never_a_default(
    relay: RelayProcess, agent: FakeAgent, flight: bytes
) -> None:
    channel = await agent.park()
    assert await answer(relay.https_port, flight) == UNRECOGNIZED_NAME
    with pytest.raises(BlockingIOError):
        channel.sock.recv(1)


@pytest.mark.parametrize("flight", hellos.BROKEN.values(), ids=hellos.BROKEN)
async def test_a_broken_hello_is_closed_without_a_word(
    relay: RelayProcess, agent: FakeAgent, flight: bytes
) -> None:
    channel = await agent.park()
    assert await answer(relay.https_port, flight) == b""
    with pytest.raises(BlockingIOError):
        channel.sock.recv(1)


@pytest.mark.parametrize("said", hellos.STRANGERS.values(), ids=hellos.STRANGERS)
async def test_what_is_not_tls_is_closed_without_a_word(
    relay: RelayProcess, said: bytes
) -> None:
    assert await answer(relay.https_port, said) == b""


@pytest.mark.parametrize("flight", hellos.HELLOS.values(), ids=hellos.HELLOS)
async def test_a_hello_reaches_its_home_byte_for_byte(
    relay: RelayProcess, agent: FakeAgent, flight: bytes
) -> None:
    channel = await agent.park()
    visitor = await dial(relay.https_port, flight)
    try:
        opening = await channel.opened()
        welcome = agent.welcome
        assert opening_is_authentic(
            opening, welcome.session_id, channel.serial, welcome.channel_key
        )
        port = visitor.getsockname()[1]
        # proxy-protocol.txt §2.2: IPv4, from the visitor to the relay.
        proxy = opening[OPENING_BYTES : -len(flight)]
        assert proxy[-12:-8] == socket.inet_aton("127.0.0.1")
        assert int.from_bytes(proxy[-4:-2], "big") == port
        assert opening.endswith(flight)
        channel.sock.send(b"a ServerHello")
        assert await read(visitor, 13) == b"a ServerHello"
    finally:
        visitor.close()


async def test_a_hello_byte_by_byte_reaches_its_home_too(
    relay: RelayProcess, agent: FakeAgent
) -> None:
    channel = await agent.park()
    flight = hellos.hello(NAME)
    visitor = await dial(relay.https_port)
    visitor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        for byte in flight:
            visitor.send(bytes((byte,)))
            await asyncio.sleep(0.001)
        assert (await channel.opened()).endswith(flight)
        channel.sock.send(b"!")
        assert await read(visitor, 1) == b"!"
    finally:
        visitor.close()


@pytest.mark.parametrize("name", [NAME, "nobody.example.com"])
async def test_a_tls_alpn_validation_is_refused_whoever_owns_the_name(
    relay: RelayProcess, agent: FakeAgent, name: str
) -> None:
    channel = await agent.park()
    flight = hellos.hello(name, more=[hellos.alpn(b"acme-tls/1")])
    assert await answer(relay.https_port, flight) == NO_APPLICATION_PROTOCOL
    mixed = hellos.hello(name, more=[hellos.alpn(b"h2", b"acme-tls/1")])
    assert await answer(relay.https_port, mixed) == NO_APPLICATION_PROTOCOL
    with pytest.raises(BlockingIOError):
        channel.sock.recv(1)


async def test_a_visitor_without_a_channel_waits_and_is_then_told(
    relay: RelayProcess, agent: FakeAgent
) -> None:
    telling = asyncio.create_task(answer(relay.https_port, hellos.hello(NAME)))
    assert (await agent.need()).count == 1
    internal_error = bytes.fromhex("15 0303 0002 02 50")
    assert await telling == internal_error
    assert refused(relay, "no channel from home in time") >= 1


async def test_a_visitor_who_waits_gets_the_next_channel(
    relay: RelayProcess, agent: FakeAgent
) -> None:
    visitor = await dial(relay.https_port, hellos.hello(NAME))
    try:
        await agent.need()
        channel = await agent.park()
        assert (await channel.opened()).endswith(hellos.hello(NAME))
        channel.sock.send(b"!")
        assert await read(visitor, 1) == b"!"
    finally:
        visitor.close()


# --- too late, too little -------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\x16",
        hellos.hello(NAME)[:40],
        hellos.hello(NAME)[:-1],
        b"H",
        b"HGC1",
        write_preamble(b"s" * 16, 1, b"k" * 32)[:24],
        write_preamble(b"s" * 16, 1, b"k" * 32)[:-1],
        b"GET",
        b"HEAD",
    ],
    ids=lambda said: repr(said[:8]),
)
async def test_whoever_does_not_finish_in_time_is_closed(
    relay: RelayProcess, said: bytes
) -> None:
    assert await answer(relay.https_port, said) == b""


async def test_a_trickle_of_bytes_buys_no_time(relay: RelayProcess) -> None:
    flight = hellos.HELLOS["over many tiny records"]
    pieces = [flight[at : at + 1] for at in range(30)]
    before = refused(relay, "nothing said in time")
    assert await answer(relay.https_port, *pieces, pause_s=0.05) == b""
    assert refused(relay, "nothing said in time") == before + 1


async def test_whoever_leaves_early_costs_nothing(relay: RelayProcess) -> None:
    for said in (b"\x16", b"HGC1", b"GE", hellos.hello(NAME)[:20]):
        sock = await dial(relay.https_port, said)
        sock.shutdown(socket.SHUT_WR)
        assert await read(sock, 1) == b""
        sock.close()


# --- plain HTTP -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\nHost: photos.cottage.example.com\r\n\r\n",
        b"HEAD / HTTP/1.0\r\n\r\n",
        b"POST /v1/pair HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0",
    ],
    ids=lambda said: said[:12].decode(),
)
@pytest.mark.parametrize("split", [False, True], ids=["at once", "byte by byte"])
async def test_plain_http_is_told_to_use_https(
    relay: RelayProcess, said: bytes, split: bool
) -> None:
    pieces = [said[at : at + 1] for at in range(8)] if split else [said]
    got = await answer(relay.https_port, *pieces, pause_s=0.01 if split else 0.0)
    head, _, body = got.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert f"Content-Length: {len(body)}".encode() in head
    assert body.startswith(b"This port speaks HTTPS only.")


# --- bounds ---------------------------------------------------------------------------


async def test_one_address_has_so_many_connections_and_no_more() -> None:
    environment = {
        "HEARTHGATE_LIMITS__ARRIVALS_PER_ADDRESS_MAX": "5",
        "HEARTHGATE_LIMITS__HELLO_DEADLINE_S": "60",
    }
    with RelayProcess(environment=environment) as relay:
        port = relay.https_port
        inside = [await dial(port, b"\x16\x03\x01") for _ in range(5)]
        try:
            assert await answer(port, b"\x16\x03\x01") == b""
            cause = "more connections than allowed from one address"
            assert refused(relay, cause) >= 1
            assert relay.log.count(cause) == 1
            # Who need not wait is not in the way: others may share this address.
            assert await answer(port, hellos.hello(NAME)) == UNRECOGNIZED_NAME
            inside.pop().close()
            piece, rest = hellos.hello(NAME)[:3], hellos.hello(NAME)[3:]
            # The test's own timeout ends it.
            while await answer(port, piece, rest, pause_s=0.02) != UNRECOGNIZED_NAME:
                pass
        finally:
            for sock in inside:
                sock.close()


# --- port 80 --------------------------------------------------------------------------


def request(path: str, host: str | None, more: str = "") -> bytes:
    line = f"Host: {host}\r\n" if host else ""
    return f"GET {path} HTTP/1.1\r\n{line}{more}\r\n".encode()


@pytest.mark.parametrize("host", ["nobody.example.com", "127.0.0.1", "x", None, "a b"])
async def test_port_80_knows_no_other_host(
    relay: RelayProcess, agent: FakeAgent, host: str | None
) -> None:
    del agent  # which publishes another one
    got = await answer(relay.http_port, request("/", host))
    assert got[9:12] in (b"404", b"400")
    assert b"Location" not in got


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/a/b?c=d%20e", "/a/b?c=d%20e"),
        ("//evil.example/x", "//evil.example/x"),
        ("/.well-known/", "/.well-known/"),
    ],
)
async def test_port_80_sends_a_published_host_to_https(
    relay: RelayProcess, agent: FakeAgent, path: str, location: str
) -> None:
    del agent
    for host in (NAME, NAME.upper() + ".", NAME + ":80"):
        got = await answer(relay.http_port, request(path, host))
        assert got.startswith(b"HTTP/1.1 308 ")
        wanted = f"\r\nLocation: https://{NAME}:{relay.https_port}{location}\r\n"
        assert wanted.encode() in got


async def test_port_80_goes_by_the_host_of_an_absolute_request(
    relay: RelayProcess, agent: FakeAgent
) -> None:
    del agent
    got = await answer(relay.http_port, request("http://evil.example/x", NAME))
    assert got.startswith(b"HTTP/1.1 404 ")
    got = await answer(relay.http_port, request(f"http://{NAME}/x", "evil.example"))
    assert f"\r\nLocation: https://{NAME}:{relay.https_port}/\r\n".encode() in got


async def test_port_80_shows_an_acme_answer_as_long_as_its_home_wants(
    relay: RelayProcess, agent: FakeAgent
) -> None:
    challenge = "/.well-known/acme-challenge/"
    await agent.say(messages.Answer(7, NAME, "tok-en", "tok-en.thumb"))
    assert await agent.hear() == messages.Done(7)
    got = await answer(relay.http_port, request(challenge + "tok-en", NAME))
    assert got.startswith(b"HTTP/1.1 200 ")
    assert got.endswith(b"\r\n\r\ntok-en.thumb")
    assert b"nosniff" in got
    for path, host in (
        (challenge + "other", NAME),
        (challenge, NAME),
        (challenge + "tok-en/", NAME),
        (challenge + "tok-en", "music.cottage.example.com"),
    ):
        got = await answer(relay.http_port, request(path, host))
        assert got.startswith(b"HTTP/1.1 404 "), path
    await agent.say(messages.DropAnswer(8, NAME, "tok-en"))
    assert await agent.hear() == messages.Done(8)
    got = await answer(relay.http_port, request(challenge + "tok-en", NAME))
    assert got.startswith(b"HTTP/1.1 404 ")


async def test_port_80_answers_for_a_name_that_is_not_published_yet(
    relay: RelayProcess, agent: FakeAgent
) -> None:
    name = "new.cottage.example.com"
    await agent.say(messages.Answer(7, name, "t", "t.k"))
    assert await agent.hear() == messages.Done(7)
    path = "/.well-known/acme-challenge/t"
    got = await answer(relay.http_port, request(path, name))
    assert got.endswith(b"\r\n\r\nt.k")
    assert (await answer(relay.http_port, request("/", name)))[9:12] == b"404"


@pytest.mark.parametrize(
    "pieces",
    [
        [b""],
        [b"GET / HT"],
        [b"GET / HTTP/1.1\r\n"],
        [b"GET / HTTP/1.1\r\n", *[b"X: y\r\n"] * 10],
        [b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999\r\n\r\n", *[b"z"] * 10],
    ],
    ids=["nothing", "half a line", "half a head", "a slow head", "a slow body"],
)
async def test_port_80_closes_slow_senders(
    relay: RelayProcess, pieces: list[bytes]
) -> None:
    async with asyncio.timeout(12):
        await answer(relay.http_port, *pieces, pause_s=0.3)


@pytest.mark.parametrize(
    "said",
    [
        hellos.hello(NAME),
        b"\0" * 500,
        b"\xff\xfe" * 500 + b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        request("/", NAME, "X: " + "y" * 20_000 + "\r\n"),
        request("/", NAME, "X: y\r\n" * 20_000),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda said: repr(said[:30]),
)
async def test_port_80_survives_garbage(
    relay: RelayProcess, agent: FakeAgent, said: bytes
) -> None:
    del agent
    got = await answer(relay.http_port, said)
    assert got == b"" or got.startswith(b"HTTP/1.")
    assert b" 308 " not in got
    again = await answer(relay.http_port, request("/", NAME))
    assert again.startswith(b"HTTP/1.1 308 ")


# --- and afterwards -------------------------------------------------------------------


async def test_a_home_comes_and_goes_without_a_trace(tmp_path: Path) -> None:
    with RelayProcess(environment=QUICK) as relay:
        code = relay.invite("barn.example.com", "barn")
        async with joined(code, tmp_path) as agent:
            assert await agent.publish("a.barn.example.com") == messages.Published(
                1, {}
            )
            await agent.park()
            (home,) = relay.homes()
            assert home["connected"]
            assert home["hostnames"] == ["a.barn.example.com"]
            assert home["parked"] == 1
        while relay.homes()[0]["connected"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)  # the test's own timeout ends it
        assert relay.homes()[0]["parked"] == 0
