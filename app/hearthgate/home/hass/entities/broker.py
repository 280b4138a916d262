"""Carry the entities to an MQTT broker and its commands back, if there is one.

    feed ──any event──▶ entities ──what has changed──▶ broker (retained)
    edge ──now and then──┘
    broker ──…/set──▶ Home.switch          last will: "offline"

Without a broker it looks for one now and then, and nothing else is missing. Anybody who
reaches the broker may say anything there, so a command only repeats what the owner has
decided on the page: `Home.switch` sees to that, and here only the topics of such
services are heard.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, suppress
import logging
from pathlib import Path
import time
from typing import Protocol

import aiomqtt

from hearthgate.errors import HearthgateError
from hearthgate.home.hass.client.payloads import Broker
from hearthgate.home.hass.entities.entities import (
    Counts,
    availability_topic,
    command_topics,
    entities,
    read_command,
)
from hearthgate.home.hass.entities.mqtt import Connection, Identity
from hearthgate.home.hass.errors import BrokerAwayError
from hearthgate.home.parts import first_of
from hearthgate.home.state.lasting_id import lasting_id
from hearthgate.home.web.live.feed import Subscription
from hearthgate.shared.process.periodic import OncePer

_LOGGER = logging.getLogger(__name__)

_LOOK_AGAIN_S = 60.0
_SETTLE_S = 0.5  # several events in a row become one round
# Home Assistant stores every change of a sensor for ever; half a minute is enough for
# an automation, and a visitor who comes and goes within it is no state of a house.
_COUNT_EVERY_S = 30.0
# Each command that changes something is written to disk. Ten in a second are more than
# an automation that switches everything off, and nothing to a disk.
_COMMAND_EVERY_S = 0.1
_SAY_EVERY_S = 3600.0
_ONLINE = b"online"
_OFFLINE = b"offline"

FindBroker = Callable[[], Awaitable[Broker | None]]
Count = Callable[[], Awaitable[Counts]]


class Switched(Protocol):
    """The home, as a broker may use it."""

    def snapshot(self) -> dict[str, object]:
        """Return all of the state, as GET /api/state answers it."""

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """Give events from now on; see Feed."""

    async def switch(self, service_id: str, *, enabled: bool) -> None:
        """Repeat a decision of the owner. Raises HearthgateError if there is none."""


class Entities:
    """The entities of one home. Lives in one loop."""

    def __init__(
        self,
        home: Switched,
        id_file: Path,
        find: FindBroker,
        *,
        prefix: str,
        count: Count,
        count_every_s: float = _COUNT_EVERY_S,
    ) -> None:
        """Ask `find` for the broker before each try; prefix is Home Assistant's.

        id_file: see `lasting_id`.
        """
        self._home = home
        self._home_id = ""
        self._id_file = id_file
        self._find = find
        self._prefix = prefix
        self._count = count
        self._count_every_s = count_every_s
        self._identity = Identity()
        self._told: dict[str, str] = {}
        self._heard: set[str] = set()
        self._say = OncePer(_SAY_EVERY_S, time.monotonic)

    async def run(self) -> None:
        """Keep the broker up to date until cancelled or until it is lost.

        Raises BrokerAwayError, and what `find` and `lasting_id` raise.
        """
        self._home_id = await asyncio.to_thread(lasting_id, self._id_file)
        while True:
            broker = await self._find()
            if broker is None:
                await asyncio.sleep(_LOOK_AGAIN_S)
                continue
            try:
                await self._serve(broker)
            except (aiomqtt.MqttError, OSError) as err:
                if not self._identity.failed(err):
                    raise BrokerAwayError(
                        host=broker.host, port=broker.port, reason=str(err)[:200]
                    ) from err

    async def _serve(self, broker: Broker) -> None:
        topic = availability_topic(self._home_id)
        will = aiomqtt.Will(topic, _OFFLINE, qos=1, retain=True)
        self._told = {}
        self._heard = set()
        async with Connection(broker, self._identity, will) as client:
            _LOGGER.info("Entities are at the broker %s:%d", broker.host, broker.port)
            await client.hear({topic}, wills=True)
            lost: Exception | None = None
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._obey(client), name="MQTT commands")
                    tasks.create_task(self._tell(client), name="MQTT states")
            except* aiomqtt.MqttError as group:
                # Raised here, it would be in a group with Python before 3.11.4.
                lost = first_of(group)
            finally:  # a clean end sends no last will
                with suppress(aiomqtt.MqttError):
                    await client.publish(topic, _OFFLINE, qos=1, retain=True)
            if lost is not None:
                raise client.reason(lost) from lost

    async def _tell(self, client: Connection) -> None:
        with self._home.subscribe() as events:
            while True:
                await self._tell_once(client)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._count_every_s):
                        await events.get()
                    await asyncio.sleep(_SETTLE_S)
                while not events.empty():
                    events.get_nowait()

    async def _tell_once(self, client: Connection) -> None:
        """Bring the broker up to date, and listen to the switches there are now."""
        counts = await self._count()
        state = self._home.snapshot()
        now = self._messages(state, counts)
        for topic in self._told.keys() - now.keys():
            if topic.startswith(f"{self._prefix}/"):
                await client.publish(topic, b"", qos=1, retain=True)
        for topic, payload in now.items():
            if self._told.get(topic) != payload:
                await client.publish(topic, payload, qos=1, retain=True)
        wanted = command_topics(self._home_id, state)
        await client.ignore(self._heard - wanted)
        await client.hear(wanted - self._heard)
        if not self._told:
            await self._be_online(client)
        self._told, self._heard = now, wanted

    async def _be_online(self, client: Connection) -> None:
        topic = availability_topic(self._home_id)
        await client.publish(topic, _ONLINE, qos=1, retain=True)

    def _messages(self, state: dict[str, object], counts: Counts) -> dict[str, str]:
        found: dict[str, str] = {}
        for one in entities(self._home_id, state, prefix=self._prefix, counts=counts):
            if one.replaces:
                found[one.replaces] = ""
            found[one.discovery_topic] = one.config
            found[one.state_topic] = one.state
        return found

    async def _obey(self, client: Connection) -> None:
        async for message in client.messages:
            topic, payload = str(message.topic), message.payload
            if topic != availability_topic(self._home_id):
                await self._switch(topic, payload)
            elif payload != _ONLINE:  # the last will of a connection that we lost
                await self._be_online(client)
            await asyncio.sleep(_COMMAND_EVERY_S)

    async def _switch(self, topic: str, payload: bytes) -> None:
        command = read_command(self._home_id, topic, payload)
        if command is None:
            if self._say.due("unknown"):
                _LOGGER.warning("The broker brings commands that are none")
            return
        service_id, wanted = command
        try:
            await self._home.switch(service_id, enabled=wanted)
        except HearthgateError as err:
            if self._say.due(f"{err.code} {service_id}"):
                _LOGGER.warning("%s: %s %s", service_id, err, err.advice)
