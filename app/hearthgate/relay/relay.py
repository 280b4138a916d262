"""One relay: its parts, put together, from the first socket to the last.

443 ─▶ FrontDoor ─┬─▶ ControlEndpoint ─▶ Sessions ◀─ Registry (data folder)
                  ├─▶ Visitors ─▶ Pump      │
                  └─▶ parked channels ──────┘
80  ─▶ HttpPort ◀─ Answers
relay.sock ─▶ Admin                        `hearthgate relay …`
"""

import asyncio
from collections.abc import Callable
import contextlib
from dataclasses import replace
import logging
from pathlib import Path
import resource
import time

from hearthgate.errors import HearthgateError
from hearthgate.relay.accept.acceptor import Acceptor, counted
from hearthgate.relay.accept.connection_limiter import ConnectionLimiter
from hearthgate.relay.accept.descriptor_budget import DescriptorBudget
from hearthgate.relay.accept.listeners import open_listeners
from hearthgate.relay.counting.refusals import Counters
from hearthgate.relay.counting.traffic import Traffic
from hearthgate.relay.doors.control_endpoint import ControlEndpoint
from hearthgate.relay.doors.front_door import FrontDoor
from hearthgate.relay.doors.http_port import HttpPort
from hearthgate.relay.forwards.tcp import Forwards
from hearthgate.relay.forwards.udp import Datagrams
from hearthgate.relay.homes.budgets import Budgets
from hearthgate.relay.homes.challenge_responses import Answers
from hearthgate.relay.homes.invitations import invitation_text, invite
from hearthgate.relay.homes.keys import Keys
from hearthgate.relay.homes.registry import (
    MIGRATIONS,
    REGISTRY_VERSION,
    SCHEMA,
    Registered,
    Registry,
    dump,
    load,
)
from hearthgate.relay.homes.sessions import Sessions
from hearthgate.relay.owner.admin import Admin
from hearthgate.relay.owner.metrics import Collector, MetricsPort
from hearthgate.relay.public_addresses import PublicAddresses, with_learned_address
from hearthgate.relay.restart.state_transfer import HandOver, TakeOver
from hearthgate.relay.restart.takeover import Inheritance, TakeoverListener, inherit
from hearthgate.relay.settings import RelaySettings
from hearthgate.relay.visitors.pump import Pump
from hearthgate.relay.visitors.visitors import Visitors
from hearthgate.shared.net.poller import Poller
from hearthgate.shared.process.log import PLAIN
from hearthgate.shared.process.process import (
    allow_many_descriptors,
    collect_garbage_rarely,
    stop_on_signals,
)
from hearthgate.shared.process.tasks import Tasks
from hearthgate.shared.storage.folders import data_folder, keep_lock, lock_folder
from hearthgate.shared.storage.yaml_store import StateError, YamlStore
from hearthgate.wire.messages import Forward
from hearthgate.wire.names import is_ip, parse_address
from hearthgate.wire.ports import Protocol
from hearthgate.wire.proxy import Endpoint

_LOGGER = logging.getLogger(__name__)

_SWEEP_S = 0.25
_SWEEPS_PER_TICK = 40  # the pump's idle clock ticks every ten seconds
_TICK_S = _SWEEP_S * _SWEEPS_PER_TICK
_EMPTY_LOOK_S = 0.05
_MARK_AGAIN_S = 600.0  # after a full disk
_FIRST_HOME = "home"
STATE_NAME = "relay.yaml"


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

    def __init__(
        self,
        settings: RelaySettings,
        lock: int,
        inheritance: Inheritance | None = None,
    ) -> None:
        """Open the data folder, which the caller has locked. Blocking.

        lock: the descriptor of that lock. inheritance: what a running relay has handed
        over, whose listening sockets this one takes over. Raises HearthgateError for
        what the user can mend.
        """
        self._settings = settings
        self._is_stopping = False
        limits = settings.limits
        inherited = inheritance.listeners if inheritance else []
        loop = asyncio.get_running_loop()
        clock = time.monotonic
        self._registry = open_registry(settings, time.time)
        self._keys = open_keys(settings.data, self._registry)
        self._poller = Poller(loop)
        self._waiting = Poller(loop, after_others=True)
        self._pump = Pump(self._poller)
        self._counters = Counters(
            clock=clock,
            log_period_s=limits.log_period_s,
            tell_addresses=settings.log.addresses,
        )
        self._traffic = Traffic()
        self._public_addresses = PublicAddresses(settings)
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
            traffic=self._traffic,
            log=settings.log.visitors,
        )
        answers = Answers(limits, clock=clock)
        room = DescriptorBudget(_allowed(), limits, in_use=self._in_use)
        if room.visitors_max < limits.visitors_max:
            _LOGGER.warning(
                "The system allows %d open files, enough for %d visitors at most",
                room.allowed,
                room.visitors_max,
            )
        inside = ConnectionLimiter(
            total_max=limits.visitors_max,
            per_address_max=limits.visitors_per_address_max,
            has_room=room,
        )
        tls_listeners = open_listeners(settings.bind, settings.https_port, inherited)
        https_port = int(tls_listeners[0].getsockname()[1])
        self._datagrams = Datagrams(
            poller=self._poller,
            counters=self._counters,
            limits=limits,
            hosts=settings.bind,
            port=https_port,
            clock=clock,
            traffic=self._traffic,
            inherited=inherited,
        )
        budgets = Budgets(limits, clock=clock)
        self._forwards = Forwards(
            visitors=self._visitors,
            sessions=self._sessions,
            poller=self._poller,
            limiter=inside,
            counters=self._counters,
            limits=limits,
            hosts=settings.bind,
            own_ports=self._own_ports,
            make_datagrams=self._datagrams.forward,
            may_open=budgets.ports.allow,
        )
        self._control = ControlEndpoint(
            keys=self._keys,
            registry=self._registry,
            sessions=self._sessions,
            answers=answers,
            limits=limits,
            counters=self._counters,
            addresses=self._public_addresses.addresses,
            forwards=self._forwards,
            datagrams=self._datagrams,
            datagram_port=https_port,
            budgets=budgets,
            clock=clock,
        )
        arrivals = ConnectionLimiter(
            total_max=room.arrivals_max,
            per_address_max=limits.arrivals_per_address_max,
        )
        self._front = FrontDoor(
            control=self._control.admit,
            sessions=self._sessions,
            visitors=self._visitors,
            poller=self._poller,
            waiting=self._waiting,
            arrivals=arrivals,
            inside=inside,
            limits=limits,
            counters=self._counters,
            clock=clock,
        )
        self._tls_door = Acceptor(
            tls_listeners,
            on_connection=self._front.admit,
            poller=self._poller,
            counters=self._counters,
            loop=loop,
        )
        self._http_limiter = ConnectionLimiter(
            total_max=room.plain_max,
            per_address_max=limits.visitors_per_address_max,
        )
        self._plain = HttpPort(
            answers,
            is_published=self._sessions.routes.__contains__,
            limiter=self._http_limiter,
            limits=limits,
            counters=self._counters,
            https_port=_public_port(settings) or self._tls_door.port,
        )
        self._plain_door = Acceptor(
            open_listeners(settings.bind, settings.http_port, inherited),
            on_connection=counted(
                self._http_limiter, self._counters, self._plain.admit
            ),
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
            traffic=self._traffic,
            addresses=self._public_addresses.addresses,
        )
        self._metrics = _metrics_port(
            settings,
            Collector(
                registry=self._registry,
                sessions=self._sessions,
                pump=self._pump,
                counters=self._counters,
                traffic=self._traffic,
                limiter=arrivals,
            ),
        )

        self._marking = Tasks()
        self._stopping = asyncio.Event()
        self._hand_over = HandOver(
            poller=self._poller,
            lock=lock,
            doors=(self._tls_door, self._plain_door),
            datagrams=self._datagrams,
            forwards=self._forwards,
            private=[self._admin, *([self._metrics] if self._metrics else [])],
            front=self._front,
            visitors=self._visitors,
            sessions=self._sessions,
            answers=answers,
            registry=self._registry,
            on_left=self._stopping.set,
        )
        self._successors = TakeoverListener(
            settings.data, self._poller, self._hand_over.begin
        )
        self._take_over: TakeOver | None = None
        if inheritance is not None:
            self._take_over = TakeOver(
                inheritance,
                poller=self._poller,
                front=self._front,
                visitors=self._visitors,
                forwards=self._forwards,
                sessions=self._sessions,
                answers=answers,
                registry=self._registry,
                inside=inside,
                limits=limits,
                counters=self._counters,
            )

        for listener in inherited:  # for ports that nobody names any more
            listener.close()

    def _in_use(self) -> int:
        """Return the descriptors of homes, and of visitors who are inside."""
        return len(self._poller) + self._control.connections

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
        """Serve until SIGTERM or SIGINT, or until another process has taken over.

        Then lets transfers finish, and closes all.
        """
        with stop_on_signals(self._stopping) as stop:
            await self._admin.open()
            if self._metrics is not None:
                await self._metrics.open()
            self._tls_door.open()
            self._datagrams.open()
            self._plain_door.open()
            self._forwards.open()
            if self._take_over is not None:
                self._take_over.ready()
            self._successors.open()
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
        domain = self._settings.first_domain(_FIRST_HOME)
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
                self._control.sweep()
                self._visitors.sweep()
                self._datagrams.sweep_waiting()
                if turn % _SWEEPS_PER_TICK == 0:
                    self._pump.tick += 1
                    self._pump.close_idle(ticks_max)
                    self._sessions.close_unused()
                    self._datagrams.sweep()
                    self._mark_time()
                    if not self._is_stopping:  # homes that left because of it stay
                        self._sessions.sweep()
            except Exception:
                # Deadlines protect everybody, so a bug with one must not end them.
                _LOGGER.exception("Deadlines were not all acted on")

    def _mark_time(self) -> None:
        if not self._is_stopping and not len(self._marking):
            self._marking.start(self._try_to_mark_time(), "mark the time")

    async def _try_to_mark_time(self) -> None:
        try:
            await self._registry.mark_time()
        except StateError as err:
            _LOGGER.warning("What time it is could not be noted: %s", err)
            await asyncio.sleep(_MARK_AGAIN_S)

    async def _stop(self, sweeper: asyncio.Task[None]) -> None:
        self._is_stopping = True
        self._tls_door.close()
        self._plain_door.close()
        self._forwards.close()
        self._successors.close(unlink=not self._hand_over.left)
        self._sessions.say_goodbye()
        patience_s = self._settings.drain
        if self._hand_over.left:
            patience_s = self._settings.linger
            _LOGGER.info(
                "Another process serves; %d visitors finish here", len(self._pump.pairs)
            )
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._emptied()
        sweeper.cancel()
        await self._marking.close()
        self._front.close()
        self._visitors.close()
        self._sessions.close()
        self._datagrams.close()
        self._pump.close()
        await self._hand_over.close()
        if self._take_over is not None:
            self._take_over.close()
        await self._control.close()
        await self._plain.close()
        if not self._hand_over.left:  # else they are the successor's
            await self._admin.close()
        if self._metrics is not None:
            await self._metrics.close()
        self._waiting.close()
        self._poller.close()
        _LOGGER.info("Relay has stopped")

    async def _emptied(self) -> None:
        """Wait until every visitor has left, also those who wait for a first byte."""
        while self._pump.pairs or self._visitors.opening or self._http_limiter.total:
            await self._pump.emptied()
            await asyncio.sleep(_EMPTY_LOOK_S)


def _public_port(settings: RelaySettings) -> int | None:
    """Return the port that visitors use, which need not be the one we listen on."""
    return None if settings.address is None else parse_address(settings.address)[1]


def _allowed() -> int:
    """Return how many files the system lets this process open."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return allowed


def _metrics_port(settings: RelaySettings, collector: Collector) -> MetricsPort | None:
    if settings.metrics_port is None:
        return None
    return MetricsPort(collector, settings.metrics_host, settings.metrics_port)


async def serve(settings: RelaySettings, *, take_over: bool = False) -> None:
    """Run a relay in this process until it is told to stop.

    take_over: replace the one that runs on the same folder, if there is one.
    Raises HearthgateError for what the user can mend.
    """
    settings = with_learned_address(settings)
    allow_many_descriptors()
    settings = replace(settings, data=data_folder(settings.data))
    inheritance = inherit(settings.data) if take_over else None
    if inheritance is None:
        with lock_folder(settings.data) as lock:
            await Relay(settings, lock).run()
        return
    with keep_lock(inheritance.lock) as lock:
        await Relay(settings, lock, inheritance).run()
