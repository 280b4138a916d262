"""The home, as the page and the command line may use it.

    web ──wish──▶ Home ──▶ store (what is wanted) ──▶ Exposer, Tunnels, Services
    web ◀──event── Feed ◀── Home ◀── whatever has changed

Every wish is checked here, written to disk, and only then carried out. Holds no state
of its own beyond its parts.
"""

import asyncio
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
import re
import secrets
import time
import unicodedata

from hearthgate import __version__
from hearthgate.home.access import make_access
from hearthgate.home.errors import (
    ExposuresFullError,
    HostnameInUseError,
    NoHostnameError,
    NoRelayError,
    RelaysFullError,
    RelayUnknownError,
    ServiceNotManualError,
    ServicesFullError,
    ServiceUnknownError,
)
from hearthgate.home.exposer import Exposer
from hearthgate.home.grant import check_grant
from hearthgate.home.hass.errors import NoHomeAssistantError
from hearthgate.home.hass.hass import Hass
from hearthgate.home.home_store import HomeStore
from hearthgate.home.model import Access, Exposure, Origin, Service, Target
from hearthgate.home.services import Services
from hearthgate.home.settings import AcmeOptions
from hearthgate.home.state import HomeState, Membership
from hearthgate.home.state_file import EXPOSURES_MAX, RELAYS_MAX, SERVICES_MAX
from hearthgate.home.targets import read_target
from hearthgate.home.tunnel.pairing import pair, relay_id_of
from hearthgate.home.tunnel.tunnel import TunnelState, TunnelStatus
from hearthgate.home.tunnels import Tunnels
from hearthgate.home.views import (
    damage_view,
    exposure_view,
    relay_view,
    service_view,
)
from hearthgate.home.web.facade import AccessWish, ExposureWish, Json, Keep
from hearthgate.home.web.feed import Feed, Subscription
from hearthgate.wire.pairing import read_pairing_code

_LABEL_MAX = 40  # of a suggested name; a person has to type it
_HTTPS_PORT = 443


class Home:
    """The wishes of a user, carried out. Lives in one loop."""

    def __init__(
        self,
        store: HomeStore,
        services: Services,
        tunnels: Tunnels,
        exposer: Exposer,
        feed: Feed,
        *,
        acme: AcmeOptions,
        icons: Path,
        hass: Hass | None = None,
    ) -> None:
        self._store = store
        self._services = services
        self._tunnels = tunnels
        self._exposer = exposer
        self._feed = feed
        self._acme = acme
        self._icons = icons
        self._hass = hass
        self._pairing = asyncio.Lock()  # one at a time: each takes a place

    # --- what there is --------------------------------------------------------------

    def snapshot(self) -> Json:
        """Return all of the state, as GET /api/state answers it."""
        acme = {"directory": self._acme.directory_url, "staging": self._acme.staging}
        damage = damage_view(self._store.damage)
        return {
            "home": {"version": __version__, "acme": acme, "damage": damage},
            "relays": [self._relay(one) for one in self._store.value.relays],
            "services": [self._service(one) for one in self._services.all()],
            "hass": self._hass.view() if self._hass else None,
        }

    def subscribe(self) -> AbstractContextManager[Subscription]:
        """Give events from now on; see Feed."""
        return self._feed.subscribe()

    def icon(self, service_id: str) -> Path | None:
        """Return the file with a service's icon."""
        name = self._services.get(service_id).icon
        return None if name is None else self._icons / name

    def _relay(self, relay: Membership) -> Json:
        tunnel = self._tunnels.get(relay.id)
        status = tunnel.status if tunnel else TunnelStatus(TunnelState.CONNECTING, 0.0)
        return relay_view(
            relay,
            status,
            rtt_ms=tunnel.rtt_ms if tunnel else None,
            parked=tunnel.parked if tunnel else 0,
        )

    def _service(self, service: Service) -> Json:
        exposure = self._store.value.exposure(service.id)
        shown = None
        if exposure is not None:
            relay = self._store.value.relay(exposure.relay_id)
            port = relay.port if relay else _HTTPS_PORT
            shown = exposure_view(exposure, self._exposer.status(service.id), port)
        return service_view(
            service,
            shown,
            present=self._services.is_present(service.id),
            suggested_hostname=self._suggestion(service, None),
        )

    # --- what has changed ------------------------------------------------------------

    def service_changed(self, service_id: str) -> None:
        """Tell the pages of a service."""
        try:
            service = self._services.get(service_id)
        except ServiceUnknownError:
            return
        self._feed.publish({"type": "service", "service": self._service(service)})

    def service_gone(self, service_id: str) -> None:
        """Tell the pages that a service is not there any more."""
        self._feed.publish({"type": "service_removed", "id": service_id})

    def relay_changed(self, relay_id: str) -> None:
        """Tell the pages of a relay, and the exposures on it."""
        relay = self._store.value.relay(relay_id)
        if relay is not None:
            self._feed.publish({"type": "relay", "relay": self._relay(relay)})
        self._exposer.relay_changed(relay_id)

    # --- relays -----------------------------------------------------------------------

    async def pair(self, code: str) -> Json:
        """Join the relay that a pairing code names.

        Raises RelaysFullError, StateError and what `pair` raises. Looks for what could
        fail at home first, because the relay takes a code only once.
        """
        async with self._pairing:
            return await self._pair(code)

    async def _pair(self, code: str) -> Json:
        relays = self._store.value.relays
        relay_id = relay_id_of(read_pairing_code(code))
        if len(relays) >= RELAYS_MAX and self._store.value.relay(relay_id) is None:
            raise RelaysFullError(limit=RELAYS_MAX)
        await self._store.check_room()
        joined = await pair(code, self._tunnels.folder)
        relay = Membership(
            id=joined.id,
            name=joined.name,
            host=joined.host,
            port=joined.port,
            fingerprint=joined.fingerprint,
            home_id=joined.home_id,
            joined_at=int(time.time()),
        )
        await self._store.update(lambda state: state.with_relay(relay))
        await self._tunnels.start(relay, self._exposer.hostnames(relay.id))
        self.relay_changed(relay.id)
        return self._relay(relay)

    async def forget_relay(self, relay_id: str) -> None:
        """Leave a relay, which cuts what was public through it."""
        if self._store.value.relay(relay_id) is None:
            raise RelayUnknownError

        def forget(state: HomeState) -> HomeState:
            kept = state.without_relay(relay_id)
            for one in kept.exposures:
                if one.relay_id == relay_id:
                    kept = kept.with_exposure(replace(one, enabled=False))
            return kept

        before = self._store.value.exposures
        await self._store.update(forget)
        for exposure in before:
            if exposure.relay_id == relay_id and exposure.enabled:
                self._exposer.wish_changed(exposure.service_id)
        await self._tunnels.forget(relay_id)
        self._feed.publish({"type": "relay_removed", "id": relay_id})

    async def reconnect(self, relay_id: str) -> None:
        """Dial a relay now instead of waiting for the next try."""
        self._tunnels.named(relay_id).reconnect()

    # --- services ---------------------------------------------------------------------

    async def add_service(self, name: str, target: Target) -> Json:
        """Add a service by hand. Raises ServicesFullError."""
        service_id = f"{_label(name)[:40]}-{secrets.token_hex(3)}".strip("-")
        service = Service(service_id, name, Origin.MANUAL, target)

        def add(state: HomeState) -> HomeState:
            if len(state.services) >= SERVICES_MAX:
                raise ServicesFullError(limit=SERVICES_MAX)
            return state.with_service(service)

        await self._store.update(add)
        self._services.probe_soon(service_id)
        self.service_changed(service_id)
        return self._service(self._services.get(service_id))

    async def edit_service(
        self, service_id: str, *, name: str | None, target: Target | None
    ) -> Json:
        """Change a service that was added by hand; None keeps."""
        found = self._manual(service_id)
        changed = replace(found, name=name or found.name, target=target or found.target)

        def edit(state: HomeState) -> HomeState:
            exposure = state.exposure(service_id)
            if exposure is not None:
                state = state.with_exposure(
                    replace(exposure, name=changed.name, target=changed.target)
                )
            return state.with_service(changed)

        await self._store.update(edit)
        if target is not None:
            self._services.probe_soon(service_id)
            await self._exposer.moved(service_id)
        self.service_changed(service_id)
        return self._service(self._services.get(service_id))

    async def remove_service(self, service_id: str) -> None:
        """Remove a service that was added by hand, and its exposure."""
        self._manual(service_id)
        await self._store.update(lambda state: state.without_service(service_id))
        self._services.forget(service_id)
        self._exposer.wish_changed(service_id)
        self.service_gone(service_id)

    def _manual(self, service_id: str) -> Service:
        found = self._store.value.service(service_id)
        if found is None:
            raise ServiceNotManualError(name=self._services.get(service_id).name)
        return found

    async def service_moved(self, exposure: Exposure, target: Target) -> None:
        """Let an exposure follow its service to a new address."""
        moved = replace(exposure, target=target)
        await self._store.update(
            lambda state: (
                state.with_exposure(moved)
                if state.exposure(exposure.service_id) == exposure
                else state
            )
        )
        await self._exposer.moved(exposure.service_id)
        self.service_changed(exposure.service_id)

    # --- exposures --------------------------------------------------------------------

    async def set_exposure(self, service_id: str, wish: ExposureWish) -> Json:
        """Take a wish and return the service at once; the work goes on by itself.

        Raises ServiceUnknownError, NoRelayError, RelayUnknownError, NoHostnameError,
        HostnameNotGrantedError, HostnameInUseError, ExposuresFullError,
        InvalidTargetError, AccessError and StateError.
        """
        service = self._services.get(service_id)
        old = self._store.value.exposure(service_id)
        if old is None:
            read_target(service.target.url)  # discovery also shows what we can't store
        if old is None and not wish.enabled:
            return self._service(service)
        relay_id = self._relay_for(wish, old)
        hostname = wish.hostname or (old.hostname if old else None)
        hostname = hostname or self._suggestion(service, relay_id)
        if hostname is None:
            raise NoHostnameError
        if wish.enabled:
            self._check_hostname(hostname, relay_id)
        access = await _access(wish, old)
        exposure = Exposure(
            service_id=service_id,
            name=service.name,
            target=old.target if old else service.target,
            relay_id=relay_id,
            hostname=hostname,
            enabled=wish.enabled,
            access=access,
        )

        def put(state: HomeState) -> HomeState:
            if len(state.exposures) >= EXPOSURES_MAX and not state.exposure(service_id):
                raise ExposuresFullError(limit=EXPOSURES_MAX)
            for other in state.exposures:
                if other.hostname == hostname and other.service_id != service_id:
                    raise HostnameInUseError(hostname=hostname, name=other.name)
            return state.with_exposure(exposure)

        await self._store.update(put)
        self._exposer.wish_changed(service_id)
        self.service_changed(service_id)
        return self._service(self._services.get(service_id))

    async def retry(self, service_id: str) -> Json:
        """Try what failed again, now; return the service."""
        service = self._services.get(service_id)
        self._exposer.wish_changed(service_id)
        return self._service(service)

    # --- Home Assistant ---------------------------------------------------------------

    async def check_hass(self) -> Json:
        """Look whether Home Assistant accepts visitors. Raises NoHomeAssistantError."""
        return await self._the_hass().check()

    async def trust_hass(self, login_attempts: int | None) -> Json:
        """Let Home Assistant accept visitors, which restarts it; see Trust.apply."""
        return await self._the_hass().trust(login_attempts=login_attempts)

    async def use_public_url(self) -> Json:
        """Tell Home Assistant its public address. Raises NoPublicAddressError."""
        return await self._the_hass().use_public_url()

    def _the_hass(self) -> Hass:
        if self._hass is None:
            raise NoHomeAssistantError
        return self._hass

    def _relay_for(self, wish: ExposureWish, old: Exposure | None) -> str:
        state = self._store.value
        if wish.relay_id is not None:
            if state.relay(wish.relay_id) is None:
                raise RelayUnknownError
            return wish.relay_id
        if old is not None and (state.relay(old.relay_id) or not wish.enabled):
            return old.relay_id
        if not state.relays:
            raise NoRelayError
        return state.relays[0].id

    def _check_hostname(self, hostname: str, relay_id: str) -> None:
        """Refuse what the relay would refuse, as far as it has said."""
        domains = self._domains(relay_id)
        if domains:
            check_grant(hostname, domains)

    def _domains(self, relay_id: str) -> tuple[str, ...]:
        tunnel = self._tunnels.get(relay_id)
        return tunnel.status.domains if tunnel else ()

    def _suggestion(self, service: Service, relay_id: str | None) -> str | None:
        """Return a free hostname that a service could have; None if no relay says."""
        relays = [one.id for one in self._store.value.relays]
        domains = [self._domains(one) for one in ([relay_id] if relay_id else relays)]
        first = next((one[0] for one in domains if one), None)
        if first is None:
            return None
        taken = {
            one.hostname
            for one in self._store.value.exposures
            if one.service_id != service.id
        }
        label = _label(service.name) or "service"
        names = (f"{label}{number or ''}.{first}" for number in (0, *range(2, 1000)))
        return next((name for name in names if name not in taken), None)


async def _access(wish: ExposureWish, old: Exposure | None) -> Access | None:
    match wish.access:
        case Keep.KEEP:
            return old.access if old else None
        case AccessWish(username, password):
            return await asyncio.to_thread(make_access, username, str(password))
        case _:
            return None


def _label(name: str) -> str:
    """Return a name as one DNS label: what a person would type for it."""
    for german, plain in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        name = name.lower().replace(german, plain)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_LABEL_MAX].strip("-")
