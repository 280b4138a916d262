"""One agent: the parts of a home, put together, from the first file to the last.

WebServer ─▶ Home ─┬─▶ Services ◀── Discovery (mDNS)
                   ├─▶ Tunnels ──channel──▶ Edge (HAProxy)
                   └─▶ Exposer ─▶ Certificates (ACME), Edge, Tunnels
"""

import asyncio
from collections.abc import Coroutine
import contextlib
import logging
from pathlib import Path
import random
import socket
from typing import Any

from hearthgate.files import private_folder
from hearthgate.home.certificates import (
    AcmeSettings,
    Answers,
    Certificate,
    Certificates,
    ExternalAccount,
)
from hearthgate.home.discovery import Discovery, DiscoverySettings
from hearthgate.home.discovery.knock import knock
from hearthgate.home.discovery.probe import Probe
from hearthgate.home.edge import Edge, EdgeSettings
from hearthgate.home.exposer import Exposer
from hearthgate.home.forwarder import Forwarder
from hearthgate.home.home import Home
from hearthgate.home.home_store import HomeStore
from hearthgate.home.model import Exposure, Scheme, Service, Target
from hearthgate.home.services import Services
from hearthgate.home.settings import HomeSettings
from hearthgate.home.state_file import home_state_store
from hearthgate.home.tunnel.errors import RelayAwayError
from hearthgate.home.tunnel.tunnel import TunnelStatus
from hearthgate.home.tunnels import Tunnels
from hearthgate.home.web.feed import Feed
from hearthgate.home.web.login import Login
from hearthgate.home.web.server import WebServer
from hearthgate.poller import Poller
from hearthgate.process import allow_many_descriptors, stop_on_signals
from hearthgate.store import lock_folder
from hearthgate.wire.channel import ChannelKind

_LOGGER = logging.getLogger(__name__)

SOCKET_NAME = "agent.sock"


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
        self._store = HomeStore(home_state_store(data))
        self._edge = Edge(
            private_folder(data / "edge"),
            EdgeSettings(program=settings.edge.program, maxconn=settings.edge.maxconn),
        )
        self._tunnels = Tunnels(
            private_folder(data / "relays"),
            settings.tunnel,
            poller=self._poller,
            hand_over=self._hand_over,
            on_status=self._relay_changed,
            rng=rng,
            find_target=self._udp_target,
        )
        self._certificates = Certificates(
            private_folder(data / "certificates"),
            _acme_settings(settings),
            answers_for=self._answers_for,
            on_renewed=self._renewed,
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
        self._exposer = Exposer(
            self._store,
            self._tunnels,
            self._edge,
            self._certificates,
            on_change=self._service_changed,
        )
        self._forwarder = Forwarder(
            self._store, self._tunnels, self._edge, on_change=self._service_changed
        )
        self._home = Home(
            self._store,
            self._services,
            self._tunnels,
            self._exposer,
            self._feed,
            forwarder=self._forwarder,
            acme=settings.acme,
            icons=icons,
        )
        self._login = Login(data)
        self._web = WebServer(
            self._home,
            self._login,
            host=settings.web.host,
            port=settings.web.port,
            unix_socket=data / SOCKET_NAME,
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then end every part, visitors last."""
        with stop_on_signals() as stop:
            try:
                await self._store.read()
                password = await self._login.prepare(self._settings.password)
                await self._web.start()
                self._say_hello(password)
                async with asyncio.TaskGroup() as tasks:
                    parts = [
                        tasks.create_task(part, name=name)
                        for name, part in self._parts().items()
                    ]
                    await self._begin()
                    await stop.wait()
                    await self._web.stop()
                    for task in parts:
                        task.cancel()
            finally:
                await self._close()

    def _parts(self) -> dict[str, Coroutine[Any, Any, None]]:
        parts = {
            "edge": self._edge.run(),
            "renewal": self._certificates.run(),
            "services": self._services.run(),
        }
        if self._settings.discovery.enabled:
            parts["discovery"] = self._discovery.run()
        return parts

    async def _begin(self) -> None:
        await self._exposer.start()
        self._forwarder.start()
        for relay in self._store.value.relays:
            await self._tunnels.start(
                relay,
                self._exposer.hostnames(relay.id),
                self._forwarder.forwards(relay.id),
            )

    async def _close(self) -> None:
        await self._web.stop()
        await self._exposer.close()
        await self._forwarder.close()
        await self._tunnels.close()
        await self._store.close()
        self._poller.close()
        _LOGGER.info("Home has stopped")

    def _say_hello(self, password: str | None) -> None:
        port = self._web.port
        _LOGGER.info("The page is at http://%s:%d/", self._settings.web.host, port)
        if password is not None:
            _LOGGER.info(
                "The password for the page is %s (shown only this once; set your own "
                "with HEARTHGATE_PASSWORD)",
                password,
            )

    async def _probe(self, target: Target) -> Probe:
        return await (
            self._discovery.probe(target) if target.scheme.is_web else knock(target)
        )

    def _udp_target(self, relay_id: str, port: int) -> Target | None:
        """Return where datagrams on a public port of a relay go."""
        for one in self._store.value.forwards:
            is_it = (one.relay_id, one.public_port) == (relay_id, port)
            if is_it and one.enabled and one.target.scheme is Scheme.UDP:
                return one.target
        return None

    def _hand_over(self, channel: socket.socket, kind: ChannelKind) -> None:
        if kind is ChannelKind.SEALED:
            self._edge.hand_over_sealed(channel)
        else:
            self._edge.hand_over(channel)

    # The parts below Home are made before it, and tell it what happens by these.

    def _seen(self, service: Service) -> None:
        self._services.seen(service)

    def _lost(self, service_id: str) -> None:
        self._services.lost(service_id)

    def _service_changed(self, service_id: str) -> None:
        self._home.service_changed(service_id)

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


def agent_socket(data: Path) -> Path:
    """Return where the agent of a data folder listens for the command line."""
    return data / SOCKET_NAME


async def serve(settings: HomeSettings) -> None:
    """Run an agent in this process until it is told to stop."""
    allow_many_descriptors()
    with contextlib.ExitStack() as owned:
        owned.enter_context(lock_folder(settings.data))
        await Agent(settings).run()
