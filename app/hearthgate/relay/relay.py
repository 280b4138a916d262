"""One relay: its parts, put together, from the first socket to the last.

443 ─▶ Front ─┬─▶ ControlEndpoint ─▶ Sessions ◀─ Registry (data folder)
              ├─▶ Visitors ─▶ Pump      │
              └─▶ parked channels ──────┘
80  ─▶ PlainPort ◀─ Answers
relay.sock ─▶ Admin                        `hearthgate relay …`
"""

import asyncio
from collections.abc import Callable
import contextlib
import errno
import logging
from pathlib import Path
import resource
import socket
import time

from hearthgate.errors import HearthgateError
from hearthgate.log import PLAIN
from hearthgate.poller import Poller
from hearthgate.process import (
    allow_many_descriptors,
    collect_garbage_rarely,
    stop_on_signals,
)
from hearthgate.relay.addresses import AddressBook
from hearthgate.relay.admin import Admin
from hearthgate.relay.answers import Answers
from hearthgate.relay.control import ControlEndpoint
from hearthgate.relay.counters import Counters
from hearthgate.relay.datagrams import Datagrams
from hearthgate.relay.doorway import Doorway, listen
from hearthgate.relay.forwards import Forwards
from hearthgate.relay.front import Front
from hearthgate.relay.invitation import invitation_text, invite
from hearthgate.relay.keys import Keys
from hearthgate.relay.limits import Limits
from hearthgate.relay.plain import PlainPort
from hearthgate.relay.pump import Pump
from hearthgate.relay.registry import (
    MIGRATIONS,
    REGISTRY_VERSION,
    SCHEMA,
    Registered,
    Registry,
    dump,
    load,
)
from hearthgate.relay.sessions import Sessions
from hearthgate.relay.settings import RelaySettings
from hearthgate.relay.visitors import Visitors
from hearthgate.store import YamlStore, lock_folder
from hearthgate.wire.control import Forward
from hearthgate.wire.names import is_ip, parse_address
from hearthgate.wire.ports import Protocol
from hearthgate.wire.proxy import Endpoint

_LOGGER = logging.getLogger(__name__)

_SWEEP_S = 0.25
_SWEEPS_PER_TICK = 40  # the pump's idle clock ticks every ten seconds
_TICK_S = _SWEEP_S * _SWEEPS_PER_TICK
_FIRST_HOME = "home"
STATE_NAME = "relay.yaml"
_DESCRIPTORS_PER_VISITOR = 3  # its own, its channel's, and a share of parked ones


class PortInUseError(HearthgateError):
    """Raise if a port cannot be listened on."""

    code = "port_not_available"
    message = "The relay cannot listen on {host} port {port}: {reason}."
    hint = (
        "Stop what uses the port (ss -ltnp shows it), or choose another one with "
        "--https-port and --http-port."
    )


def open_registry(settings: RelaySettings, clock: Callable[[], float]) -> Registry:
    """Return the registry of a data folder that the caller has locked. Blocking."""
    store = YamlStore[Registered](
        settings.data / STATE_NAME,
        version=REGISTRY_VERSION,
        schema=SCHEMA,
        load=load,
        dump=dump,
        empty=Registered,
        migrations=MIGRATIONS,
        title="Homes of this Hearthgate relay",
    )
    return Registry(
        store,
        settings.limits,
        relay_name=_own_name(settings),
        clock=clock,
        forward_ports=settings.forward_ports,
    )


def open_keys(folder: Path, registry: Registry) -> Keys:
    """Return the relay's keys in a data folder. Blocking."""
    return Keys(folder / "keys", may_make=not registry.homes)


def _own_endpoint(settings: RelaySettings) -> Endpoint:
    """Return what visitors dial, as far as it is known and an address."""
    known = [one for one in settings.public_addresses if is_ip(one)]
    return (known[0] if known else "0.0.0.0", settings.https_port)


def _own_name(settings: RelaySettings) -> str | None:
    if settings.address is None:
        return None
    host, _ = parse_address(settings.address)
    return None if is_ip(host) else host


class Relay:
    """A running relay. Make it, `run` it once, in a loop of its own."""

    def __init__(self, settings: RelaySettings) -> None:
        """Open the data folder, which the caller has locked. Blocking.

        Raises HearthgateError for what the user can mend.
        """
        self._settings = settings
        self._is_stopping = False
        limits = settings.limits
        loop = asyncio.get_running_loop()
        clock = time.monotonic
        self._registry = open_registry(settings, time.time)
        self._keys = open_keys(settings.data, self._registry)
        self._poller = Poller(loop)
        self._pump = Pump(self._poller)
        self._counters = Counters(clock=clock, log_period_s=limits.log_period_s)
        self._sessions = Sessions(self._poller, limits, clock=clock)
        self._visitors = Visitors(
            self._sessions,
            self._pump,
            self._poller,
            limits,
            self._counters,
            holder=self._registry.holder,
            relay=_own_endpoint(settings),
            clock=clock,
            loop=loop,
        )
        answers = Answers(limits, clock=clock)
        inside = AddressBook(
            total_max=_visitors_max(limits),
            per_address_max=limits.visitors_per_address_max,
        )
        tls_listeners = _listeners(settings.bind, settings.https_port)
        https_port = int(tls_listeners[0].getsockname()[1])
        self._datagrams = Datagrams(
            poller=self._poller,
            counters=self._counters,
            limits=limits,
            hosts=settings.bind,
            port=https_port,
            clock=clock,
        )
        self._forwards = Forwards(
            visitors=self._visitors,
            sessions=self._sessions,
            poller=self._poller,
            book=inside,
            counters=self._counters,
            limits=limits,
            hosts=settings.bind,
            own_ports=self._own_ports,
            context=self._keys.sealing_context(),
            fingerprint=self._keys.fingerprint,
            open_datagrams=self._datagrams.forward,
        )
        self._control = ControlEndpoint(
            keys=self._keys,
            registry=self._registry,
            sessions=self._sessions,
            answers=answers,
            limits=limits,
            counters=self._counters,
            addresses=settings.public_addresses,
            forwards=self._forwards,
            datagrams=self._datagrams,
            datagram_port=https_port,
            clock=clock,
        )
        arrivals = AddressBook(
            total_max=limits.arrivals_max,
            per_address_max=limits.arrivals_per_address_max,
        )
        self._front = Front(
            control=self._control.admit,
            sessions=self._sessions,
            visitors=self._visitors,
            poller=self._poller,
            arrivals=arrivals,
            inside=inside,
            limits=limits,
            counters=self._counters,
            clock=clock,
        )
        self._tls_door = Doorway(
            tls_listeners,
            on_connection=self._front.admit,
            book=arrivals,
            poller=self._poller,
            counters=self._counters,
            loop=loop,
        )
        plain_book = AddressBook(
            total_max=limits.plain_connections_max,
            per_address_max=limits.visitors_per_address_max,
        )
        self._plain = PlainPort(
            answers,
            is_published=self._sessions.routes.__contains__,
            book=plain_book,
            limits=limits,
            counters=self._counters,
            https_port=_public_port(settings) or self._tls_door.port,
        )
        self._plain_door = Doorway(
            _listeners(settings.bind, settings.http_port),
            on_connection=self._plain.admit,
            book=plain_book,
            poller=self._poller,
            counters=self._counters,
            loop=loop,
        )
        self._admin = Admin(
            registry=self._registry,
            keys=self._keys,
            sessions=self._sessions,
            pump=self._pump,
            counters=self._counters,
            answers=answers,
            settings=settings,
        )

    def _own_ports(self) -> frozenset[Forward]:
        """Return what no home may forward."""
        https, http = self._tls_door.port, self._plain_door.port
        return frozenset(
            {
                Forward(Protocol.TCP, https),
                Forward(Protocol.TCP, http),
                Forward(Protocol.UDP, https),
            }
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT; then let transfers finish, and close all."""
        with stop_on_signals() as stop:
            await self._admin.open()
            self._tls_door.open()
            self._datagrams.open()
            self._plain_door.open()
            _LOGGER.info(
                "Relay %s listens on ports %d and %d",
                self._settings.address or "without an address",
                self._tls_door.port,
                self._plain_door.port,
            )
            sweeper = asyncio.create_task(self._sweep(), name="sweep")
            try:
                await self._greet_first_home()
                collect_garbage_rarely()
                await stop.wait()
            finally:
                await self._stop(sweeper)

    async def _greet_first_home(self) -> None:
        """Print a pairing code if there is no home yet and nobody was invited."""
        if self._registry.homes:
            return
        if self._registry.invites:
            names = ", ".join(one.name for one in self._registry.invites)
            _LOGGER.info(
                "No home is paired yet. Unused pairing codes: %s. A new one: "
                "hearthgate relay invite",
                names,
            )
            return
        domain = self._settings.first_domain()
        if domain is None:
            _LOGGER.warning(
                "No home is paired, and without an address there is no pairing code: "
                "start with --address relay.example.com or --address 203.0.113.5"
            )
            return
        try:
            made = await invite(
                self._registry,
                self._keys,
                self._settings.address,
                name=_FIRST_HOME,
                domains=(domain,),
            )
        except HearthgateError as err:
            _LOGGER.warning("No pairing code: %s %s", err, err.advice)
            return
        logging.getLogger(PLAIN).info("%s", invitation_text(made))

    async def _sweep(self) -> None:
        """Act on deadlines, four times a second."""
        ticks_max = int(self._settings.limits.pair_idle_max_s / _TICK_S) + 1
        turn = 0
        while True:
            await asyncio.sleep(_SWEEP_S)
            turn += 1
            try:
                self._front.sweep()
                self._visitors.sweep()
                if turn % _SWEEPS_PER_TICK == 0:
                    self._pump.tick += 1
                    self._pump.close_idle(ticks_max)
                    self._datagrams.sweep()
                    if not self._is_stopping:  # homes that left because of it stay
                        self._sessions.sweep()
            except Exception:
                # Deadlines protect everybody, so a bug with one must not end them.
                _LOGGER.exception("Deadlines were not all acted on")

    async def _stop(self, sweeper: asyncio.Task[None]) -> None:
        self._is_stopping = True
        self._tls_door.close()
        self._plain_door.close()
        self._forwards.close()
        self._sessions.say_goodbye()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain):
                await self._pump.emptied()
        sweeper.cancel()
        self._front.close()
        self._visitors.close()
        self._sessions.close()
        self._datagrams.close()
        self._pump.close()
        await self._control.close()
        await self._plain.close()
        await self._admin.close()
        self._poller.close()
        _LOGGER.info("Relay has stopped")


def _public_port(settings: RelaySettings) -> int | None:
    """Return the port that visitors use, which need not be the one we listen on."""
    return None if settings.address is None else parse_address(settings.address)[1]


def _visitors_max(limits: Limits) -> int:
    """Return how many visitors fit into the descriptors that the system allows."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    fitting = max(1, (allowed - limits.arrivals_max) // _DESCRIPTORS_PER_VISITOR)
    if fitting < limits.visitors_max:
        _LOGGER.warning(
            "The system allows %d open files, enough for %d visitors at the same time",
            allowed,
            fitting,
        )
    return min(limits.visitors_max, fitting)


def _listeners(hosts: tuple[str, ...], port: int) -> list[socket.socket]:
    """Listen on each address; one that this machine does not have is left out.

    With port 0 the system picks one, and all addresses get the same.
    Raises PortInUseError.
    """
    listeners: list[socket.socket] = []
    for host in hosts:
        try:
            listener = listen(host, port)
        except OSError as err:
            if err.errno in _NO_SUCH_ADDRESS and len(hosts) > 1:
                _LOGGER.info("Not listening on %s: %s", host, err.strerror)
                continue
            for other in listeners:
                other.close()
            raise PortInUseError(
                host=host, port=port, reason=err.strerror or str(err)
            ) from err
        listeners.append(listener)
        port = listener.getsockname()[1]
    if not listeners:
        raise PortInUseError(
            host=", ".join(hosts), port=port, reason="this machine has no such address"
        )
    return listeners


_NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


async def serve(settings: RelaySettings) -> None:
    """Run a relay in this process until it is told to stop."""
    allow_many_descriptors()
    with lock_folder(settings.data):
        await Relay(settings).run()
