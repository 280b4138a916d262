"""CAA properties as RFC 8659 and RFC 8657 define them."""

import pytest

from hearthgate.home.certificates.caa import Issuer, Record, check_caa
from hearthgate.home.certificates.errors import CaaForbidsError

OURS = "https://ca.test/acct/1"
US = Issuer(("letsencrypt.org",), OURS)


async def allowed(records: list[Record], issuer: Issuer = US) -> bool:
    async def lookup(_domain: str) -> list[Record]:
        return records

    try:
        await check_caa("home.example.com", issuer, lookup)
    except CaaForbidsError:
        return False
    return True


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([(0, "issue", "letsencrypt.org")], True),
        ([(0, "issue", " LetsEncrypt.org ; x=y")], True),
        ([(0, "issue", "other.test"), (0, "issue", "letsencrypt.org")], True),
        ([(0, "issue", ";")], False),
        ([(0, "issue", "")], False),
        ([(0, "issue", "other.test")], False),
        ([(0, "iodef", "mailto:x@example.com")], True),
        ([(0, "issuewild", ";")], True),
        ([(128, "issue", "letsencrypt.org")], True),
        ([(128, "future", "x")], False),
        ([(0, "future", "x")], True),
        ([(0, "issue", f"letsencrypt.org; accounturi={OURS}")], True),
        ([(0, "issue", f"letsencrypt.org;accounturi={OURS}2")], False),
        ([(0, "issue", "letsencrypt.org; validationmethods=http-01")], True),
        ([(0, "issue", "letsencrypt.org; validationmethods=dns-01,http-01")], True),
        ([(0, "issue", "letsencrypt.org; validationmethods=dns-01")], False),
    ],
)
async def test_records_allow_or_forbid(
    records: list[Record], *, expected: bool
) -> None:
    assert await allowed(records) is expected


async def test_an_account_that_is_not_known_yet_is_not_judged() -> None:
    record = (0, "issue", f"letsencrypt.org; accounturi={OURS}9")
    assert await allowed([record], Issuer(("letsencrypt.org",), None))


async def test_an_authority_without_a_name_is_not_judged() -> None:
    assert await allowed([(0, "issue", ";")], Issuer((), None))


async def test_climbing_asks_each_parent_once_and_stops_at_the_first_set() -> None:
    asked = []

    async def lookup(domain: str) -> list[Record]:
        asked.append(domain)
        return [(0, "issue", "letsencrypt.org")] if domain == "example.com" else []

    await check_caa("a.b.example.com", US, lookup)
    assert asked == ["a.b.example.com", "b.example.com", "example.com"]
