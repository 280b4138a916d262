"""Turn what acme, josepy, requests and urllib3 raise into errors for the user.

This is the only place that knows those libraries' exceptions. An authority's malformed
answer surfaces from acme as nearly any built-in exception, because it reads fields
without looking first; ANSWER_EXCEPTIONS is that list.
"""

import datetime as dt
import logging
import ssl

from acme import errors as acme_errors
from acme import messages
import josepy
import requests

from hearthgate.home.certificates import errors
from hearthgate.home.certificates.network import TooManyNoncesError

_LOGGER = logging.getLogger(__name__)

ANSWER_EXCEPTIONS = (
    acme_errors.Error,
    josepy.errors.Error,
    requests.RequestException,
    TooManyNoncesError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    RecursionError,  # what is nested without end
)

# OpenSSL's X509_V_ERR_CERT_NOT_YET_VALID and X509_V_ERR_CERT_HAS_EXPIRED.
_VERIFY_TIME = frozenset({9, 10})
_SERVER_FAULT = 500
_SUBPROBLEMS_MAX = 10
_PROBLEM_CHARS_MAX = 2000

_PORT_80 = (
    "Port 80 of your relay must be open to the whole Internet: check the firewall of "
    "the VPS and of its provider."
)
_PROOF_ADVICE = {
    "connection": _PORT_80,
    "unauthorized": (
        "Something else answered on port 80 of {hostname}. Check that its DNS records "
        "lead to your relay only, and that nothing stands in front of it."
    ),
    "dns": "The authority could not look up {hostname}. Check its DNS records.",
    "caa": "A CAA record of the domain forbids it. Add one that allows {authority}.",
}


def problem_text(problem: messages.Error) -> str:
    """Return the authority's own words: detail and type, with its subproblems.

    As much of them as a person reads; RFC 8555 §6.7.1 has one level of subproblems.
    """
    text = _words(problem)
    for part in (problem.subproblems or ())[:_SUBPROBLEMS_MAX]:
        name = f"{part.identifier.value}: " if part.identifier else ""
        text += f"; {name}{_words(part)}"
    return text[:_PROBLEM_CHARS_MAX]


def _words(problem: messages.Error) -> str:
    words = problem.detail or problem.title or problem.description or "no reason given"
    return f"{words} ({_kind(problem)})"


def translate(
    err: BaseException,
    *,
    authority: str,
    hostname: str,
    now: float,
    retry_after_s: float | None = None,
) -> errors.CertificateError:
    """Return the error that tells the user about err. retry_after_s: Retry-After."""
    retry_at = None if retry_after_s is None else now + retry_after_s
    if isinstance(err, messages.Error):
        return _refusal(err, authority, hostname, retry_at)
    if isinstance(err, TooManyNoncesError):
        return errors.BadNonceError(authority=authority)
    if isinstance(err, requests.ReadTimeout):
        return errors.CaSlowError(authority=authority, waited="no answer")
    if isinstance(err, OSError) and not isinstance(err, ValueError):
        return _unreachable(err, authority, now)
    _LOGGER.warning("%s: %s made no sense", hostname, authority, exc_info=err)
    return _nonsense(err, authority, retry_at)


def proof_failed(
    problem: messages.Error | None, *, authority: str, hostname: str
) -> errors.ProofFailedError:
    """Return the error for a challenge that the authority found wanting."""
    kind = "" if problem is None else _kind(problem)
    advice = _PROOF_ADVICE.get(kind, _PORT_80)
    return errors.ProofFailedError(
        authority=authority,
        hostname=hostname,
        problem="no reason given" if problem is None else problem_text(problem),
        advice=advice.format(hostname=hostname, authority=authority),
    )


def account_refused(
    err: errors.CertificateError, authority: str
) -> errors.CertificateError:
    """Return err as one about the account, if the authority refused that."""
    if not isinstance(err, errors.CaRefusesError):
        return err
    return errors.AccountRefusedError(
        retry_at=err.retry_at, authority=authority, problem=err.fields["problem"]
    )


def _kind(problem: messages.Error) -> str:
    """Return the last part of the type; `code` of acme only knows some of them."""
    return str(problem.typ).rsplit(":", maxsplit=1)[-1]


_REFUSALS: dict[str, type[errors.CertificateError]] = {
    "serverInternal": errors.CaBusyError,
    "externalAccountRequired": errors.ExternalAccountError,
    "userActionRequired": errors.TermsError,
    "accountDoesNotExist": errors.AccountLostError,
}


def _refusal(
    problem: messages.Error, authority: str, hostname: str, retry_at: float | None
) -> errors.CertificateError:
    kind, text = _kind(problem), problem_text(problem)
    if kind == "rateLimited":
        until = "" if retry_at is None else f" until {_clock(retry_at)}"
        return errors.RateLimitedError(
            retry_at=retry_at, authority=authority, problem=text, until=until
        )
    if kind in _PROOF_ADVICE and problem.identifier:
        return proof_failed(problem, authority=authority, hostname=hostname)
    refusal = _REFUSALS.get(kind, errors.CaRefusesError)
    return refusal(retry_at=retry_at, authority=authority, problem=text)


def _response(err: BaseException) -> requests.Response | None:
    """Return the answer that acme could not read, if err carries one."""
    found = err.args[0] if err.args else None
    if isinstance(found, tuple) and found:
        found = found[0]
    return found if isinstance(found, requests.Response) else None


def _nonsense(
    err: BaseException, authority: str, retry_at: float | None
) -> errors.CertificateError:
    response = _response(err)
    if response is None:
        reason = f"{type(err).__name__}: {str(err)[:200]}"
    elif response.status_code >= _SERVER_FAULT:
        problem = f"HTTP status {response.status_code}"
        return errors.CaBusyError(
            retry_at=retry_at, authority=authority, problem=problem
        )
    else:
        reason = f"HTTP status {response.status_code}, but not as ACME"
    return errors.CaNonsenseError(authority=authority, reason=reason)


def _unreachable(
    err: BaseException, authority: str, now: float
) -> errors.CertificateError:
    refused = _verification(err)
    if refused is None:
        return errors.CaUnreachableError(authority=authority, reason=_root_cause(err))
    reason = refused.verify_message or "its certificate does not verify"
    if refused.verify_code in _VERIFY_TIME:
        return errors.ClockWrongError(
            reason=f"{authority} shows one where {reason}", now=_clock(now)
        )
    return errors.CaTlsError(authority=authority, reason=reason)


def _verification(err: BaseException) -> ssl.SSLCertVerificationError | None:
    """Return the refusal of a certificate, from deep inside urllib3's wrapping."""
    for cause in _causes(err):
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
    return None


def _root_cause(err: BaseException) -> str:
    """Return the innermost reason in words, without object addresses."""
    for cause in reversed(_causes(err)):
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
    return type(_causes(err)[-1]).__name__


def _causes(err: BaseException) -> list[BaseException]:
    """Return err and everything that it wraps, outermost first."""
    found: list[BaseException] = []
    waiting = [err]
    while waiting:
        one = waiting.pop(0)
        if any(one is other for other in found):
            continue
        found.append(one)
        inner = [one.__cause__, one.__context__, getattr(one, "reason", None)]
        waiting += [x for x in (*inner, *one.args) if isinstance(x, BaseException)]
    return found


def _clock(when: float) -> str:
    return dt.datetime.fromtimestamp(when, dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
