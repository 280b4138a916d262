"""Carry the entities to an MQTT broker and its commands back, if there is one.

    feed ──any event──▶ entities ──what has changed──▶ broker (retained)
    edge ──now and then──┘
    broker ──…/set──▶ set_exposure         last will: "offline"

Without a broker it looks for one now and then, and nothing else is missing.
"""

import asyncio
from collections.abc import Awaitable, Callable
import contextlib
import logging
from pathlib import Path
import re
import secrets
import ssl

import aiomqtt

from hearthgate.errors import HearthgateError
from hearthgate.files import write_private
from hearthgate.home.hass.entities import (
    Counts,
    availability_topic,
    command_filter,
    entities,
    read_command,
)
from hearthgate.home.hass.payloads import Broker
from hearthgate.home.web.facade import ExposureWish, HomeApi

_LOGGER = logging.getLogger(__name__)

_LOOK_AGAIN_S = 60.0
_DEADLINE_S = 20.0
_SETTLE_S = 0.5  # several events in a row become one round
# Home Assistant stores every change of a sensor for ever; half a minute is enough for
# an automation, and a visitor who comes and goes within it is no state of a house.
_COUNT_EVERY_S = 30.0

_ID = re.compile(r"[0-9a-f]{8}")

FindBroker = Callable[[], Awaitable[Broker | None]]
Count = Callable[[], Awaitable[Counts]]


class Entities:
    """The entities of one home. Lives in one loop."""

    def __init__(
        self,
        home: HomeApi,
        home_id: str,
        find: FindBroker,
        *,
        prefix: str,
        count: Count,
        count_every_s: float = _COUNT_EVERY_S,
    ) -> None:
        """Ask `find` for the broker before each try; prefix is Home Assistant's."""
        self._home = home
        self._home_id = home_id
        self._find = find
        self._prefix = prefix
        self._count = count
        self._count_every_s = count_every_s

    async def run(self) -> None:
        """Keep the broker up to date until cancelled."""
        was_away = False
        while True:
            try:
                broker = await self._find()
                if broker is not None:
                    was_away = False
                    await self._serve(broker)
            except (aiomqtt.MqttError, OSError, HearthgateError) as err:
                if not was_away:
                    _LOGGER.warning("The MQTT broker does not answer: %s", err)
                was_away = True
            await asyncio.sleep(_LOOK_AGAIN_S)

    async def _serve(self, broker: Broker) -> None:
        topic = availability_topic(self._home_id)
        will = aiomqtt.Will(topic, b"offline", qos=1, retain=True)
        async with aiomqtt.Client(
            broker.host,
            broker.port,
            username=broker.username,
            password=None if broker.password is None else str(broker.password),
            identifier=f"hearthgate-{self._home_id}",
            tls_context=ssl.create_default_context() if broker.tls else None,
            will=will,
            timeout=_DEADLINE_S,
        ) as client:
            _LOGGER.info("Entities are at the broker %s:%d", broker.host, broker.port)
            await client.subscribe(command_filter(self._home_id), qos=1)
            try:
                async with asyncio.TaskGroup() as tasks:
                    tasks.create_task(self._obey(client), name="MQTT commands")
                    tasks.create_task(self._tell(client, topic), name="MQTT states")
            except* aiomqtt.MqttError as err:
                raise aiomqtt.MqttError(str(err.exceptions[0])) from err
            finally:  # a clean end sends no last will
                with contextlib.suppress(aiomqtt.MqttError):
                    await client.publish(topic, b"offline", qos=1, retain=True)

    async def _tell(self, client: aiomqtt.Client, availability: str) -> None:
        told: dict[str, str] = {}
        with self._home.subscribe() as events:
            while True:
                now = self._messages(await self._count())
                for topic in told.keys() - now.keys():
                    if topic.startswith(f"{self._prefix}/"):
                        await client.publish(topic, b"", qos=1, retain=True)
                for topic, payload in now.items():
                    if told.get(topic) != payload:
                        await client.publish(topic, payload, qos=1, retain=True)
                if not told:
                    await client.publish(availability, b"online", qos=1, retain=True)
                told = now or {"": ""}
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._count_every_s):
                        await events.get()
                    await asyncio.sleep(_SETTLE_S)
                while not events.empty():
                    events.get_nowait()

    def _messages(self, counts: Counts) -> dict[str, str]:
        found: dict[str, str] = {}
        state = self._home.snapshot()
        for one in entities(self._home_id, state, prefix=self._prefix, counts=counts):
            found[one.discovery_topic] = one.config
            found[one.state_topic] = one.state
        return found

    async def _obey(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload
            raw = payload if isinstance(payload, bytes) else b""
            command = read_command(self._home_id, str(message.topic), raw)
            if command is None:
                continue
            service_id, wanted = command
            try:
                await self._home.set_exposure(service_id, ExposureWish(enabled=wanted))
            except HearthgateError as err:
                _LOGGER.warning("%s: %s %s", service_id, err, err.advice)


def lasting_id(path: Path) -> str:
    """Return the id that this home's entities keep for ever. Blocking.

    It is part of a backup, so a restored home has the entities that it had.
    """
    try:
        found = path.read_text("ascii").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        found = ""
    if not _ID.fullmatch(found):
        found = secrets.token_hex(4)
        write_private(path, f"{found}\n".encode())
    return found
