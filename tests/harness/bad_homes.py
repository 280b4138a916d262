"""What a home that was paired can do to its relay, out of malice or by a bug.

    bad home ──control connection, channels──▶ relay ◀── a healthy home

Each is one round and leaves nothing open. Pairs and speaks like an agent made by hand.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
import contextlib
import secrets

from aiohttp import ClientError

from hearthgate.wire import messages
from hearthgate.wire.constants import CONTROL_NAME, CONTROL_PATH
from hearthgate.wire.messages import Goodbye
from tests.harness import attacks
from tests.support import hellos
from tests.support.fake_agent import FakeAgent

BadHome = Callable[[FakeAgent, str], Awaitable[Goodbye | None]]
_FLOOD = 2_000
_PARKED = 1_000
_WAITING = 1_200
_ADDRESSES = [f"127.0.1.{number}" for number in range(1, 9)]


async def floods_messages(agent: FakeAgent, domain: str) -> Goodbye | None:
    """Publish without end; return the relay's goodbye if it was heard."""
    last = None
    try:
        with contextlib.suppress(ClientError):  # it comes back too often
            await agent.dial()
            with contextlib.suppress(ConnectionError, ClientError):
                await agent.say(messages.Hello((1,), "a test"))
                for number in range(_FLOOD):
                    await agent.say(messages.Publish(number, (f"a.{domain}",)))
            last = await agent.ended()
    finally:
        await agent.close()
    return last if isinstance(last, Goodbye) else None


async def parks_thousands(agent: FakeAgent, domain: str) -> Goodbye | None:
    """Dial many more channels than it may have."""
    del domain
    try:
        await agent.connect()
        for _ in range(_PARKED):
            await agent.park()
    finally:
        await agent.close()
    return None


async def never_answers(agent: FakeAgent, domain: str) -> Goodbye | None:
    """Publish a name, let its visitors come, and give them no channel."""
    try:
        await agent.connect()
        await agent.publish(f"a.{domain}")
        said = hellos.hello(f"a.{domain}")
        async with attacks.many(agent.joined.port, _WAITING, said, _ADDRESSES):
            await asyncio.sleep(1)
    finally:
        await agent.close()
    return None


async def moves_about(agent: FakeAgent, domain: str) -> Goodbye | None:
    """Come back again and again, as a home does whose address changes."""
    for _ in range(20):
        before = FakeAgent(agent.joined, agent.folder)
        try:
            await before.connect()
            await before.publish(f"a.{domain}")
            await agent.connect()
            await agent.publish(f"a.{domain}")
        finally:
            await before.close()
            await agent.close()
    return None


# --- frames that no library of ours would send ----------------------------------------

EMPTY_CONTINUATION = b"\x00\x80" + bytes(4)  # RFC 6455 §5.2: masked, with no payload
EMPTY_PING = b"\x89\x80" + bytes(4)
BEGUN_MESSAGE = b"\x01\x80" + bytes(4)  # text, and more to come


@contextlib.asynccontextmanager
async def raw_websocket(
    agent: FakeAgent, path: str = CONTROL_PATH
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Upgrade a connection of a home by hand; what follows are bare frames."""
    reader, writer = await asyncio.open_connection(
        attacks.LOOPBACK,
        agent.joined.port,
        ssl=agent.identity.context(),
        server_hostname=CONTROL_NAME,
    )
    try:
        writer.write(
            f"GET {path} HTTP/1.1\r\nHost: {CONTROL_NAME}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\n")
        yield reader, writer
    finally:
        writer.transport.abort()


def text_frame(text: str) -> bytes:
    """Return a message as one masked frame."""
    data = text.encode()
    if len(data) < 126:  # RFC 6455 §5.2
        return bytes([0x81, 0x80 | len(data)]) + bytes(4) + data
    return b"\x81\xfe" + len(data).to_bytes(2) + bytes(4) + data


HELLO = text_frame(messages.write_message(messages.Hello((1,), "a test")))


async def _floods_frames(
    agent: FakeAgent, frames: bytes, *, first: bytes = b"", times: int = 20_000
) -> None:
    """Begin a session and send frames until the relay has had enough."""
    with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
        async with raw_websocket(agent) as (reader, writer):
            writer.write(HELLO)
            await reader.readexactly(1)
            writer.write(first)
            for _ in range(times):
                if writer.transport.is_closing() or reader.at_eof():
                    break
                writer.write(frames)
                await writer.drain()
                await asyncio.sleep(0)
            while await reader.read(1 << 16):
                pass


async def continues_for_ever(agent: FakeAgent, domain: str) -> Goodbye | None:
    """Begin a message and go on with nothing, without end."""
    del domain
    await _floods_frames(agent, EMPTY_CONTINUATION * 10_000, first=BEGUN_MESSAGE)
    return None


async def pings_for_ever(agent: FakeAgent, domain: str) -> Goodbye | None:
    """Ask for signs of life, without end."""
    del domain
    await _floods_frames(agent, EMPTY_PING * 10_000)
    return None


async def publishes_thousands(agent: FakeAgent, domain: str) -> Goodbye | None:
    """Publish a thousand names in each message, in fewer messages than allowed."""
    names = tuple(f"name-{number}.{domain}" for number in range(1000))
    frame = text_frame(messages.write_message(messages.Publish(1, names)))
    await _floods_frames(agent, frame, times=590)
    return None


async def is_always_another(agent: FakeAgent, domain: str) -> Goodbye | None:
    """Be a new machine in each of eight sessions."""
    del domain

    async def connect() -> None:
        with contextlib.suppress(ClientError, ConnectionError, TypeError):
            one = FakeAgent(agent.joined, agent.folder)
            try:
                await one.dial()
                machine = secrets.token_hex(4)
                claim = messages.Claim.INSISTS
                hello = messages.Hello((1,), "a test", machine=machine, claim=claim)
                await one.say(hello)
                await one.hear()
            finally:
                await one.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(connect(), name="another")
    return None


async def comes_back_at_once(agent: FakeAgent, domain: str) -> Goodbye | None:
    """Begin session after session, fifty at a time, and read nothing of any."""
    del domain

    async def connect() -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            async with raw_websocket(agent) as (reader, writer):
                writer.write(HELLO)
                await reader.readexactly(1)
                attacks.DIALLED[agent.joined.port] += 1
                await asyncio.sleep(1)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(50):
            tasks.create_task(connect(), name="session")
    return None


BAD_HOMES: dict[str, BadHome] = {
    one.__name__: one
    for one in (
        floods_messages,
        parks_thousands,
        never_answers,
        moves_about,
        continues_for_ever,
        pings_for_ever,
        publishes_thousands,
        is_always_another,
        comes_back_at_once,
    )
}
