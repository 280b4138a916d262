"""What the Internet does to a public port, against a running relay on loopback.

Each attack is one round, from addresses of its own (127.0.0.0/8), and leaves nothing
open. The system tests run them beside a healthy home; `python -m tests.bench.attacks`
measures what its visitors notice. No pytest here.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
import contextlib
import itertools
import random
import socket
import struct

from hearthgate.wire.channel import write_preamble
from hearthgate.wire.constants import CONTROL_NAME
from tests.support import hellos

LOOPBACK = "127.0.0.1"
ATTACKER = "127.0.0.66"
_LINGER_RESET = struct.pack("ii", 1, 0)  # closing sends a reset
_DIALS_AT_ONCE = 200
_DEADLINE_S = 60.0
_ANSWER_S = 10.0

DIALLED: Counter[int] = Counter()  # by port: how hard an attack was

Attack = Callable[[int], Awaitable[None]]  # gets the port


async def dial(port: int, said: bytes = b"", source: str = ATTACKER) -> socket.socket:
    """Connect from an address and say something."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    try:
        sock.setblocking(False)
        # The port is found when the other end is known: thousands share an address.
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
        await loop.sock_connect(sock, (LOOPBACK, port))
        DIALLED[port] += 1
        if said:
            await loop.sock_sendall(sock, said)
    except BaseException:
        sock.close()
        raise
    return sock


@contextlib.asynccontextmanager
async def many(
    port: int, count: int, said: bytes, sources: Iterable[str] = (ATTACKER,)
) -> AsyncIterator[list[socket.socket]]:
    """Hold many connections that said something; those that were refused too."""
    gate = asyncio.Semaphore(_DIALS_AT_ONCE)
    held: list[socket.socket] = []
    every = list(sources)

    async def one(number: int) -> None:
        async with gate:
            with contextlib.suppress(OSError):
                held.append(await dial(port, said, every[number % len(every)]))

    try:
        async with asyncio.timeout(_DEADLINE_S), asyncio.TaskGroup() as tasks:
            for number in range(count):
                tasks.create_task(one(number), name="attack")
        yield held
    finally:
        for sock in held:
            sock.close()


async def _trickle(held: list[socket.socket], pieces: Iterable[bytes]) -> None:
    loop = asyncio.get_running_loop()
    for piece in pieces:
        for sock in held:
            with contextlib.suppress(OSError):
                await loop.sock_sendall(sock, piece)
        await asyncio.sleep(0.3)


async def slow_hellos(port: int, *, count: int = 400) -> None:
    """Send a hello byte by byte on many connections."""
    hello = hellos.openssl_hello("slow.example.com")
    async with many(port, count, hello[:5]) as held:
        await _trickle(held, [bytes([one]) for one in hello[5:25]])


async def slow_requests(port: int, *, count: int = 400) -> None:
    """Send an HTTP request byte by byte on many connections."""
    async with many(port, count, b"GET / HTTP/1.1\r\nX-Slow: ") as held:
        await _trickle(held, [b"a"] * 20)


async def dropped(port: int, *, count: int = 1000) -> None:
    """Open connections and drop them, with a word or without, with or without reset."""
    for start in range(0, count, _DIALS_AT_ONCE):
        size = min(_DIALS_AT_ONCE, count - start)
        said = b"\x16" if start // _DIALS_AT_ONCE % 2 else b""
        async with many(port, size, said) as held:
            for sock in held[::2]:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)


async def one_address(port: int, *, count: int = 2000) -> None:
    """Open more connections from one address than it may have."""
    async with many(port, count, b"\x16\x03"):
        await asyncio.sleep(0)


async def _at_full_speed(
    port: int, said: Iterable[bytes], *, is_answered: bool = False
) -> None:
    """Say each on a connection of its own, fifty at a time; perhaps wait for words."""
    loop = asyncio.get_running_loop()
    every = iter(said)

    async def some() -> None:
        for one in every:
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(_ANSWER_S):
                    sock = await dial(port, one)
                    with contextlib.closing(sock):
                        if is_answered:
                            await loop.sock_recv(sock, 100)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(some(), name="attack")


async def unknown_names(port: int, *, count: int = 1000) -> None:
    """Ask for names that nobody has published, as fast as it goes."""
    rng = random.Random(1)
    said = (
        hellos.hello(f"{rng.randrange(1 << 40):x}.home.example.com")
        for _ in range(count)
    )
    await _at_full_speed(port, said, is_answered=True)


async def begun_handshakes(port: int, *, count: int = 1000) -> None:
    """Begin the TLS handshake of a home and leave once the relay has done its part.

    Costs the relay a signature each, and whoever asks next to nothing.
    """
    hello = hellos.openssl_hello(CONTROL_NAME)
    await _at_full_speed(port, itertools.repeat(hello, count), is_answered=True)


@contextlib.asynccontextmanager
async def silent_newcomers(
    port: int, count: int = 2_600, sources: Iterable[str] = (ATTACKER,)
) -> AsyncIterator[None]:
    """Begin the handshake of a home many times, and say nothing more."""
    hello = hellos.openssl_hello(CONTROL_NAME)
    async with many(port, count, hello, sources):
        yield


async def stalled_handshakes(port: int) -> None:
    """Hold as many as the relay lets us, from one address."""
    async with silent_newcomers(port):
        await asyncio.sleep(1)


async def requests(port: int, *, count: int = 1000) -> None:
    """Ask port 80 for what is not there, as fast as it goes."""
    said = b"GET / HTTP/1.1\r\nHost: nobody.example.com\r\n\r\n"
    await _at_full_speed(port, itertools.repeat(said, count), is_answered=True)


# What scanners send: no more than the first bytes of many protocols.
PROBES = (
    b"\r\n\r\n",
    b"GET / HTTP/1.0\r\n\r\n",
    b"OPTIONS / RTSP/1.0\r\n\r\n",
    b"\x00" * 40,
    b"\x80\x9e\x01\x03\x01",  # a hello of SSL 2
    b"\x16\x03\x01\x00\x00",  # an empty record
    b"\x16\x03\x01\xff\xff" + b"\x01" * 200,
    b"\x16\x03\x00\x00\x69\x01\x00\x00\x65",
    b"SSH-2.0-scanner\r\n",
    b"EHLO scanner\r\n",
    b"\x03\x00\x00\x2a\x25\xe0\x00\x00\x00\x00\x00Cookie: mstshash=x\r\n",
    b"\x05\x01\x00",  # SOCKS 5
    b"*1\r\n$4\r\nPING\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"HGC",
    b"H",
    b"PROXY TCP4 203.0.113.9 203.0.113.5 1 443\r\n",
    b"\x0d\x0a\x0d\x0a\x00\x0d\x0aQUIT\x0a\x21\x11\x00\x0c",
)


async def port_scan(port: int, *, rounds: int = 20) -> None:
    """Say what scanners say, and random bytes."""
    rng = random.Random(2)
    await _at_full_speed(
        port,
        (
            said
            for _ in range(rounds)
            for said in (*PROBES, rng.randbytes(rng.randrange(1, 3000)))
        ),
    )


async def truncated_preambles(port: int, *, rounds: int = 5) -> None:
    """Send every beginning of a channel's preamble, and wait to be thrown out."""
    whole = write_preamble(b"s" * 16, 1, b"k" * 32)
    loop = asyncio.get_running_loop()
    for _ in range(rounds):
        async with contextlib.AsyncExitStack() as silent:
            for size in range(1, len(whole)):
                with contextlib.suppress(OSError):
                    sock = await dial(port, whole[:size])
                    silent.callback(sock.close)
            with contextlib.suppress(OSError):
                await loop.sock_recv(sock, 1)


async def guessed_tickets(port: int, *, count: int = 1000) -> None:
    """Park channels with sessions and keys that are guessed."""
    rng = random.Random(3)
    await _at_full_speed(
        port,
        (write_preamble(rng.randbytes(16), 1, rng.randbytes(32)) for _ in range(count)),
    )
