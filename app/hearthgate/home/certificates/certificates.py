"""The certificates of a home: get one, keep it, renew it.

    ensure(hostname) ──▶ on disk? ──no──▶ pause asked for? ──no──▶ order ──▶ disk
    run() ──▶ due? ──▶ order ──▶ disk ──▶ on_renewed           (failures: back off)

The old certificate stays, and is used, until a new one is on disk. What failed, when
to try again and what the authority suggested survive a restart. Knows nothing of the
edge; whoever uses a certificate hears of a new one by on_renewed, and by on_failed of
an order that failed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
import contextlib
from dataclasses import replace
import logging
from pathlib import Path
import random
import time

from hearthgate.errors import quoted
from hearthgate.home.certificates import errors, renewal
from hearthgate.home.certificates.account import Account
from hearthgate.home.certificates.current_state import CurrentState
from hearthgate.home.certificates.order import Answers
from hearthgate.home.certificates.orders import Orders, Step, check_hostname, is_usable
from hearthgate.home.certificates.renewer import Renewer
from hearthgate.home.certificates.settings import AcmeSettings
from hearthgate.home.certificates.state import HostState
from hearthgate.home.certificates.store import Certificate, CertificateStore, Stored
from hearthgate.home.model import Problem
from hearthgate.shared.storage.folders import private_folder

_LOGGER = logging.getLogger(__name__)

# The edge starts a new HAProxy and switches over: two seconds, thirty on a bad day.
_ON_RENEWED_S = 120.0


class Certificates:
    """Every certificate of a home at one authority. Lives in one event loop."""

    def __init__(
        self,
        folder: Path,
        settings: AcmeSettings,
        *,
        answers_for: Callable[[str], Answers],
        on_renewed: Callable[[Certificate], Awaitable[None]],
        on_failed: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
    ) -> None:
        """Read what is on disk. Blocking, but only for a few small files.

        answers_for may raise a HearthgateError if no relay can show an answer now.
        Raises StateError if the folder cannot be used.
        """
        own = private_folder(private_folder(folder) / settings.folder_name)
        self._clock = clock
        self._rng = rng or random.Random()  # noqa: S311 (spreads load, hides nothing)
        self._on_renewed = on_renewed
        self._on_failed = on_failed
        self._store = CertificateStore(own, clock=clock)
        self._current = CurrentState(own / "state.yaml", settings.directory_url)
        self._account = Account(
            own / "account.pem",
            url=self._current.account,
            keep=self._current.put_account,
        )
        self._orders = Orders(
            settings,
            account=self._account,
            store=self._store,
            answers_for=answers_for,
            clock=clock,
        )
        self._renewer = Renewer(
            next_at=self._next_at, look_after=self._look_after, clock=clock
        )
        self._addresses: dict[str, tuple[str, ...]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    @property
    def account_url(self) -> str | None:
        """Return the account's URL, which a CAA record can name (RFC 8657)."""
        return self._account.url

    def get(self, hostname: str) -> Certificate | None:
        """Return a usable, unexpired certificate from disk."""
        stored = self._store.get(hostname) if is_usable(hostname) else None
        return None if stored is None else stored.certificate

    async def ensure(
        self,
        hostname: str,
        progress: Callable[[Step], None],
        *,
        addresses: Collection[str] = (),
    ) -> Certificate:
        """Return the certificate at hand, or order one. Raises CertificateError.

        addresses: the public ones of the relay, which the hostname must lead to; with
        none of them it only must lead somewhere. Our own back-off does not hold up a
        user, a pause that the authority asked for does.
        """
        check_hostname(hostname)
        self._addresses[hostname] = tuple(addresses)
        stored = self._store.get(hostname)
        if stored is not None:
            return stored.certificate  # a renewal may hold the lock for minutes
        async with self._lock(hostname):
            stored = self._store.get(hostname)
            if stored is None:
                self._raise_if_held(hostname)
                stored = await self._obtain(hostname, progress, None)
            return stored.certificate

    def keep(self, hostnames: Collection[str]) -> None:
        """Say which hostnames run() looks after.

        One without a usable certificate gets one too, as soon as its back-off allows.
        Certificates of others stay on disk.
        """
        usable = frozenset(filter(is_usable, hostnames))
        for hostname in sorted(frozenset(hostnames) - usable):
            _LOGGER.error("%r can't have a certificate", hostname)
        self._renewer.keep(usable)

    async def run(self) -> None:
        """Renew until cancelled."""
        await self._renewer.run()

    def problem(self, hostname: str) -> Problem | None:
        """Return why the last order failed; None once one succeeded."""
        return self._current.host(hostname).problem

    def _lock(self, hostname: str) -> asyncio.Lock:
        return self._locks.setdefault(hostname, asyncio.Lock())

    def _raise_if_held(self, hostname: str) -> None:
        state = self._current.host(hostname)
        now = self._clock()
        until = renewal.held_until(state, now)
        if until > now and state.problem is not None:
            why = state.problem
            words = quoted(why.code, why.message, why.hint, why.fields)
            raise errors.PauseError(retry_at=until, **words)

    async def _obtain(
        self, hostname: str, progress: Callable[[Step], None], replaces: Stored | None
    ) -> Stored:
        """Order, and write down how that went. The hostname is locked."""
        try:
            stored = await self._orders.place(
                hostname,
                progress,
                addresses=self._addresses.get(hostname, ()),
                replaces=replaces,
            )
        except errors.CertificateError as err:
            await self._write_failure(hostname, err)
            raise
        except Exception as err:
            # A bug must count as a failure too, or its repetition would use up the
            # authority's limits.
            _LOGGER.exception("%s: bug while ordering", hostname)
            bug = errors.InternalError(hostname=hostname, reason=type(err).__name__)
            await self._write_failure(hostname, bug)
            raise bug from err
        state = renewal.issued(stored.leaf, self._clock(), self._rng)
        await self._write(hostname, state)
        _LOGGER.info("%s: new certificate", hostname)
        return stored

    async def _write_failure(self, hostname: str, err: errors.CertificateError) -> None:
        now = self._clock()
        state = self._current.host(hostname)
        state = renewal.failed(state, now, err.retry_at, self._rng)
        retry_at = max(state.retry_at or 0.0, state.held_until or 0.0)
        problem = Problem.of(err, retry_at)
        _LOGGER.warning(
            "%s: %s Next try in %.0f s", hostname, err, max(0.0, retry_at - now)
        )
        await self._write(hostname, replace(state, problem=problem))
        self._on_failed(hostname)

    async def _write(self, hostname: str, state: HostState) -> None:
        await asyncio.to_thread(self._current.put_host, hostname, state)

    # --- renewal ---

    def _next_at(self, hostname: str) -> float:
        stored, state = self._store.get(hostname), self._current.host(hostname)
        if stored is None:
            return renewal.due(state, None, self._clock())
        if state.serial != stored.leaf.serial or state.ask_at is None:
            return 0.0  # nothing planned yet for this certificate
        return min(state.ask_at, renewal.due(state, stored.leaf, self._clock()))

    async def _look_after(self, hostname: str) -> None:
        """Do what is due for one hostname: plan, ask, renew."""
        async with self._lock(hostname):
            stored = self._store.get(hostname)
            leaf = None
            if stored is not None:
                leaf = stored.leaf
                await self._plan(hostname, stored)
            now = self._clock()
            if renewal.due(self._current.host(hostname), leaf, now) > now:
                return
            with contextlib.suppress(errors.CertificateError):  # is written down
                renewed = await self._obtain(hostname, _nobody_watches, stored)
                await self._tell(renewed.certificate)

    async def _plan(self, hostname: str, stored: Stored) -> None:
        """Make sure that there is a plan, and that the authority was asked lately."""
        before = self._current.host(hostname)
        state = renewal.planned(before, stored.leaf, self._rng)
        if state.ask_at is None or state.ask_at <= self._clock():
            state = await self._ask(hostname, stored, state)
        if state != before:
            await self._write(hostname, state)

    async def _ask(self, hostname: str, stored: Stored, state: HostState) -> HostState:
        """Ask the authority when to renew (RFC 9773). A failure changes no plan."""
        renewal_id, retry_after_s, window = stored.leaf.renewal_id, None, None
        try:
            if renewal_id is not None:
                window, retry_after_s = await self._orders.window(hostname, renewal_id)
        except errors.CertificateError as err:
            _LOGGER.info("%s: no renewal information: %s", hostname, err)
        now = self._clock()
        state = replace(state, ask_at=renewal.ask_again(now, retry_after_s, self._rng))
        if window is None:
            return state
        suggestion = renewal.suggested(state.suggestion, window, now, self._rng)
        if suggestion.reason_url and suggestion != state.suggestion:
            _LOGGER.info("%s: renewal, see %s", hostname, suggestion.reason_url)
        return replace(state, suggestion=suggestion)

    async def _tell(self, certificate: Certificate) -> None:
        try:
            async with asyncio.timeout(_ON_RENEWED_S):
                await self._on_renewed(certificate)
        except Exception:  # the certificate is on disk; the next start will use it
            _LOGGER.exception("%s: renewed, but not in use yet", certificate.hostname)


def _nobody_watches(_step: Step) -> None:
    """Renewals show no steps."""
