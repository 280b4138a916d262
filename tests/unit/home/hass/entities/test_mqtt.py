"""What a broker may do to us: brokers of a few lines that keep no rule."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
import contextlib
import logging

import aiomqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode
import pytest

from hearthgate.home.hass.client.payloads import Broker
from hearthgate.home.hass.entities.mqtt import (
    PACKET_MAX_BYTES,
    TOPICS_MAX,
    Connection,
    Identity,
)

CONNECT, PUBLISH, SUBSCRIBE = 1, 3, 8
LEVEL_5 = 5
TAKEN_OVER = 0x8E
DEADLINE_S = 30.0

Serve = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Script:
    """Answer as a broker of one version does, then do what a test wants."""

    def __init__(self, *, knows_5: bool = True) -> None:
        self.knows_5 = knows_5
        self.levels: list[int] = []
        self.packets: list[tuple[int, bytes]] = []
        self.after_connect: bytes = b""
        self.after_subscribe: bytes = b""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Broker]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            yield Broker("127.0.0.1", port, None, None, tls=False)
            server.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind, body = await read_packet(reader)
                self.packets.append((kind, body))
                writer.write(self._answer(kind, body))
                if kind == CONNECT and not self._takes(body):
                    break
                await writer.drain()
        writer.close()

    def _takes(self, body: bytes) -> bool:
        return self.knows_5 or body[6] != LEVEL_5

    def _answer(self, kind: int, body: bytes) -> bytes:
        if kind == CONNECT:
            self.levels.append(body[6])
            if not self._takes(body):
                return b"\x20\x02\x00\x01"  # MQTT 3.1.1 §3.2.2.3
            is_5 = body[6] == LEVEL_5
            answer = b"\x20\x03\x00\x00\x00" if is_5 else b"\x20\x02\x00\x00"
            return answer + self.after_connect
        if kind == SUBSCRIBE:
            is_5 = self.levels[-1] == LEVEL_5
            granted = body[:2] + (b"\x00" if is_5 else b"") + b"\x01"
            return bytes([0x90, len(granted)]) + granted + self.after_subscribe
        if kind == PUBLISH:
            size = int.from_bytes(body[:2], "big")
            return b"\x40\x02" + body[2 + size : 4 + size]
        return b""


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    first = (await reader.readexactly(1))[0]
    size = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        size |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            return first >> 4, await reader.readexactly(size)


def published(topic: str, payload: bytes, *, retain: bool = False) -> bytes:
    """Return a message of MQTT 3.1.1 that asks for no answer."""
    name = topic.encode()
    body = len(name).to_bytes(2, "big") + name + payload
    size = len(body)
    length = bytes([size]) if size < 128 else bytes([size & 0x7F | 0x80, size >> 7])
    return bytes([0x30 | retain]) + length + body


async def connected(broker: Broker, identity: Identity) -> Connection:
    """Connect as `Entities` does: once more where the version is too new."""
    try:
        return await Connection(broker, identity).__aenter__()
    except aiomqtt.MqttError as err:
        if not identity.failed(err):
            raise
    return await Connection(broker, identity).__aenter__()


async def test_a_broker_of_2014_is_spoken_to_in_its_own_version() -> None:
    script, identity = Script(knows_5=False), Identity()
    async with script.running() as broker, asyncio.timeout(DEADLINE_S):
        client = await connected(broker, identity)
        assert script.levels == [5, 4]
        await client.__aexit__(None, None, None)
        client = await connected(broker, identity)
        await client.__aexit__(None, None, None)
    assert script.levels == [5, 4, 4]


async def test_what_is_retained_is_taken_away_where_a_broker_would_send_it() -> None:
    """MQTT 3.1.1 has no way to subscribe without it."""
    script, identity = Script(knows_5=False), Identity()
    script.after_subscribe = published("a/set", b"OFF", retain=True)
    script.after_subscribe += published("b/set", b"ON")
    async with script.running() as broker, asyncio.timeout(DEADLINE_S):
        client = await connected(broker, identity)
        await client.hear({"a/set"})
        message = await anext(client.messages)
        assert str(message.topic) == "b/set"
        await client.__aexit__(None, None, None)
    kinds = [kind for kind, _ in script.packets]
    assert kinds.index(PUBLISH) < kinds.index(SUBSCRIBE)
    (emptied,) = [body for kind, body in script.packets if kind == PUBLISH]
    assert emptied[:-2] == b"\x00\x05a/set"


@pytest.mark.parametrize("knows_5", [True, False])
async def test_a_packet_that_is_too_large_ends_the_connection_before_it_is_read(
    knows_5: bool,
) -> None:
    script, identity = Script(knows_5=knows_5), Identity()
    script.after_subscribe = b"\x30\xff\xff\xff\x7f" + b"x" * 1000
    async with script.running() as broker, asyncio.timeout(DEADLINE_S):
        client = await connected(broker, identity)
        await client.hear({"a/set"})
        with pytest.raises(aiomqtt.MqttError) as ended:
            await anext(client.messages)
        reason = client.reason(ended.value)
        assert "268435455 bytes" in str(reason)
        assert str(PACKET_MAX_BYTES) in str(reason)
        assert not identity.failed(reason)


async def test_a_broker_that_keeps_the_rules_is_told_what_we_take() -> None:
    script = Script()
    async with script.running() as broker, asyncio.timeout(DEADLINE_S):
        client = await connected(broker, Identity())
        await client.__aexit__(None, None, None)
    maximum = b"\x27" + PACKET_MAX_BYTES.to_bytes(4, "big")  # MQTT 5 §3.1.2.11.4
    assert maximum in script.packets[0][1]


async def test_of_a_flood_the_last_message_of_each_topic_is_kept(
    caplog: pytest.LogCaptureFixture,
) -> None:
    script, identity = Script(knows_5=False), Identity()
    flood = [published("a/set", b"OFF") for _ in range(2000)]
    others = [published(f"{n}/set", b"ON") for n in range(2 * TOPICS_MAX)]
    script.after_subscribe = b"".join([*flood, published("a/set", b"ON"), *others])
    with caplog.at_level(logging.INFO):
        async with script.running() as broker, asyncio.timeout(DEADLINE_S):
            client = await connected(broker, identity)
            await client.hear({"a/set"})
            while client._queue.qsize() < TOPICS_MAX:  # noqa: ASYNC110  no event
                await asyncio.sleep(0.001)
            message = await anext(client.messages)
            assert (str(message.topic), message.payload) == ("a/set", b"ON")
            assert client._queue.qsize() <= TOPICS_MAX
            await client.__aexit__(None, None, None)
    assert caplog.records == []


def test_a_name_is_hard_to_guess_and_another_one_once_it_is_known() -> None:
    identity = Identity()
    first = identity.client_id
    assert len(first) == 23
    assert first != Identity().client_id
    known = ReasonCode(PacketTypes.DISCONNECT, identifier=TAKEN_OVER)
    assert not identity.failed(aiomqtt.MqttCodeError(known))
    assert identity.client_id != first


def test_a_network_that_went_silently_leaves_our_name() -> None:
    """Only that name ends the connection which the broker still believes in."""
    identity = Identity()
    first = identity.client_id
    silent = ReasonCode(PacketTypes.DISCONNECT, "Keep alive timeout")
    assert not identity.failed(aiomqtt.MqttCodeError(silent))
    assert identity.client_id == first
