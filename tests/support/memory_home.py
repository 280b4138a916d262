"""A home in memory, for the tests of the web alone.

It keeps what it is told and does nothing: no relay, no certificate, no edge. The real
one is hearthgate.home.home; the tests in tests/system use that.
"""

from contextlib import AbstractContextManager
from pathlib import Path

from hearthgate.errors import HearthgateError
from hearthgate.home.hass.errors import NoHomeAssistantError
from hearthgate.home.model import Target
from hearthgate.home.web.api.facade import ExposureWish, Json
from hearthgate.home.web.live.feed import Feed, Subscription
from hearthgate.shared.storage.yaml_store import StateNotWritableError

PROBLEM = {
    "code": "dns",
    "message": "No address.",
    "hint": "Add one.",
    "retry_at": 9.5,
    "fields": {"hostname": "lamp.example.com"},
}


class NoSuchServiceError(HearthgateError):
    """Raise if a service is not there."""

    code = "no_such_service"
    message = "There is no service {id}."
    status = 404


def relay_json(relay_id: str = "cottage") -> Json:
    return {
        "id": relay_id,
        "name": relay_id,
        "host": "relay.example.com",
        "port": 443,
        "state": "connected",
        "since": 1.0,
        "rtt_ms": None,
        "parked": 4,
        "sealed": False,
        "domains": ["example.com"],
        "addresses": ["203.0.113.5"],
        "problem": None,
    }


def service_json(service_id: str, name: str, target: Target) -> Json:
    return {
        "id": service_id,
        "name": name,
        "origin": "manual",
        "kind": "web",
        "url": target.url,
        "scheme": target.scheme,
        "host": target.host,
        "port": target.port,
        "title": None,
        "icon": None,
        "reachable": None,
        "problem": None,
        "moved_from": None,
        "local_trust": None,
        "present": True,
        "exposure": None,
        "suggested_hostname": f"{service_id}.example.com",
    }


def exposure_json(wish: ExposureWish) -> Json:
    return {
        "enabled": wish.enabled,
        "hostname": wish.hostname or "lamp.example.com",
        "url": f"https://{wish.hostname or 'lamp.example.com'}/",
        "relay_id": wish.relay_id or "cottage",
        "access": None,
        "hass_may_switch": False,
        "was_public": True,
        "status": {
            "phase": "failed",
            "since": 2,
            "problem": PROBLEM,
            "certificate_expires": None,
        },
    }


class MemoryHome:
    """Keep services and relays in dictionaries."""

    def __init__(self) -> None:
        self.feed = Feed(max_events=8)
        self.relays: dict[str, Json] = {}
        self.services: dict[str, Json] = {}
        self.wishes: list[ExposureWish] = []
        self.codes: list[str] = []
        self.icons: dict[str, Path] = {}
        self.hass: Json | None = None
        self.fail_with: Exception | None = None
        self.damage: Json | None = None

    def snapshot(self) -> Json:
        return {
            "home": {
                "version": "0.1.0",
                "acme": {"directory": "https://ca.example/", "staging": False},
                "damage": self.damage,
                "problems": [PROBLEM],
                "mqtt": False,
            },
            "relays": list(self.relays.values()),
            "services": list(self.services.values()),
            "hass": self.hass,
        }

    def subscribe(self) -> AbstractContextManager[Subscription]:
        return self.feed.subscribe()

    async def pair(self, code: str) -> Json:
        self._maybe_fail()
        self.codes.append(code)
        self.relays["cottage"] = relay_json()
        return self.relays["cottage"]

    async def forget_relay(self, relay_id: str) -> None:
        if self.relays.pop(relay_id, None) is None:
            raise NoSuchServiceError(id=relay_id)

    async def reconnect(self, relay_id: str) -> None:
        if relay_id not in self.relays:
            raise NoSuchServiceError(id=relay_id)

    async def add_service(self, name: str, target: Target) -> Json:
        self._maybe_fail()
        service = service_json(f"s-{len(self.services) + 1}", name, target)
        self.services[str(service["id"])] = service
        self.feed.publish({"type": "service", "service": service})
        return service

    async def edit_service(
        self, service_id: str, *, name: str | None, target: Target | None
    ) -> Json:
        service = self._service(service_id)
        if name is not None:
            service["name"] = name
        if target is not None:
            service["url"] = target.url
        return service

    async def remove_service(self, service_id: str) -> None:
        self._service(service_id)
        del self.services[service_id]
        self.feed.publish({"type": "service_removed", "id": service_id})

    async def set_exposure(self, service_id: str, wish: ExposureWish) -> Json:
        self.wishes.append(wish)
        service = self._service(service_id)
        service["exposure"] = exposure_json(wish)
        return service

    async def retry(self, service_id: str) -> Json:
        return self._service(service_id)

    async def check_hass(self) -> Json:
        return self._hass()

    async def trust_hass(self, login_attempts: int | None) -> Json:
        self.login_attempts = login_attempts
        return self._hass()

    async def use_public_url(self) -> Json:
        return self._hass()

    def _hass(self) -> Json:
        self._maybe_fail()
        if self.hass is None:
            raise NoHomeAssistantError
        return self.hass

    def icon(self, service_id: str) -> Path | None:
        return self.icons.get(service_id)

    def _service(self, service_id: str) -> Json:
        if service_id not in self.services:
            raise NoSuchServiceError(id=service_id)
        return self.services[service_id]

    def _maybe_fail(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with


def hass_json() -> Json:
    return {
        "version": "2026.11.0",
        "trust": {
            "state": "refused",
            "proxy": "127.0.0.1",
            "by": "api",
            "changes": [
                {"name": "trusted_proxies", "before": "", "after": "127.0.0.1"}
            ],
            "yaml": None,
            "login_attempts": -1,
            "problem": PROBLEM,
        },
        "external_url": None,
        "public_url": "https://ha.example.com/",
    }


def disk_full() -> StateNotWritableError:
    return StateNotWritableError(path="/data/state.yaml", reason="No space left")
