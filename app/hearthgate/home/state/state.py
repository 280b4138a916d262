"""What a home remembers: its relays, the services added by hand, its exposures.

    state.yaml ──state_file──▶ HomeState (frozen) ──HomeStore.update──▶ a new HomeState

Keys and certificates are files of their own (`relays/<id>/…`), never in here, and what
discovery sees is never stored. Values only: `state_file` checks them, `current_state`
owns the current one.
"""

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from hearthgate.home.model import Exposure, Service


@dataclass(frozen=True, slots=True)
class Membership:
    """The place of this home at one relay."""

    id: str  # ours; names the folder with the keys
    name: str  # of the home, as the relay knows it
    host: str
    port: int
    fingerprint: str  # SHA-256 of the relay's key, hex, lower case: pinned at pairing
    home_id: str  # the relay's
    joined_at: int  # Unix time


class _HasId(Protocol):
    @property
    def id(self) -> str: ...


K = TypeVar("K", bound=_HasId)


@dataclass(frozen=True, slots=True)
class HomeState:
    """All that survives a restart. The methods return a changed copy."""

    relays: tuple[Membership, ...] = ()
    services: tuple[Service, ...] = ()  # added by hand only
    exposures: tuple[Exposure, ...] = ()  # at most one for each service

    def relay(self, relay_id: str) -> Membership | None:
        """Return the membership with this id."""
        return next((one for one in self.relays if one.id == relay_id), None)

    def service(self, service_id: str) -> Service | None:
        """Return the service with this id, if it was added by hand."""
        return next((one for one in self.services if one.id == service_id), None)

    def exposure(self, service_id: str) -> Exposure | None:
        """Return what the user wants of this service."""
        found = (one for one in self.exposures if one.service_id == service_id)
        return next(found, None)

    @property
    def forwards(self) -> tuple[Exposure, ...]:
        """Return the exposures by a public port."""
        return tuple(one for one in self.exposures if one.public_port)

    @property
    def sites(self) -> tuple[Exposure, ...]:
        """Return the exposures by a hostname."""
        return tuple(one for one in self.exposures if not one.public_port)

    def with_relay(self, relay: Membership) -> "HomeState":
        """Add a relay, or replace the one with the same id."""
        return replace(self, relays=_put(self.relays, relay))

    def without_relay(self, relay_id: str) -> "HomeState":
        """Drop a relay; exposures keep its id, which pairing again brings back.

        One that is still on waits for that; whoever forgets a relay on purpose switches
        its exposures off.
        """
        kept = tuple(one for one in self.relays if one.id != relay_id)
        return replace(self, relays=kept)

    def with_service(self, service: Service) -> "HomeState":
        """Add a service, or replace the one with the same id."""
        return replace(self, services=_put(self.services, service))

    def without_service(self, service_id: str) -> "HomeState":
        """Drop a service and its exposure."""
        kept = tuple(one for one in self.services if one.id != service_id)
        return replace(self.without_exposure(service_id), services=kept)

    def with_exposure(self, exposure: Exposure) -> "HomeState":
        """Add an exposure, or replace the one of the same service."""
        found = [one.service_id for one in self.exposures]
        if exposure.service_id not in found:
            return replace(self, exposures=(*self.exposures, exposure))
        place = found.index(exposure.service_id)
        before, after = self.exposures[:place], self.exposures[place + 1 :]
        return replace(self, exposures=(*before, exposure, *after))

    def without_exposure(self, service_id: str) -> "HomeState":
        """Drop what was wanted of a service."""
        kept = tuple(one for one in self.exposures if one.service_id != service_id)
        return replace(self, exposures=kept)


def _put(items: tuple[K, ...], item: K) -> tuple[K, ...]:
    if all(one.id != item.id for one in items):
        return (*items, item)
    return tuple(item if one.id == item.id else one for one in items)
