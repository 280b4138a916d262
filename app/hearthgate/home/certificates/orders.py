"""Get a certificate for a hostname: check, order, prove, store.

    CHECKING_DNS ─▶ addresses ─▶ directory ─▶ CAA
    ORDERING     ─▶ account ─▶ new order ──▶ (PROVING) ──▶ chain ──▶ disk

A bounded number at a time. Every failure is a CertificateError, and leaves the
certificate at hand as it was. Does not know when to renew, nor how often to try.
"""

import asyncio
from collections.abc import Callable, Collection
import datetime as dt
from enum import StrEnum
import logging

from hearthgate.errors import HearthgateError
from hearthgate.home.certificates import errors
from hearthgate.home.certificates.account import Account
from hearthgate.home.certificates.caa import Issuer, check_caa
from hearthgate.home.certificates.dns_check import DnsCheck
from hearthgate.home.certificates.order import Answers, OrderWish, obtain
from hearthgate.home.certificates.pem import UnfitError
from hearthgate.home.certificates.session import Session
from hearthgate.home.certificates.settings import AcmeSettings
from hearthgate.home.certificates.state import Window
from hearthgate.home.certificates.store import CertificateStore, Stored
from hearthgate.home.model import Phase
from hearthgate.wire.names import HostnameInvalidError, fold_hostname

_LOGGER = logging.getLogger(__name__)
_HOUR_S = 3600.0


class Step(StrEnum):
    """How far an order has come. The values are those of Phase."""

    CHECKING_DNS = Phase.CHECKING_DNS
    ORDERING = Phase.ORDERING
    PROVING = Phase.PROVING


class Orders:
    """Place orders at one authority."""

    def __init__(
        self,
        settings: AcmeSettings,
        *,
        account: Account,
        store: CertificateStore,
        answers_for: Callable[[str], Answers],
        clock: Callable[[], float],
    ) -> None:
        """Keep the parts; nothing is sent yet."""
        self._settings = settings
        self._account = account
        self._store = store
        self._answers_for = answers_for
        self._clock = clock
        self._dns = DnsCheck(settings.dns_servers, question_s=settings.limits.dns_s)
        self._places = asyncio.Semaphore(settings.limits.orders)

    async def place(
        self,
        hostname: str,
        progress: Callable[[Step], None],
        *,
        addresses: Collection[str],
        replaces: Stored | None,
    ) -> Stored:
        """Return a new certificate, already on disk. Raises CertificateError.

        addresses are the relay's; for a renewal (replaces) the DNS is left to the
        authority, because an order costs nothing there if the proof still works.
        """
        check_hostname(hostname)
        progress(Step.CHECKING_DNS)
        if replaces is None:
            await self._dns.check_addresses(hostname, addresses)
        async with self._places, await self._session(hostname) as session:
            combined = await self._bounded(session, progress, replaces)
        return await self._keep(hostname, combined)

    async def window(
        self, hostname: str, renewal_id: str
    ) -> tuple[Window | None, float | None]:
        """Ask when to renew; with the seconds of Retry-After. Raises CertificateError.

        No window: the authority makes no suggestions.
        """
        async with self._places, await self._session(hostname) as session:
            await session.open()
            if not session.client.suggests_renewals:
                return None, None
            window = await session.call(session.client.renewal_window, renewal_id)
            return window, session.retry_after_s

    async def _session(self, hostname: str) -> Session:
        try:
            key = await self._account.key()
        except HearthgateError as err:
            raise errors.NotStoredError(hostname=hostname, reason=str(err)) from err
        return Session(self._settings, key, hostname=hostname, clock=self._clock)

    async def _bounded(
        self,
        session: Session,
        progress: Callable[[Step], None],
        replaces: Stored | None,
    ) -> bytes:
        limit_s = self._settings.limits.order_s
        try:
            async with asyncio.timeout(limit_s):
                return await self._order(session, progress, replaces)
        except TimeoutError as err:
            raise errors.CaSlowError(
                authority=self._settings.authority,
                waited=f"{limit_s:.0f} seconds for one order",
            ) from err

    async def _order(
        self,
        session: Session,
        progress: Callable[[Step], None],
        replaces: Stored | None,
    ) -> bytes:
        hostname = session.hostname
        await self._check_room(hostname)
        await session.open()
        issuer = Issuer(session.client.issuers, self._account.url)
        await check_caa(hostname, issuer, self._dns.caa)
        progress(Step.ORDERING)
        wish = OrderWish(
            hostname=hostname,
            answers=lambda: self._answers_for(hostname),
            on_proving=lambda: progress(Step.PROVING),
            replaces=None if replaces is None else replaces.leaf.renewal_id,
        )
        return await obtain(session, self._account, wish)

    async def _check_room(self, hostname: str) -> None:
        """Find out that the disk is full before the weekly limit pays for it."""
        try:
            await asyncio.to_thread(self._store.check_room, hostname)
        except HearthgateError as err:
            raise errors.NotStoredError(hostname=hostname, reason=str(err)) from err

    async def _keep(self, hostname: str, combined: bytes) -> Stored:
        try:
            stored = await asyncio.to_thread(self._store.put, hostname, combined)
        except UnfitError as err:
            raise errors.CertificateUnfitError(
                authority=self._settings.authority, reason=err
            ) from err
        except HearthgateError as err:
            raise errors.NotStoredError(hostname=hostname, reason=str(err)) from err
        self._compare_clocks(hostname, stored)
        return stored

    def _compare_clocks(self, hostname: str, stored: Stored) -> None:
        now = self._clock()
        if stored.leaf.not_after <= now:
            raise errors.ClockWrongError(
                reason=f"the new one for {hostname} has already expired", now=_utc(now)
            )
        if stored.leaf.not_before > now + _HOUR_S:
            _LOGGER.warning(
                "%s: the new certificate is not valid yet; is our clock (%s) right?",
                hostname,
                _utc(now),
            )


def is_usable(hostname: str) -> bool:
    """Return whether this can be ordered, and safely be a file name too."""
    try:
        return fold_hostname(hostname) == hostname
    except HostnameInvalidError:
        return False


def check_hostname(hostname: str) -> None:
    """Raise HostnameUnusableError for what cannot be ordered."""
    if not is_usable(hostname):
        raise errors.HostnameUnusableError(hostname=hostname)


def _utc(when: float) -> str:
    return dt.datetime.fromtimestamp(when, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
