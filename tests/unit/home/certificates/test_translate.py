"""Foreign exceptions become sentences."""

import ssl

from acme import errors as acme_errors
from acme import messages
import pytest
import requests

from hearthgate.home.certificates import errors
from hearthgate.home.certificates.network import TooManyNoncesError, retry_after_s
from hearthgate.home.certificates.translate import translate

NOW = 1_800_000_000.0


def told(err: BaseException, retry: float | None = None) -> errors.CertificateError:
    return translate(
        err,
        authority="ca.test",
        hostname="home.example.com",
        now=NOW,
        retry_after_s=retry,
    )


def verification(code: int) -> requests.RequestException:
    inner = ssl.SSLCertVerificationError(1, "failed")
    inner.verify_code = code
    inner.verify_message = "certificate is not yet valid"
    outer = requests.exceptions.SSLError("wrapped")
    outer.__cause__ = inner
    return outer


@pytest.mark.parametrize(
    ("err", "kind"),
    [
        (messages.Error.with_code("serverInternal"), errors.CaBusyError),
        (messages.Error.with_code("malformed"), errors.CaRefusesError),
        (messages.Error.from_json({"type": "urn:x:new"}), errors.CaRefusesError),
        (messages.Error.with_code("rateLimited"), errors.RateLimitedError),
        (
            messages.Error.with_code("externalAccountRequired"),
            errors.ExternalAccountError,
        ),
        (TooManyNoncesError(), errors.BadNonceError),
        (requests.ReadTimeout(), errors.CaSlowError),
        (requests.ConnectTimeout(), errors.CaUnreachableError),
        (requests.ConnectionError("x"), errors.CaUnreachableError),
        (ConnectionResetError(104, "reset"), errors.CaUnreachableError),
        (verification(9), errors.ClockWrongError),
        (verification(10), errors.ClockWrongError),
        (verification(19), errors.CaTlsError),
        (KeyError("newOrder"), errors.CaNonsenseError),
        (requests.exceptions.JSONDecodeError("x", "", 0), errors.CaNonsenseError),
        (acme_errors.ClientError("x"), errors.CaNonsenseError),
    ],
)
def test_each_cause_has_its_class(
    err: BaseException, kind: type[errors.CertificateError]
) -> None:
    found = told(err)
    assert type(found) is kind
    assert "ca.test" in str(found)
    assert found.advice
    assert found.as_dict()["code"] == kind.code


def test_the_time_that_the_authority_named_is_kept_and_told() -> None:
    found = told(messages.Error.with_code("rateLimited", detail="too much"), 7200)
    assert found.retry_at == NOW + 7200
    assert "until 2027-01-15 10:00 UTC" in str(found)
    assert "too much (rateLimited)" in str(found)


def test_braces_in_the_authoritys_words_are_harmless() -> None:
    found = told(messages.Error.with_code("malformed", detail="{hostname} {0} {"))
    assert "{hostname} {0} {" in str(found)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("120", 120.0),
        (" 5 ", 5.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        ("9" * 40, 1e9),
        ("Fri, 15 Jan 2027 08:10:00 GMT", 600.0),
        ("Fri, 15 Jan 1999 08:10:00 GMT", 0.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(
    header: str | None, expected: float | None
) -> None:
    assert retry_after_s(header, NOW) == expected
