"""An MQTT connection on which a broker cannot make us large or busy.

    broker ──packet──▶ larger than 16 KiB? ─ yes ─▶ the connection ends
                            └─ no ─▶ retained? ─ yes ─▶ dropped
                                         └─ no ─▶ the last one of each topic ──▶ reader

MQTT 5 tells a broker these rules, and one that keeps them never sends such a thing;
they hold with any broker, also with one that only knows MQTT 3.1.1. Knows no topic.
"""

import asyncio
import logging
import secrets
import ssl
from typing import Final

import aiomqtt
from paho.mqtt.client import MQTT_CLEAN_START_FIRST_ONLY
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from hearthgate.home.hass.client.payloads import Broker

__all__ = ["PACKET_MAX_BYTES", "TOPICS_MAX", "Connection", "Identity"]

# A command is ON or OFF and a topic, an acknowledgement less. What a broker tells of
# itself at the beginning has no bound in the standard, and is some hundred bytes.
PACKET_MAX_BYTES: Final = 16 * 1024
# Messages of other topics than these wait for their reader; one for each service.
TOPICS_MAX: Final = 1024
_DEADLINE_S: Final = 20.0
# What a broker says that does not know MQTT 5, and what paho makes of it.
_UNSUPPORTED_VERSION: Final = 132
_KEEP_ALIVE: Final = 141  # also what paho calls it if nobody answers our ping

# Every failure reaches us as an error. What paho says of it besides, a stranger with a
# connection to the broker could have repeated without end.
_SILENT: Final = logging.getLogger(f"{__name__}.silent")
_SILENT.setLevel(logging.CRITICAL + 1)


class TooLargeError(ConnectionError):
    """Raise if a packet is larger than we said we take."""


class Identity:
    """Who we are to a broker, and in which version of MQTT.

    A client that says the name of another one puts it out, so ours cannot be guessed,
    and who found it out does so once.
    """

    def __init__(self) -> None:
        self.version = aiomqtt.ProtocolVersion.V5
        self.client_id = _client_id()

    def failed(self, err: Exception) -> bool:
        """Learn from a connection's end; tell whether to try again at once.

        If the network went away silently, the broker still has our connection: with
        the same name we end it. Its last will would come after our return otherwise.
        """
        code = err.rc if isinstance(err, aiomqtt.MqttCodeError) else None
        number = code.value if isinstance(code, ReasonCode) else code
        if number != _KEEP_ALIVE:
            self.client_id = _client_id()
        is_v5 = self.version is aiomqtt.ProtocolVersion.V5
        if is_v5 and number == _UNSUPPORTED_VERSION:
            self.version = aiomqtt.ProtocolVersion.V311
            return True
        return False


def _client_id() -> str:
    """Return a name of 23 characters, which every broker takes (MQTT-3.1.3-5)."""
    return f"hearthgate-{secrets.token_hex(6)}"


class _Latest(asyncio.Queue[aiomqtt.Message]):
    """The last message of each topic, without the retained ones.

    A retained message is what somebody said at some time, not now.
    """

    def _init(self, maxsize: int) -> None:
        del maxsize
        self._queue: dict[str, aiomqtt.Message] = {}

    def _put(self, item: aiomqtt.Message) -> None:
        self._queue[str(item.topic)] = item

    def _get(self) -> aiomqtt.Message:
        return self._queue.pop(next(iter(self._queue)))

    def put_nowait(self, item: aiomqtt.Message) -> None:
        """Put a message, or drop it."""
        is_full = len(self._queue) >= TOPICS_MAX and str(item.topic) not in self._queue
        if not item.retain and not is_full:
            super().put_nowait(item)


class Connection(aiomqtt.Client):
    """One connection to a broker; a context, as its parent is."""

    def __init__(
        self, broker: Broker, identity: Identity, will: aiomqtt.Will | None = None
    ) -> None:
        self.is_v5 = identity.version is aiomqtt.ProtocolVersion.V5
        properties = None
        if self.is_v5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.MaximumPacketSize = PACKET_MAX_BYTES
        super().__init__(
            broker.host,
            broker.port,
            username=broker.username,
            password=None if broker.password is None else str(broker.password),
            identifier=identity.client_id,
            protocol=identity.version,
            clean_session=None if self.is_v5 else True,
            properties=properties,
            # Each connection has a client of its own, so this one starts clean.
            clean_start=MQTT_CLEAN_START_FIRST_ONLY,
            queue_type=_Latest,
            tls_context=ssl.create_default_context() if broker.tls else None,
            will=will,
            timeout=_DEADLINE_S,
            logger=_SILENT,
        )
        self._too_large: TooLargeError | None = None
        self._bound_packets()

    def reason(self, err: Exception) -> Exception:
        """Return what has ended this connection, where `err` only says that it has."""
        if self._too_large is not None:
            return self._too_large
        cause = err.__cause__
        return cause if isinstance(cause, aiomqtt.MqttError) else err

    def _bound_packets(self) -> None:
        """Refuse a packet by its length, before there is memory for it.

        paho reads what a packet says it has, up to 256 MB, and has no setting for it.
        """
        receive = self._client._sock_recv  # noqa: SLF001  the only way, see above

        def bounded(size: int) -> bytes:
            if size > PACKET_MAX_BYTES:
                self._too_large = TooLargeError(
                    f"it sent {size} bytes at once, and {PACKET_MAX_BYTES} are the most"
                )
                raise self._too_large
            return receive(size)

        self._client._sock_recv = bounded  # type: ignore[assignment,method-assign]  # noqa: SLF001

    async def hear(self, topics: set[str], *, wills: bool = False) -> None:
        """Get what is published on these topics from now on, nothing that was before.

        wills: also what is published to be retained, as last wills are; a broker that
        knows MQTT 3.1.1 only does not tell the difference, while it is published.
        Raises aiomqtt.MqttError.
        """
        if not topics:
            return
        options = SubscribeOptions(
            qos=1,
            retainAsPublished=not wills,  # so that we can tell and drop it
            retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND,
        )
        if self.is_v5:
            await self.subscribe([(one, options) for one in sorted(topics)])
            return
        for one in topics:
            # What is retained would come, and again at every start.
            await self.publish(one, b"", qos=1, retain=True)
        await self.subscribe([(one, 1) for one in sorted(topics)])

    async def ignore(self, topics: set[str]) -> None:
        """Get nothing of these topics any more. Raises aiomqtt.MqttError."""
        if topics:
            await self.unsubscribe(sorted(topics))
