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
    KindFixedError,
    NoHostnameError,
    NoPortError,
    NoProxyProtocolError,
    NoRelayError,
    PortInUseError,
    PortNotGrantedError,
    RelayForgottenError,
    RelaysFullError,
    RelayUnknownError,
    ServiceNotManualError,
    ServicesFullError,
    ServiceUnknownError,
    SwitchNotAllowedError,
)
from hearthgate.home.exposures.grant import check_grant, check_new
from hearthgate.home.exposures.port_forwards import Forwarder
from hearthgate.home.exposures.sites import Exposer
from hearthgate.home.hass.errors import NoHomeAssistantError
from hearthgate.home.hass.hass import Hass
from hearthgate.home.model import Access, Exposure, Origin, Service, Target
from hearthgate.home.parts import Parts
from hearthgate.home.services.services import Services
from hearthgate.home.settings import AcmeOptions
from hearthgate.home.state.current_state import HomeStore
from hearthgate.home.state.state import HomeState, Membership
from hearthgate.home.state.state_file import EXPOSURES_MAX, RELAYS_MAX, SERVICES_MAX
from hearthgate.home.state.targets import read_target
from hearthgate.home.tunnel.pairing import pair, relay_id_of
from hearthgate.home.tunnel.tunnel import TunnelState, TunnelStatus
from hearthgate.home.tunnel.tunnels import Tunnels
from hearthgate.home.web.api.facade import AccessWish, ExposureWish, Json, Keep
from hearthgate.home.web.live.feed import Feed, Subscription
from hearthgate.home.web.views import (
    damage_view,
    exposure_view,
    problem_view,
    relay_view,
    service_view,
)
from hearthgate.wire.pairing import read_pairing_code
from hearthgate.wire.ports import NO_PORTS, Protocol

_LABEL_MAX = 40  # of a suggested name; a person has to type it


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
        forwarder: Forwarder,
        acme: AcmeOptions,
        icons: Path,
        parts: Parts,
        has_mqtt: bool = False,
        hass: Hass | None = None,
    ) -> None:
        self._store = store
        self._services = services
        self._tunnels = tunnels
        self._exposer = exposer
        self._forwarder = forwarder
        self._feed = feed
        self._acme = acme
        self._icons = icons
        self._parts = parts
        self._has_mqtt = has_mqtt
        self._hass = hass
        self._pairing = asyncio.Lock()  # one at a time: each takes a place

    # --- what there is --------------------------------------------------------------

    def snapshot(self) -> Json:
        """Return all of the state, as GET /api/state answers it."""
        return {
            "home": self._view(),
            "relays": [self._relay(one) for one in self._store.value.relays],
            "services": [self._service(one) for one in self._services.all()],
            "hass": self._hass.view() if self._hass else None,
        }

    def _view(self) -> Json:
        return {
            "version": __version__,
            "acme": {
                "directory": self._acme.directory_url,
                "staging": self._acme.staging,
            },
            "damage": damage_view(self._store.damage),
            "problems": [problem_view(one) for one in self._parts.problems],
            "mqtt": self._has_mqtt,
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
            sealed=tunnel.seals if tunnel else False,
        )

    def _service(self, service: Service) -> Json:
        exposure = self._store.value.exposure(service.id)
        shown = None
        if exposure is not None:
            relay = self._store.value.relay(exposure.relay_id)
            status = self._keeper(service.target).status(service.id)
            shown = exposure_view(exposure, status, relay)
        return service_view(
            service,
            shown,
            present=self._services.is_present(service.id),
            suggested_hostname=self._suggestion(service, None),
            suggested_port=self._suggested_port(service, None),
        )

    def _keeper(self, target: Target) -> Exposer | Forwarder:
        """Return who brings the exposure of a service to where it is wanted."""
        return self._exposer if target.scheme.is_web else self._forwarder

    # --- what has changed ------------------------------------------------------------

    def changed(self) -> None:
        """Tell the pages of the home as a whole."""
        self._feed.publish({"type": "home", "home": self._view()})

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
        self._forwarder.relay_changed(relay_id)

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
        await self._tunnels.start(
            relay,
            self._exposer.hostnames(relay.id),
            self._forwarder.forwards(relay.id),
        )
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
                    off = replace(one, enabled=False, was_public=False)
                    kept = kept.with_exposure(off)
            return kept

        before = self._store.value.exposures
        await self._store.update(forget)
        for exposure in before:
            if exposure.relay_id == relay_id and exposure.enabled:
                self._keeper(exposure.target).wish_changed(exposure.service_id)
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
        if _kind(changed.target) != _kind(found.target):
            raise KindFixedError(name=found.name)

        def edit(state: HomeState) -> HomeState:
            exposure = state.exposure(service_id)
            if exposure is not None:
                edited = replace(exposure, name=changed.name, target=changed.target)
                state = state.with_exposure(edited.decided_after(exposure))
            return state.with_service(changed)

        await self._store.update(edit)
        if target is not None:
            self._services.probe_soon(service_id)
            await self._moved(service_id, target)
        self.service_changed(service_id)
        return self._service(self._services.get(service_id))

    async def remove_service(self, service_id: str) -> None:
        """Remove a service that was added by hand, and its exposure."""
        target = self._manual(service_id).target
        await self._store.update(lambda state: state.without_service(service_id))
        self._services.forget(service_id)
        self._keeper(target).wish_changed(service_id)
        self.service_gone(service_id)

    def _manual(self, service_id: str) -> Service:
        found = self._store.value.service(service_id)
        if found is None:
            raise ServiceNotManualError(name=self._services.get(service_id).name)
        return found

    async def service_moved(self, exposure: Exposure, target: Target) -> None:
        """Let an exposure follow its service to a new address.

        Nobody but the network has said so. What is off is not turned on at an address
        that its owner has not seen.
        """
        moved = replace(exposure, target=target).decided_after(exposure)
        await self._store.update(
            lambda state: (
                state.with_exposure(moved)
                if state.exposure(exposure.service_id) == exposure
                else state
            )
        )
        await self._moved(exposure.service_id, target)
        self.service_changed(exposure.service_id)

    async def _moved(self, service_id: str, target: Target) -> None:
        if target.scheme.is_web:
            await self._exposer.moved(service_id)
        else:
            self._forwarder.moved()

    # --- exposures --------------------------------------------------------------------

    async def set_exposure(self, service_id: str, wish: ExposureWish) -> Json:
        """Take a wish and return the service at once; the work goes on by itself.

        Raises ServiceUnknownError, NoRelayError, RelayUnknownError, NoHostnameError,
        HostnameNotGrantedError, HostnameInUseError, ExposuresFullError,
        InvalidTargetError, AccessError and StateError; for a forward NoPortError,
        PortNotGrantedError, PortInUseError and NoProxyProtocolError.
        """
        service = self._services.get(service_id)
        old = self._store.value.exposure(service_id)
        if old is None:
            read_target(service.target.url)  # discovery also shows what we can't store
        if old is None and not wish.enabled:
            return self._service(service)
        relay_id = self._relay_for(wish, old)
        if not service.target.scheme.is_web:
            return await self._set_forward(service, wish, old, relay_id)
        hostname = self._hostname_for(service, wish, old, relay_id)
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
            tells_visitor=_tells_visitor(wish, old),
            hass_may_switch=_hass_may_switch(wish, old),
            protocols=_protocols(wish, old),
        ).decided_after(old)

        def put(state: HomeState) -> HomeState:
            _check_room(state, service_id)
            for other in state.exposures:
                if other.hostname == hostname and other.service_id != service_id:
                    raise HostnameInUseError(hostname=hostname, name=other.name)
            return state.with_exposure(exposure)

        await self._store.update(put)
        if exposure.tells_visitor != (old.tells_visitor if old else False):
            self._services.probe_soon(service_id)  # it is looked at in another way
        self._exposer.wish_changed(service_id)
        self.service_changed(service_id)
        return self._service(self._services.get(service_id))

    async def _set_forward(
        self, service: Service, wish: ExposureWish, old: Exposure | None, relay_id: str
    ) -> Json:
        protocol = Protocol(service.target.scheme.value)
        port = wish.public_port or (old.public_port if old else 0)
        port = port or self._suggested_port(service, relay_id) or 0
        if not port:
            relay = self._store.value.relay(relay_id)
            raise NoPortError(
                protocol=protocol.upper(),
                flag=protocol,
                port=service.target.port,
                home=relay.name if relay else "HOME",
            )
        if wish.enabled:
            self._check_port(protocol, port, relay_id)
        tells = _tells_visitor(wish, old)
        if tells and protocol is Protocol.UDP:
            raise NoProxyProtocolError(name=service.name)
        exposure = Exposure(
            service_id=service.id,
            name=service.name,
            target=old.target if old else service.target,
            relay_id=relay_id,
            hostname="",
            enabled=wish.enabled,
            public_port=port,
            tells_visitor=tells,
            hass_may_switch=_hass_may_switch(wish, old),
        ).decided_after(old)

        def put(state: HomeState) -> HomeState:
            _check_room(state, service.id)
            for other in state.forwards:
                if other.service_id != service.id and _way(other) == _way(exposure):
                    raise PortInUseError(
                        protocol=protocol.upper(), port=port, name=other.name
                    )
            return state.with_exposure(exposure)

        await self._store.update(put)
        self._forwarder.wish_changed(service.id)
        self.service_changed(service.id)
        return self._service(self._services.get(service.id))

    async def switch(self, service_id: str, *, enabled: bool) -> None:
        """Repeat a decision of the owner, as a switch in Home Assistant asks for it.

        Changes nothing but on and off: who asks may be anybody who reaches a broker.
        Raises ServiceUnknownError, SwitchNotAllowedError and StateError.
        """
        name = self._services.get(service_id).name

        def flip(state: HomeState) -> HomeState:
            old = state.exposure(service_id)
            if old is None or not old.hass_can_switch:
                raise SwitchNotAllowedError(name=name)
            if enabled and state.relay(old.relay_id) is None:
                raise RelayForgottenError
            return state.with_exposure(replace(old, enabled=enabled))

        before = self._store.value.exposure(service_id)
        await self._store.update(flip)
        if before is None or before.enabled is enabled:
            return  # what works is not begun again because somebody says so twice
        self._keeper(before.target).wish_changed(service_id)
        self.service_changed(service_id)

    def _check_port(self, protocol: Protocol, port: int, relay_id: str) -> None:
        """Refuse what the relay would refuse, as far as it has said."""
        tunnel = self._tunnels.get(relay_id)
        if tunnel is None or tunnel.status.state is not TunnelState.CONNECTED:
            return
        ports = tunnel.status.ports
        if tunnel.status.can_forward and not ports.covers(protocol, port):
            raise PortNotGrantedError(
                protocol=protocol.upper(), port=port, allowed=str(ports) or "no port"
            )

    def _suggested_port(self, service: Service, relay_id: str | None) -> int | None:
        """Return a free port for a forward: its own at home, or the first granted."""
        if service.target.scheme.is_web:
            return None
        protocol = Protocol(service.target.scheme.value)
        relays = [one.id for one in self._store.value.relays]
        for one in [relay_id] if relay_id else relays:
            tunnel = self._tunnels.get(one)
            ports = tunnel.status.ports if tunnel else NO_PORTS
            taken = {
                other.public_port
                for other in self._store.value.forwards
                if other.relay_id == one and _kind(other.target) == protocol.value
            }
            own = service.target.port
            if ports.covers(protocol, own) and own not in taken:
                return own
            for each in ports.of(protocol):
                for port in range(each.first, each.last + 1):
                    if port not in taken:
                        return port
        return None

    async def retry(self, service_id: str) -> Json:
        """Try what failed again, now; return the service."""
        service = self._services.get(service_id)
        self._keeper(service.target).wish_changed(service_id)
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

    def _hostname_for(
        self, service: Service, wish: ExposureWish, old: Exposure | None, relay_id: str
    ) -> str:
        """Return what is wished for, what there is, or a suggestion.

        Raises NoHostnameError, HostnameInvalidError.
        """
        kept = old.hostname if old else None
        hostname = wish.hostname or kept or self._suggestion(service, relay_id)
        if hostname is None:
            raise NoHostnameError
        if hostname != kept:
            check_new(hostname, self._domains(relay_id))
        return hostname

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
        if not service.target.scheme.is_web:
            return None
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


def _tells_visitor(wish: ExposureWish, old: Exposure | None) -> bool:
    if wish.proxy_protocol is None:
        return old.tells_visitor if old else False
    return wish.proxy_protocol


def _protocols(wish: ExposureWish, old: Exposure | None) -> tuple[str, ...]:
    if wish.protocols is None:
        return old.protocols if old else ()
    return wish.protocols


def _hass_may_switch(wish: ExposureWish, old: Exposure | None) -> bool:
    if wish.hass_may_switch is None:
        return old.hass_may_switch if old else False
    return wish.hass_may_switch


def _check_room(state: HomeState, service_id: str) -> None:
    if len(state.exposures) >= EXPOSURES_MAX and not state.exposure(service_id):
        raise ExposuresFullError(limit=EXPOSURES_MAX)


def _kind(target: Target) -> str:
    return "web" if target.scheme.is_web else target.scheme.value


def _way(exposure: Exposure) -> tuple[str, str, int]:
    """Return what no two forwards may share."""
    return exposure.relay_id, _kind(exposure.target), exposure.public_port


def _label(name: str) -> str:
    """Return a name as one DNS label: what a person would type for it."""
    for german, plain in (("ä", "ae"), ("ö", "oe"), ("ü", "ue"), ("ß", "ss")):
        name = name.lower().replace(german, plain)
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "-", plain)[:_LABEL_MAX].strip("-")
