"""One order, from the question to the signed chain (RFC 8555 §7.1.6, §8.3).

    newOrder ──▶ for each open authorization:
                   show the answer ──▶ "ready" ──▶ poll ──▶ withdraw the answer
             ──▶ finalize ──▶ poll ──▶ download

The answer is withdrawn whatever happens, also when cancelled. Knows nothing of files,
renewals or how often to try.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
import contextlib
from dataclasses import dataclass
import logging
from typing import Protocol

from acme import challenges, messages
from cryptography.hazmat.primitives.asymmetric import ec

from hearthgate.errors import HearthgateError
from hearthgate.home.certificates import errors
from hearthgate.home.certificates.account import Account
from hearthgate.home.certificates.pem import combine, make_request, new_key
from hearthgate.home.certificates.session import Session
from hearthgate.home.certificates.translate import proof_failed

_LOGGER = logging.getLogger(__name__)

# The first questions come quickly, because a proof often takes only a moment.
_POLL_FIRST_S = 0.2
_POLL_GROWTH = 1.5
_POLL_MOST_S = 5.0
# A Retry-After in a poll is followed up to this: the order has a deadline of its own.
_POLL_ASKED_MOST_S = 30.0


class Answers(Protocol):
    """Where answers are shown: port 80 of the relay that owns the hostname."""

    async def publish_answer(
        self, hostname: str, token: str, key_authorization: str
    ) -> None:
        """Return when the answer is there for everybody to fetch."""

    async def withdraw_answer(self, hostname: str, token: str) -> None:
        """Return when it is gone; one that was never there is no error."""


@dataclass(frozen=True, slots=True)
class OrderWish:
    """What to order and how to prove it."""

    hostname: str
    answers: Callable[[], Answers]
    on_proving: Callable[[], None]
    replaces: str | None = None  # renewal id of the certificate at hand


async def obtain(session: Session, account: Account, wish: OrderWish) -> bytes:
    """Return chain and fresh private key as one PEM. Raises CertificateError.

    The session is open. The caller bounds the whole by a timeout.
    """
    await account.use(session)
    try:
        order = await _place(session, wish)
    except errors.AccountLostError:
        await account.forget(account.url)
        await account.use(session)
        order = await _place(session, wish)
    for authorization in order.authorizations:
        await _prove(session, wish, authorization)
    key = new_key()
    return await _finalize(session, order, key)


async def _place(session: Session, wish: OrderWish) -> messages.OrderResource:
    return await session.call(
        session.client.order,
        wish.hostname,
        profile=session.settings.profile,
        replaces=wish.replaces,
    )


async def _prove(
    session: Session, wish: OrderWish, authorization: messages.AuthorizationResource
) -> None:
    """Bring one authorization to valid. One from an earlier order may already be."""
    status = authorization.body.status
    if status == messages.STATUS_VALID:
        return
    if status != messages.STATUS_PENDING:
        raise _failed(session, authorization)
    challenge = _http_challenge(session, authorization)
    wish.on_proving()
    async with _shown(session, wish, challenge):
        response = challenge.chall.response(session.key)
        await session.call(session.client.answer_challenge, challenge, response)
        pace = _Pace(session)
        while True:
            await pace.wait()
            seen = await session.call(session.client.authorization, authorization.uri)
            if seen.body.status == messages.STATUS_VALID:
                return
            if seen.body.status != messages.STATUS_PENDING:
                raise _failed(session, seen)


def _http_challenge(
    session: Session, authorization: messages.AuthorizationResource
) -> messages.ChallengeBody:
    offered = authorization.body.challenges or ()
    for challenge in offered:
        if isinstance(challenge.chall, challenges.HTTP01):
            return challenge
    raise errors.NoHttpProofError(
        authority=session.settings.authority,
        hostname=session.hostname,
        offered=", ".join(str(one.chall.typ) for one in offered) or "nothing",
    )


def _failed(
    session: Session, authorization: messages.AuthorizationResource
) -> errors.CertificateError:
    found = [one.error for one in authorization.body.challenges or () if one.error]
    problem = found[0] if found else None
    return proof_failed(
        problem, authority=session.settings.authority, hostname=session.hostname
    )


@contextlib.asynccontextmanager
async def _shown(
    session: Session, wish: OrderWish, challenge: messages.ChallengeBody
) -> AsyncIterator[None]:
    """Show the answer to a challenge for as long as the context lasts."""
    token = challenge.chall.encode("token")
    key_authorization = challenge.chall.key_authorization(session.key)
    limit_s = session.settings.limits.answer_s
    with _relay_errors(wish.hostname):
        answers = wish.answers()
    try:
        with _relay_errors(wish.hostname):
            async with asyncio.timeout(limit_s):
                await answers.publish_answer(wish.hostname, token, key_authorization)
        yield
    finally:
        # Also if publishing failed half-way. The relay forgets answers by itself, so
        # not being able to withdraw one is no reason to fail.
        try:
            async with asyncio.timeout(limit_s):
                await answers.withdraw_answer(wish.hostname, token)
        except (HearthgateError, OSError) as err:
            _LOGGER.warning("%s: the answer stays for now: %s", wish.hostname, err)


@contextlib.contextmanager
def _relay_errors(hostname: str) -> Iterator[None]:
    try:
        yield
    except TimeoutError as err:
        reason = "it did not confirm in time."
        raise errors.AnswerNotShownError(hostname=hostname, reason=reason) from err
    except (HearthgateError, OSError) as err:
        raise errors.AnswerNotShownError(hostname=hostname, reason=str(err)) from err


async def _finalize(
    session: Session, order: messages.OrderResource, key: ec.EllipticCurvePrivateKey
) -> bytes:
    """Hand in the request and wait for the chain."""
    request = make_request(key, session.hostname)
    body = await session.call(session.client.finalize, order, request)
    pace = _Pace(session)
    while True:
        if body.status == messages.STATUS_VALID and body.certificate:
            chain = await session.call(session.client.certificate, body.certificate)
            return combine(chain, key)
        if body.status == messages.STATUS_INVALID:
            raise _order_refused(session, body)
        await pace.wait()
        body = await session.call(session.client.order_now, order)


def _order_refused(session: Session, body: messages.Order) -> errors.CertificateError:
    authority = session.settings.authority
    if body.error is None:
        return errors.CaRefusesError(authority=authority, problem="no reason given")
    return session.translated(body.error)


class _Pace:
    """How long to wait between two questions about the same thing."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._next_s = _POLL_FIRST_S

    async def wait(self) -> None:
        asked_s = self._session.retry_after_s
        wait_s = self._next_s if asked_s is None else min(asked_s, _POLL_ASKED_MOST_S)
        self._next_s = min(self._next_s * _POLL_GROWTH, _POLL_MOST_S)
        # Never less than the first wait, whatever the authority says.
        await asyncio.sleep(max(wait_s, _POLL_FIRST_S))
