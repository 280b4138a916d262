"""Keep this home connected to one relay.

    connecting ──▶ connected ──▶ waiting (backoff) ──▶ connecting …
         └── refused: the relay said no; asked again only now and then

What is published is declared as a whole after each welcome and on each change, so a new
session needs no memory of the old one.
"""

import asyncio
from collections.abc import Callable
import contextlib
from dataclasses import dataclass
from enum import StrEnum
import logging
import random

from hearthgate.errors import HearthgateError
from hearthgate.home.model import Bytes, Problem
from hearthgate.home.tunnel.control import ControlConnection
from hearthgate.home.tunnel.datagrams import Datagrams, FindTarget
from hearthgate.home.tunnel.errors import (
    HomeMovedError,
    HomeRevokedError,
    KeyUnreadableError,
    RelayAwayError,
    RelayCannotSealError,
    RelayKeyError,
    RelayMisbehavedError,
    RelayRefusedError,
    RelayReplacedError,
    RelayStoppingError,
    RelayTooOldError,
    TunnelBugError,
)
from hearthgate.home.tunnel.identity import Identity
from hearthgate.home.tunnel.pool import ChannelPool, HandOver, Ticket
from hearthgate.home.tunnel.streams import FindTcpTarget, Streams
from hearthgate.shared.net.poller import Poller
from hearthgate.shared.process.backoff import Backoff
from hearthgate.shared.process.tasks import Tasks
from hearthgate.wire.messages import (
    Claim,
    Feature,
    Forward,
    GoodbyeReason,
    Granted,
    Need,
    Welcome,
)
from hearthgate.wire.names import format_address
from hearthgate.wire.ports import NO_PORTS, Ports, Protocol

_LOGGER = logging.getLogger(__name__)

_RETRY_FIRST_S = 0.5
# A relay that stops has a successor as a rule, and visitors wait there. The homes of
# one relay come back spread over this long.
_COME_BACK_WITHIN_S = 0.2
_RETRY_MOST_S = 30.0
_HOLDS_AFTER_S = 60.0
_REFUSED_RETRY_S = 300.0  # what a person has to mend is not mended every second
_SWEEP_S = 1.0
_SAYS_WHO_IS_HOME = {HomeMovedError.code, RelayReplacedError.code}


class TunnelState(StrEnum):
    """How the connection to a relay stands."""

    CONNECTING = "connecting"
    CONNECTED = "connected"
    WAITING = "waiting"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class TunnelStatus:
    """What the page shows of a relay."""

    state: TunnelState
    since: float  # Unix time
    problem: Problem | None = None
    domains: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()  # where hostnames have to point
    ports: Ports = NO_PORTS  # granted
    can_forward: bool = True  # False: an older relay, without forwards


@dataclass(frozen=True, slots=True)
class TunnelOptions:
    """Which relay, and how many channels."""

    relay_id: str
    host: str
    port: int
    fingerprint: bytes
    channels_min: int = 4
    channels_max: int = 64
    machine: str = ""  # what tells this machine from another one with the same key
    seals: bool = False  # let in web visitors over sealed channels only


class Tunnel:
    """The connection of this home to one relay. Lives in one loop."""

    def __init__(
        self,
        options: TunnelOptions,
        identity: Identity,
        *,
        poller: Poller,
        hand_over: HandOver,
        on_status: Callable[[TunnelStatus], None],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
        rng: random.Random,
        find_target: FindTarget = lambda _port: None,
        find_tcp_target: FindTcpTarget = lambda _port: None,
    ) -> None:
        self.streams = Streams(
            find_target=find_tcp_target,
            hand_over=hand_over,
            poller=poller,
            clock=clock,
        )
        self._find_target = find_target
        self._datagrams: Datagrams | None = None
        self._moved_by_udp: dict[int, Bytes] = {}  # by port, of those who left
        self._options = options
        self._identity = identity
        self._poller = poller
        self._hand_over = hand_over
        self._on_status = on_status
        self._clock = clock
        self._wall_clock = wall_clock
        self._backoff = Backoff(
            first_s=_RETRY_FIRST_S,
            most_s=_RETRY_MOST_S,
            holds_after_s=_HOLDS_AFTER_S,
            clock=clock,
            rng=rng,
        )
        self.hostnames: tuple[str, ...] = ()  # what the next session publishes
        self._connection: ControlConnection | None = None
        self._pool: ChannelPool | None = None
        self._publishing = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._claim = Claim.USUAL  # of the next session
        self._relay_knows_machines = False
        self._rng = rng
        self._tasks = Tasks()
        self.status = TunnelStatus(TunnelState.CONNECTING, wall_clock())
        self.refused: dict[str, str] = {}  # hostnames that the relay did not take
        self.is_published = False  # the relay has taken the set, in this session
        self.forwards: tuple[Forward, ...] = ()  # what the next session declares
        self.refused_forwards: dict[str, str] = {}  # by text, as tcp/25565
        self.has_declared = False  # the relay has taken the forwards, in this session

    @property
    def rtt_ms(self) -> float | None:
        """Round-trip time to the relay, None while away."""
        return self._connection.rtt_ms if self._connection else None

    @property
    def parked(self) -> int:
        """How many channels wait at the relay."""
        return self._pool.parked if self._pool else 0

    @property
    def peer(self) -> tuple[str, int]:
        """Where the relay was reached: IP address and port. Raises RelayAwayError."""
        if self._connection is None:
            raise RelayAwayError
        return self._connection.peer

    def reconnect(self) -> None:
        """Connect anew now, whatever the present connection looks like.

        A person who has read that another machine is this home, and asks for it all
        the same, means that this one shall be.
        """
        problem = self.status.problem
        if problem is not None and problem.code in _SAYS_WHO_IS_HOME:
            self._claim = Claim.INSISTS
        self._backoff.reset()
        self._hurry.set()

    async def publish(self, hostnames: tuple[str, ...]) -> dict[str, str]:
        """Declare the whole set of public hostnames; return the refused ones with why.

        Kept for the next session if the relay is away: raises RelayAwayError then.
        """
        self.hostnames = hostnames
        async with self._publishing:
            if self._connection is None:
                raise RelayAwayError
            try:
                self.refused = await self._connection.publish(self.hostnames)
            except RelayRefusedError as err:
                # The relay has taken what it could, and cannot say which that is.
                # Waiting for a better answer would keep every exposure waiting.
                _LOGGER.warning("%s", err)
                self.refused = {}
            self.is_published = True
            return self.refused

    async def declare(self, forwards: tuple[Forward, ...]) -> dict[str, str]:
        """Declare the whole set of forwards; return the refused ones with why.

        Kept for the next session if the relay is away: raises RelayAwayError then.
        Raises RelayRefusedError if the relay is too old for it.
        """
        self.forwards = forwards
        self.targets_changed()
        async with self._publishing:
            if self._connection is None:
                raise RelayAwayError
            if not self.status.can_forward:
                raise RelayTooOldError
            self.refused_forwards = await self._connection.declare(self.forwards)
            self.has_declared = True
            return self.refused_forwards

    def targets_changed(self) -> None:
        """Cut who is led to where a forward does not lead any more."""
        self.streams.targets_changed()
        if self._datagrams is not None:
            self._datagrams.targets_changed()

    @property
    def seals(self) -> bool:
        """Whether web visitors come over sealed channels only."""
        return self._options.seals

    @property
    def visitors(self) -> int:
        """How many visitors of forwards there are."""
        flows = self._datagrams.flows if self._datagrams is not None else 0
        return self.streams.visitors + flows

    def moved(self, forward: Forward) -> Bytes | None:
        """Return the bytes of a forward; None if it had no visitor yet."""
        if forward.protocol is Protocol.TCP:
            return self.streams.moved(forward.port)
        total = self._moved_by_udp.get(forward.port)
        for one in self._datagrams.moved(forward.port) if self._datagrams else ():
            total = (total or Bytes()) + one
        return total

    async def publish_answer(
        self, hostname: str, token: str, key_authorization: str
    ) -> None:
        """Show an ACME answer. Raises RelayAwayError, RelayRefusedError."""
        if self._connection is None:
            raise RelayAwayError
        await self._connection.show_answer(hostname, token, key_authorization)

    async def withdraw_answer(self, hostname: str, token: str) -> None:
        """Show an ACME answer no longer; a relay that is away forgets it by itself."""
        if self._connection is not None:
            with contextlib.suppress(RelayAwayError):
                await self._connection.drop_answer(hostname, token)

    async def run(self) -> None:
        """Stay connected until cancelled."""
        try:
            await self._stay()
        finally:
            await self.streams.close()
            await self._tasks.close()

    async def _stay(self) -> None:
        while True:
            try:
                await self._connect_once()
            except Exception as err:  # a bug must not end the way to a relay for good
                _LOGGER.exception("The way to the relay %s ended by a bug", self._relay)
                bug = TunnelBugError(relay=self._relay, reason=type(err).__name__)
                await self._rest(TunnelState.WAITING, bug, self._backoff.delay())

    @property
    def _relay(self) -> str:
        return format_address(self._options.host, self._options.port)

    async def _connect_once(self) -> None:
        """Run one session, and rest for as long as its end asks for."""
        self._hurry.clear()
        self._set(TunnelState.CONNECTING)
        try:
            problem = await self._session_or_hurry()
        except (RelayRefusedError, RelayKeyError, HomeMovedError) as err:
            await self._rest(TunnelState.REFUSED, err, _REFUSED_RETRY_S)
        except RelayReplacedError as err:
            # Two homes with one key would push each other out for ever: by a relay that
            # does not know what it is to yield, in turn.
            self._claim = Claim.YIELDS
            soon = self._relay_knows_machines
            delay_s = self._backoff.delay() if soon else _REFUSED_RETRY_S
            await self._rest(TunnelState.WAITING, err, delay_s)
        except HearthgateError as err:
            await self._rest(TunnelState.WAITING, err, self._backoff.delay())
        else:
            await self._rest(TunnelState.WAITING, problem, self._delay(problem))

    def _delay(self, problem: HearthgateError) -> float:
        """Return how long to wait after a session that the relay or the net ended."""
        if isinstance(problem, RelayStoppingError):
            return self._rng.random() * _COME_BACK_WITHIN_S
        return self._backoff.delay()

    async def _session_or_hurry(self) -> HearthgateError:
        """Run one session, ended early if the user wants to reconnect."""
        session = asyncio.create_task(self._session(), name="session")
        hurry = asyncio.create_task(self._hurry.wait(), name="hurry")
        try:
            await asyncio.wait((session, hurry), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (session, hurry):
                task.cancel()
            await asyncio.gather(session, hurry, return_exceptions=True)
        return RelayAwayError() if session.cancelled() else session.result()

    async def _session(self) -> HearthgateError:
        """Connect and stay until the session ends; return why it ended."""
        options = self._options
        try:
            context = await asyncio.to_thread(self._identity.context)
        except OSError as err:  # ssl.SSLError is one
            raise KeyUnreadableError(reason=err) from err
        connection = ControlConnection(
            options.host,
            options.port,
            options.fingerprint,
            context,
            self._on_need,
            on_granted=self._on_granted,
        )
        try:
            welcome = await connection.open(
                options.machine, self._claim, seals=options.seals
            )
            if options.seals and Feature.SEALING not in welcome.features:
                raise RelayCannotSealError
            self._claim = Claim.USUAL
            self._relay_knows_machines = Feature.MACHINES in welcome.features
            return await self._hold(connection, welcome)
        finally:
            self._connection = None
            self.is_published = False
            self.has_declared = False
            if self._pool is not None:
                self._pool.close()
                self._pool = None
            self.streams.end()
            await connection.close()

    async def _hold(
        self, connection: ControlConnection, welcome: Welcome
    ) -> HearthgateError:
        address = connection.peer
        self.streams.begin(welcome.channel_key)
        self._pool = ChannelPool(
            Ticket(
                welcome.session_id, welcome.channel_key, address, welcome.channels_max
            ),
            self._hand_over,
            self._poller,
            on_sealed=self.streams.take,
            channels_min=self._options.channels_min,
            channels_max=self._options.channels_max,
            only_sealed=self._options.seals,
            clock=self._clock,
        )
        self._connection = connection
        self._backoff.succeeded()
        keeper = asyncio.create_task(self._keep(), name="keep the pool")
        datagrams = self._start_datagrams(connection, welcome)
        self._pool.fill()
        self._set(
            TunnelState.CONNECTED,
            domains=welcome.domains,
            addresses=welcome.addresses or (address[0],),
            ports=Ports(welcome.tcp, welcome.udp),
            can_forward=Feature.FORWARDS in welcome.features,
        )
        _LOGGER.info(
            "Connected to the relay %s as %s, session %d",
            connection.relay,
            welcome.home,
            welcome.generation,
        )
        try:
            reason = await connection.receive()
        finally:
            keeper.cancel()
            datagrams.cancel()
            self._datagrams = None
            await asyncio.gather(keeper, datagrams, return_exceptions=True)
        _LOGGER.info("Left the relay %s: %s", connection.relay, reason or "lost")
        return self._end_of(reason)

    def _end_of(self, reason: GoodbyeReason | None) -> HearthgateError:
        """Return why a session has ended. Raises what needs a person."""
        match reason:
            case GoodbyeReason.REVOKED:
                raise HomeRevokedError
            case GoodbyeReason.REPLACED:
                raise RelayReplacedError(relay=self._relay)
            case GoodbyeReason.MISBEHAVED:
                return RelayMisbehavedError(relay=self._relay)
            case GoodbyeReason.STOPPING:
                return RelayStoppingError(relay=self._relay)
        return RelayAwayError()

    async def _keep(self) -> None:
        """Publish what is public, then look after the pool."""
        with contextlib.suppress(HearthgateError):  # told by the state, or it ends
            await self._declare_all()
        while True:
            await asyncio.sleep(_SWEEP_S)
            if self._pool is not None:
                self._pool.sweep()

    def _start_datagrams(
        self, connection: ControlConnection, welcome: Welcome
    ) -> "asyncio.Task[None]":
        """Keep the way for UDP forwards open, once there is one."""
        self._datagrams = Datagrams(
            session_id=welcome.session_id,
            channel_key=welcome.channel_key,
            relay=(connection.peer[0], welcome.datagram_port),
            find_target=self._find_target,
            open_stream=connection.datagram_stream,
            poller=self._poller,
            clock=self._clock,
            count=self._count_datagrams,
        )
        return asyncio.create_task(
            self._carry_datagrams(self._datagrams), name="datagrams"
        )

    async def _carry_datagrams(self, datagrams: Datagrams) -> None:
        """Wait for the first UDP forward; then carry until cancelled."""
        while not self._wants_datagrams():  # noqa: ASYNC110  rarely, and never in haste
            await asyncio.sleep(_SWEEP_S / 4)
        await datagrams.run()

    def _count_datagrams(self, port: int, moved: Bytes) -> None:
        self._moved_by_udp[port] = self._moved_by_udp.get(port, Bytes()) + moved

    def _wants_datagrams(self) -> bool:
        return any(one.protocol is Protocol.UDP for one in self.forwards)

    async def _declare_all(self) -> None:
        await self.publish(self.hostnames)
        if self.status.can_forward:
            await self.declare(self.forwards)
        self._on_status(self.status)

    def _on_granted(self, granted: Granted) -> None:
        """Take a changed grant; what was refused may be allowed now."""
        _LOGGER.info("The relay has changed what this home may use")
        self._set(
            self.status.state,
            self.status.problem,
            domains=granted.domains,
            ports=Ports(granted.tcp, granted.udp),
        )
        self._tasks.start(self._redeclare(), "declare again")

    async def _redeclare(self) -> None:
        with contextlib.suppress(HearthgateError):
            await self._declare_all()

    def _on_need(self, need: Need) -> None:
        if self._pool is not None:
            self._pool.need(need.count, need.stale_before)

    async def _rest(
        self, state: TunnelState, err: HearthgateError, delay_s: float
    ) -> None:
        """Wait for the next try, or until the user is in a hurry."""
        if self._hurry.is_set():
            return
        problem = Problem.of(err, self._wall_clock() + delay_s)
        if self.status.problem is None or self.status.problem.code != err.code:
            _LOGGER.warning("%s %s", err, err.advice)
        self._set(state, problem)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._hurry.wait()

    def _set(
        self,
        state: TunnelState,
        problem: Problem | None = None,
        *,
        domains: tuple[str, ...] | None = None,
        addresses: tuple[str, ...] | None = None,
        ports: Ports | None = None,
        can_forward: bool | None = None,
    ) -> None:
        old = self.status
        keep_problem = problem is None and state is TunnelState.CONNECTING
        self.status = TunnelStatus(
            state,
            self._wall_clock() if state is not old.state else old.since,
            old.problem if keep_problem else problem,
            old.domains if domains is None else domains,
            old.addresses if addresses is None else addresses,
            old.ports if ports is None else ports,
            old.can_forward if can_forward is None else can_forward,
        )
        self._tell()

    def _tell(self) -> None:
        try:
            self._on_status(self.status)
        except Exception:  # a bug in who listens must not end the session
            _LOGGER.exception("The state of %s could not be told", self._relay)
