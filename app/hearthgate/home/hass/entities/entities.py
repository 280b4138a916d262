"""The home's services as entities of Home Assistant, by MQTT discovery.

    state ──▶ Entity (topic, discovery payload, state) ──▶ what has to be published
    command topic ──"ON" | "OFF"──▶ the id of a service and the wish

A switch per service that its owner lets Home Assistant switch, else a binary sensor
that tells whether it is on; a binary sensor per relay (connected) and per exposure (a
problem, as with its certificate); sensors for the visitors that are there, and for what
services received and sent. Unique ids are made of ids that never change. Pure
functions: `broker` carries the messages.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
import json
import re
from typing import Any

BASE = "hearthgate"
_SAFE = re.compile(r"[^a-zA-Z0-9_-]")

State = Mapping[str, Any]  # as GET /api/state answers it


@dataclass(frozen=True, slots=True)
class Counts:
    """What the edge has counted. Bytes begin at zero again now and then."""

    visitors: int  # who are there now
    received: Mapping[str, int]  # bytes from visitors, by id of a service
    sent: Mapping[str, int]  # bytes to visitors, likewise


@dataclass(frozen=True, slots=True)
class Entity:
    """One entity: where Home Assistant learns of it, and how it is now."""

    discovery_topic: str
    config: str  # JSON
    state_topic: str
    state: str
    replaces: str = ""  # discovery topic of what the same thing is at other times


def availability_topic(home_id: str) -> str:
    """Return where "online" and the last will "offline" stand."""
    return f"{BASE}/{home_id}/availability"


def command_topics(home_id: str, state: State) -> set[str]:
    """Return the topics of all switches there are now."""
    return {
        _command_topic(home_id, service)
        for service in state["services"]
        if service["exposure"] is not None and _can_switch(service["exposure"])
    }


def _command_topic(home_id: str, service: State) -> str:
    return f"{BASE}/{home_id}/service/{service['id']}/set"


def _can_switch(exposure: State) -> bool:
    return bool(exposure["hass_may_switch"] and exposure["was_public"])


def read_command(home_id: str, topic: str, payload: bytes) -> tuple[str, bool] | None:
    """Return the service and the wish; None for what is no command of ours."""
    found = re.fullmatch(
        rf"{BASE}/{re.escape(home_id)}/service/([a-z0-9-]+)/set", topic
    )
    if found is None or payload not in (b"ON", b"OFF"):
        return None
    return found[1], payload == b"ON"


def entities(
    home_id: str, state: State, *, prefix: str, counts: Counts | None = None
) -> Iterator[Entity]:
    """Give all entities of a home. counts None: there is nothing to count them with."""
    maker = _Maker(home_id, prefix, str(state["home"]["version"]))
    for relay in state["relays"]:
        yield maker.relay(relay)
    for service in state["services"]:
        if service["exposure"] is not None:
            yield maker.public(service)
            yield maker.problem(service)
    if counts is not None:
        yield maker.visitors(counts.visitors)
        for service in state["services"]:
            if service["exposure"] is not None:
                yield maker.data(service, "received", counts.received)
                yield maker.data(service, "sent", counts.sent)


@dataclass(frozen=True, slots=True)
class _Maker:
    home_id: str
    prefix: str
    version: str

    def relay(self, relay: State) -> Entity:
        name = f"Relay {relay['host']}"
        return self._entity(
            ("binary_sensor", f"relay/{relay['id']}", name),
            "ON" if relay["state"] == "connected" else "OFF",
            device_class="connectivity",
            entity_category="diagnostic",
        )

    def public(self, service: State) -> Entity:
        """Return a switch; a binary sensor where Home Assistant may not switch."""
        topic = f"service/{service['id']}"
        state = "ON" if service["exposure"]["enabled"] else "OFF"
        name = str(service["name"])
        sensor = self._entity(("binary_sensor", topic, name), state, icon="mdi:web")
        switch = self._entity(
            ("switch", topic, name),
            state,
            command_topic=_command_topic(self.home_id, service),
            icon="mdi:web",
        )
        if not _can_switch(service["exposure"]):
            sensor, switch = switch, sensor
        return replace(switch, replaces=sensor.discovery_topic)

    def problem(self, service: State) -> Entity:
        failed = service["exposure"]["status"]["problem"] is not None
        return self._entity(
            (
                "binary_sensor",
                f"problem/{service['id']}",
                f"{service['name']} problem",
            ),
            "ON" if failed else "OFF",
            device_class="problem",
            entity_category="diagnostic",
        )

    def visitors(self, count: int) -> Entity:
        return self._entity(
            ("sensor", "visitors", "Visitors"),
            str(count),
            state_class="measurement",
            icon="mdi:account-arrow-right",
        )

    def data(self, service: State, way: str, counted: Mapping[str, int]) -> Entity:
        return self._entity(
            ("sensor", f"{way}/{service['id']}", f"{service['name']} {way}"),
            str(counted.get(service["id"], 0)),
            device_class="data_size",
            state_class="total_increasing",
            unit_of_measurement="B",
            entity_category="diagnostic",
        )

    def _entity(self, what: tuple[str, str, str], state: str, **more: object) -> Entity:
        kind, topic, name = what
        unique = _SAFE.sub("_", f"{BASE}_{self.home_id}_{topic}")
        config = {
            "name": name,
            "unique_id": unique,
            "state_topic": f"{BASE}/{self.home_id}/{topic}",
            "availability_topic": availability_topic(self.home_id),
            "device": {
                "identifiers": [f"{BASE}_{self.home_id}"],
                "name": "Hearthgate",
                "manufacturer": "Hearthgate",
                "sw_version": self.version,
            },
            **more,
        }
        return Entity(
            f"{self.prefix}/{kind}/{unique}/config",
            json.dumps(config, ensure_ascii=False),
            f"{BASE}/{self.home_id}/{topic}",
            state,
        )
