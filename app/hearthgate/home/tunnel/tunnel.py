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

from hearthgate.backoff import Backoff
from hearthgate.errors import HearthgateError
from hearthgate.home.model import Problem
from hearthgate.home.tunnel.control import ControlConnection
from hearthgate.home.tunnel.errors import (
    RelayAwayError,
    RelayKeyError,
    RelayRefusedError,
)
from hearthgate.home.tunnel.identity import Identity
from hearthgate.home.tunnel.pool import ChannelPool, HandOver, Ticket
from hearthgate.poller import Poller
from hearthgate.wire.control import GoodbyeReason, Need, Welcome

_LOGGER = logging.getLogger(__name__)

_RETRY_FIRST_S = 0.5
# A relay that stops has a successor as a rule, and visitors wait there. The homes of
# one relay come back spread over this long.
_COME_BACK_WITHIN_S = 0.2
_RETRY_MOST_S = 30.0
_HOLDS_AFTER_S = 60.0
_REFUSED_RETRY_S = 300.0  # what a person has to mend is not mended every second
_SWEEP_S = 1.0


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


@dataclass(frozen=True, slots=True)
class TunnelOptions:
    """Which relay, and how many channels."""

    relay_id: str
    host: str
    port: int
    fingerprint: bytes
    channels_min: int = 4
    channels_max: int = 64


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
    ) -> None:
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
        self._rng = rng
        self._is_expected = False  # the relay said that it stops, and to come back
        self.status = TunnelStatus(TunnelState.CONNECTING, wall_clock())
        self.refused: dict[str, str] = {}  # hostnames that the relay did not take
        self.is_published = False  # the relay has taken the set, in this session

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
        """Connect anew now, whatever the present connection looks like."""
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
            self.refused = await self._connection.publish(self.hostnames)
            self.is_published = True
            return self.refused

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
        while True:
            self._hurry.clear()
            self._set(TunnelState.CONNECTING)
            try:
                problem = await self._session_or_hurry()
            except (RelayRefusedError, RelayKeyError) as err:
                await self._rest(TunnelState.REFUSED, err, _REFUSED_RETRY_S)
            except HearthgateError as err:
                await self._rest(TunnelState.WAITING, err, self._backoff.delay())
            else:
                await self._rest(TunnelState.WAITING, problem, self._delay())

    def _delay(self) -> float:
        """Return how long to wait after a session that the relay or the net ended."""
        is_expected, self._is_expected = self._is_expected, False
        if is_expected:
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
            raise RelayRefusedError(
                message="The key for this relay cannot be read.",
                hint=f"Forget the relay here and pair again ({err}).",
            ) from err
        connection = ControlConnection(
            options.host, options.port, options.fingerprint, context, self._on_need
        )
        try:
            welcome = await connection.open()
            return await self._hold(connection, welcome)
        finally:
            self._connection = None
            self.is_published = False
            if self._pool is not None:
                self._pool.close()
                self._pool = None
            await connection.close()

    async def _hold(
        self, connection: ControlConnection, welcome: Welcome
    ) -> HearthgateError:
        address = connection.peer
        self._pool = ChannelPool(
            Ticket(
                welcome.session_id, welcome.channel_key, address, welcome.channels_max
            ),
            self._hand_over,
            self._poller,
            channels_min=self._options.channels_min,
            channels_max=self._options.channels_max,
            clock=self._clock,
        )
        self._connection = connection
        self._backoff.succeeded()
        keeper = asyncio.create_task(self._keep(), name="keep the pool")
        self._pool.fill()
        self._set(
            TunnelState.CONNECTED,
            domains=welcome.domains,
            addresses=welcome.addresses or (address[0],),
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
            await asyncio.gather(keeper, return_exceptions=True)
        _LOGGER.info("Left the relay %s: %s", connection.relay, reason or "lost")
        self._is_expected = reason is GoodbyeReason.STOPPING
        if reason is GoodbyeReason.REVOKED:
            raise RelayRefusedError(
                message="The relay's owner has removed this home.",
                hint="Ask for a new pairing code, and pair again.",
            )
        return RelayAwayError()

    async def _keep(self) -> None:
        """Publish what is public, then look after the pool."""
        with contextlib.suppress(HearthgateError):
            # Its end ends the session too; nobody waits for this one.
            await self.publish(self.hostnames)
            self._on_status(self.status)
        while True:
            await asyncio.sleep(_SWEEP_S)
            if self._pool is not None:
                self._pool.sweep()

    def _on_need(self, need: Need) -> None:
        if self._pool is not None:
            self._pool.need(need.count, need.stale_before)

    async def _rest(
        self, state: TunnelState, err: HearthgateError, delay_s: float
    ) -> None:
        """Wait for the next try, or until the user is in a hurry."""
        if self._hurry.is_set():
            return
        problem = Problem(
            err.code, str(err), err.advice, retry_at=self._wall_clock() + delay_s
        )
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
    ) -> None:
        old = self.status
        keep_problem = problem is None and state is TunnelState.CONNECTING
        self.status = TunnelStatus(
            state,
            self._wall_clock() if state is not old.state else old.since,
            old.problem if keep_problem else problem,
            old.domains if domains is None else domains,
            old.addresses if addresses is None else addresses,
        )
        self._on_status(self.status)
