"""One agent: the parts of a home, put together, from the first file to the last.

WebServer ─▶ Home ─┬─▶ Services ◀── Discovery (mDNS)
                   ├─▶ Tunnels ──channel──▶ Edge (HAProxy)
                   └─▶ Exposer ─▶ Certificates (ACME), Edge, Tunnels

As an add-on of Home Assistant, `Hass` brings services and says who may open the page.
"""

import asyncio
import contextlib
from dataclasses import replace
import functools
import logging
from pathlib import Path
import random

from hearthgate.home.certificates import (
    AcmeSettings,
    Answers,
    Certificate,
    Certificates,
    ExternalAccount,
)
from hearthgate.home.discovery import Discovery, DiscoverySettings
from hearthgate.home.discovery.probe import Probe
from hearthgate.home.discovery.probe_tcp import probe_tcp
from hearthgate.home.edge import Edge, EdgeSettings
from hearthgate.home.edge.user import EdgeUser
from hearthgate.home.errors import ServiceUnknownError
from hearthgate.home.exposures.port_forwards import Forwarder, forward_of
from hearthgate.home.exposures.public_side import PublicSide
from hearthgate.home.exposures.self_check import dial, past_the_relay, visit
from hearthgate.home.exposures.sites import Exposer
from hearthgate.home.hass.client.payloads import Broker
from hearthgate.home.hass.entities.broker import Entities
from hearthgate.home.hass.entities.entities import Counts
from hearthgate.home.hass.hass import Hass
from hearthgate.home.hass.ingress import host_for_browser
from hearthgate.home.hass.notices.notifier import Notifier
from hearthgate.home.home import Home
from hearthgate.home.model import Exposure, Origin, Scheme, Service, Target
from hearthgate.home.parts import Parts, Start
from hearthgate.home.services.hass_sightings import HOME_ASSISTANT
from hearthgate.home.services.services import Services
from hearthgate.home.settings import HassOptions, HomeSettings
from hearthgate.home.state.current_state import HomeStore
from hearthgate.home.state.lasting_id import lasting_id
from hearthgate.home.state.state_file import home_state_store
from hearthgate.home.tunnel.errors import RelayAwayError
from hearthgate.home.tunnel.streams import TcpTarget
from hearthgate.home.tunnel.tunnel import TunnelStatus
from hearthgate.home.tunnel.tunnels import Tunnels
from hearthgate.home.web.errors import WebNotStartedError
from hearthgate.home.web.hosts import KnownHosts
from hearthgate.home.web.live.feed import Feed
from hearthgate.home.web.login.login import Login
from hearthgate.home.web.login.users import NoLogin
from hearthgate.home.web.server import WebServer
from hearthgate.home.web.views import Json
from hearthgate.shared.net.poller import Poller
from hearthgate.shared.process.log import PLAIN
from hearthgate.shared.process.process import allow_many_descriptors, stop_on_signals
from hearthgate.shared.storage.folders import data_folder, private_folder
from hearthgate.shared.storage.private_files import StateError
from hearthgate.shared.storage.yaml_store import lock_folder

_LOGGER = logging.getLogger(__name__)

SOCKET_NAME = "agent.sock"
MACHINE_NAME = "machine"
_HASS = "The way to Home Assistant"
_PAGE_RETRY_S = 10.0  # while another process holds the port that ingress expects


class Agent:
    """A running agent. Make it, `run` it once, in a loop of its own."""

    def __init__(self, settings: HomeSettings) -> None:
        """Open the data folder, which the caller has locked. Blocking.

        Raises HearthgateError for what the user can mend.
        """
        self._settings = settings
        data = settings.data
        icons = private_folder(data / "icons")
        rng = random.SystemRandom()
        self._poller = Poller(asyncio.get_running_loop())
        self._feed = Feed()
        self._parts = Parts(on_change=self._parts_changed, rng=rng)
        self._store = HomeStore(home_state_store(data))
        edge = private_folder(data / "edge")
        self._edge = Edge(
            edge,
            EdgeSettings(
                program=settings.edge.program,
                maxconn=settings.edge.maxconn,
                user=EdgeUser.find(settings.edge.program, edge),
            ),
        )
        self._tunnels = Tunnels(
            private_folder(data / "relays"),
            settings.tunnel,
            poller=self._poller,
            hand_over=self._edge.hand_over,
            on_status=self._relay_changed,
            rng=rng,
            find_target=self._udp_target,
            find_tcp_target=self._tcp_target,
            # In no backup: that is how a relay tells a restored home from its twin.
            machine=_machine(data / MACHINE_NAME),
        )
        self._certificates = Certificates(
            private_folder(data / "certificates"),
            _acme_settings(settings),
            answers_for=self._answers_for,
            on_renewed=self._renewed,
            on_failed=self._not_renewed,
            rng=rng,
        )
        self._discovery = Discovery(
            DiscoverySettings(interfaces=settings.discovery.interfaces),
            icons=icons,
            on_change=self._seen,
            on_lost=self._lost,
            rng=rng,
        )
        self._services = Services(
            self._store,
            self._probe,
            on_change=self._service_changed,
            on_gone=self._service_gone,
            on_moved=self._service_moved,
        )
        # Whoever hides names from the way to the relay must not show them there.
        self._connect = (
            past_the_relay(self._edge.hand_over) if settings.tunnel.seal else dial
        )
        self._exposer = Exposer(
            self._store,
            self._tunnels,
            self._edge,
            self._certificates,
            on_change=self._service_changed,
            visit=functools.partial(visit, connect=self._connect),
        )
        self._forwarder = Forwarder(
            self._store, self._tunnels, on_change=self._service_changed
        )
        self._hass = self._make_hass(settings.hass)
        self._home = Home(
            self._store,
            self._services,
            self._tunnels,
            self._exposer,
            self._feed,
            forwarder=self._forwarder,
            acme=settings.acme,
            icons=icons,
            parts=self._parts,
            has_mqtt=self._may_have_broker,
            hass=self._hass,
        )
        self._entities = Entities(
            self._home,
            data / "entities-id",
            self._find_broker,
            prefix=settings.mqtt.discovery_prefix,
            count=self._count,
        )
        self._login = Login(data)
        self._webs: list[WebServer] = []

    def _make_hass(self, options: HassOptions) -> Hass | None:
        if options.token is None:
            return None
        return Hass(
            options,
            options.token,
            self._discovery.probe,
            PublicSide(
                HOME_ASSISTANT,
                self._store,
                self._exposer,
                self._tunnels,
                self._certificates,
                connect=self._connect,
            ),
            target=self._core_target,
            on_service=self._sighted,
            on_lost=self._services.lost,
            on_change=self._hass_changed,
            on_problem=functools.partial(self._parts.tell, _HASS),
        )

    @property
    def _may_have_broker(self) -> bool:
        return self._hass is not None or self._settings.mqtt.host is not None

    async def _find_broker(self) -> Broker | None:
        """Return the broker of the settings, else the Supervisor's."""
        mqtt = self._settings.mqtt
        if mqtt.host is not None:
            return Broker(mqtt.host, mqtt.port, mqtt.username, mqtt.password, mqtt.tls)
        return await self._hass.supervisor.broker() if self._hass else None

    async def _count(self) -> Counts:
        """Return what edge and tunnels have counted."""
        traffic = await self._edge.traffic()
        received, sent = {}, {}
        for one in self._store.value.exposures:
            if one.target.scheme.is_web:
                found = traffic.backends.get(one.hostname)
            else:
                found = self._tunnels.moved(one.relay_id, forward_of(one))
            if found is not None:
                received[one.service_id] = found.received
                sent[one.service_id] = found.sent
        visitors = traffic.visitors + self._tunnels.visitors
        return Counts(visitors, received, sent)

    def _core_target(self) -> Target | None:
        """Return where the edge finds Core, or would find it."""
        try:
            return self._services.get(HOME_ASSISTANT).target
        except ServiceUnknownError:
            return None

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then end every part, visitors last."""
        with stop_on_signals() as stop:
            try:
                await self._store.read()
                if self._hass is None:
                    await self._serve_page_alone()
                else:
                    await self._serve_command_line()
                async with asyncio.TaskGroup() as tasks:
                    parts = [tasks.create_task(self._edge.run(), name="edge")]
                    parts += [
                        tasks.create_task(self._parts.run(name, start), name=name)
                        for name, start in self._optional().items()
                    ]
                    await self._begin()
                    await stop.wait()
                    await self._leave()
                    for task in parts:
                        task.cancel()
            finally:
                await self._close()

    def _optional(self) -> dict[str, Start]:
        """Return what may fail while visitors come and go, by its name on the page."""
        parts: dict[str, Start] = {
            "The renewal of certificates": self._certificates.run,
            "The look at services": self._services.run,
        }
        if self._settings.discovery.enabled:
            parts["Discovery"] = self._discover
        if self._may_have_broker:
            parts["The way to the MQTT broker"] = self._entities.run
        if self._hass is not None:
            parts[_HASS] = self._hass.run
            notifier = Notifier(self._home, self._hass.core)
            parts["Notifying in Home Assistant"] = notifier.run
            serve = functools.partial(self._serve_page_in, self._hass)
            parts["The page in Home Assistant"] = serve
        return parts

    async def _discover(self) -> None:
        if self._hass is not None:  # which knows better what is on this machine
            await self._hass.looked()
        await self._discovery.run()

    async def _begin(self) -> None:
        await self._exposer.start()
        self._forwarder.start()
        for relay in self._store.value.relays:
            await self._tunnels.start(
                relay,
                self._exposer.hostnames(relay.id),
                self._forwarder.forwards(relay.id),
            )

    async def _leave(self) -> None:
        """Take no more wishes and visitors, while the edge still serves its last ones.

        The other way round the relay would give visitors to a closed door. Twice does
        no harm.
        """
        await self._close_pages()
        await self._exposer.close()
        await self._forwarder.close()
        await self._tunnels.close()

    async def _close(self) -> None:
        await self._leave()
        if self._hass is not None:
            await self._hass.close()
        await self._store.close()
        self._poller.close()
        _LOGGER.info("Home has stopped")

    # --- the page ---------------------------------------------------------------------

    async def _serve_page_alone(self) -> None:
        """Serve the page with a login of its own."""
        settings = self._settings
        password = await self._login.prepare(settings.password)
        web = WebServer(
            self._home,
            self._login,
            host=settings.web.host,
            port=settings.web.port,
            unix_socket=settings.data / SOCKET_NAME,
            hosts=KnownHosts(self._page_hosts),
        )
        await self._serve(web)
        _LOGGER.info("The page is at http://%s:%d/", settings.web.host, web.port)
        if password is not None:
            # Shown at every log level: it cannot be shown again.
            logging.getLogger(PLAIN).info(
                "The password for the page is %s (shown only this once; change it on "
                "the page)",
                password,
            )

    def _page_hosts(self) -> set[str]:
        """Return names of the page that belong to the user.

        A home may make its own page public, as it does with any service.
        """
        public = {one.hostname for one in self._store.value.exposures if one.enabled}
        return public | set(self._settings.web.hosts)

    async def _serve_command_line(self) -> None:
        """Serve the UNIX socket alone, which needs nobody's word."""
        nobody = NoLogin("command line")
        socket = self._settings.data / SOCKET_NAME
        await self._serve(WebServer(self._home, nobody, host=None, unix_socket=socket))

    async def _serve_page_in(self, hass: Hass) -> None:
        """Serve the page where the Supervisor reaches it, once it has said where.

        Visitors do not wait for that: the edge and the tunnels run already.
        """
        while True:
            own = await hass.own()
            web = WebServer(
                self._home,
                hass.ingress,
                host=own.address,
                port=own.ingress_port,
                own_host=host_for_browser,
                peers={self._settings.hass.ingress_peer},
            )
            try:
                await self._serve(web)
            except WebNotStartedError as err:
                _LOGGER.warning("%s Trying again", err)
                await asyncio.sleep(_PAGE_RETRY_S)
                continue
            _LOGGER.info(
                "The page is at http://%s:%d/, for Home Assistant only",
                own.address,
                web.port,
            )
            return

    async def _serve(self, web: WebServer) -> None:
        self._webs.append(web)
        await web.start()

    async def _close_pages(self) -> None:
        for web in self._webs:
            await web.stop()

    # --- what the parts ask of each other ---------------------------------------------

    async def _probe(self, target: Target) -> Probe:
        if target.scheme.is_web and not self._expects_proxy(target):
            return await self._discovery.probe(target)
        return await probe_tcp(target)

    def _expects_proxy(self, target: Target) -> bool:
        """Tell whether an answer would first want a PROXY protocol header."""
        sites = self._store.value.sites
        return any(one.target == target and one.tells_visitor for one in sites)

    def _udp_target(self, relay_id: str, port: int) -> Target | None:
        """Return where datagrams on a public port of a relay go."""
        found = self._forward(relay_id, port, Scheme.UDP)
        return found.target if found else None

    def _tcp_target(self, relay_id: str, port: int) -> TcpTarget | None:
        """Return where visitors of a public port of a relay go."""
        found = self._forward(relay_id, port, Scheme.TCP)
        return TcpTarget(found.target, found.tells_visitor) if found else None

    def _forward(self, relay_id: str, port: int, scheme: Scheme) -> Exposure | None:
        for one in self._store.value.forwards:
            is_it = (one.relay_id, one.public_port) == (relay_id, port)
            if is_it and one.enabled and one.target.scheme is scheme:
                return one
        return None

    # The parts below Home are made before it, and tell it what happens by these.

    def _seen(self, service: Service) -> None:
        """Take what mDNS says, but for what the Supervisor says better."""
        exposed = self._store.value.exposure(service.id) is not None
        if exposed or self._hass is None or not self._hass.knows(service.target):
            self._services.seen(service)

    def _sighted(self, service: Service) -> None:
        """Take what the Supervisor says, and drop what mDNS said of the same."""
        self._services.seen(service)
        for other in self._services.all():
            if self._hass is None or self._hass.shows(other.id):
                continue
            is_free = self._store.value.exposure(other.id) is None
            by_hand = other.origin is Origin.MANUAL
            if is_free and not by_hand and self._hass.knows(other.target):
                self._services.lost(other.id)

    def _lost(self, service_id: str) -> None:
        self._services.lost(service_id)

    def _service_changed(self, service_id: str) -> None:
        self._home.service_changed(service_id)
        if service_id == HOME_ASSISTANT and self._hass is not None:
            self._hass.exposure_changed()

    def _hass_changed(self, view: Json) -> None:
        self._feed.publish({"type": "hass", "hass": view})

    def _parts_changed(self) -> None:
        self._home.changed()

    def _service_gone(self, service_id: str) -> None:
        self._home.service_gone(service_id)

    async def _service_moved(self, exposure: Exposure, target: Target) -> None:
        await self._home.service_moved(exposure, target)

    def _relay_changed(self, relay_id: str, _status: TunnelStatus) -> None:
        self._home.relay_changed(relay_id)

    def _answers_for(self, hostname: str) -> Answers:
        """Return the relay that shows answers for a hostname."""
        for exposure in self._store.value.exposures:
            if exposure.hostname == hostname:
                tunnel = self._tunnels.get(exposure.relay_id)
                if tunnel is not None:
                    return tunnel
        raise RelayAwayError

    async def _renewed(self, certificate: Certificate) -> None:
        await self._exposer.renewed(certificate)

    def _not_renewed(self, hostname: str) -> None:
        self._exposer.not_renewed(hostname)


def _acme_settings(settings: HomeSettings) -> AcmeSettings:
    acme = settings.acme
    account = None
    if acme.eab_key_id is not None and acme.eab_hmac_key is not None:
        account = ExternalAccount(acme.eab_key_id, str(acme.eab_hmac_key))
    return AcmeSettings(
        directory=acme.directory_url,
        staging=acme.staging,
        email=acme.email,
        ca_file=acme.ca_file,
        dns_servers=tuple((one.host, one.port) for one in settings.dns_servers),
        external_account=account,
    )


def _machine(path: Path) -> str:
    try:
        return lasting_id(path)
    except StateError as err:  # a full disk keeps nobody from serving
        _LOGGER.warning("%s", err)
        return ""


def agent_socket(data: Path) -> Path:
    """Return where the agent of a data folder listens for the command line."""
    return data / SOCKET_NAME


async def serve(settings: HomeSettings) -> None:
    """Run an agent in this process until it is told to stop."""
    allow_many_descriptors()
    settings = replace(settings, data=data_folder(settings.data))
    with contextlib.ExitStack() as owned:
        owned.enter_context(lock_folder(settings.data))
        await Agent(settings).run()
