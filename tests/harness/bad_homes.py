"""What a home that was paired can do to its relay, out of malice or by a bug.

    bad home ──control connection, channels──▶ relay ◀── a healthy home

Each is one round and leaves nothing open. Pairs and speaks like an agent made by hand.
"""

import asyncio
from collections.abc import Awaitable, Callable
import contextlib

from aiohttp import ClientError

from hearthgate.wire import control as messages
from hearthgate.wire.control import Goodbye
from tests.harness import attacks
from tests.unit.relay.fake_agent import FakeAgent
from tests.unit.wire import hellos

BadHome = Callable[[FakeAgent, str], Awaitable[Goodbye | None]]
_FLOOD = 2_000
_PARKED = 1_000
_WAITING = 1_200
_ADDRESSES = [f"127.0.1.{number}" for number in range(1, 9)]


async def floods_messages(agent: FakeAgent, domain: str) -> Goodbye | None:
    """Publish without end; return the relay's goodbye if it was heard."""
    last = None
    try:
        await agent.connect()
        with contextlib.suppress(ConnectionError, ClientError):
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


BAD_HOMES: dict[str, BadHome] = {
    one.__name__: one
    for one in (floods_messages, parks_thousands, never_answers, moves_about)
}
