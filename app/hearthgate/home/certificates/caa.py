"""Find the CAA record that keeps this authority, or our account, from issuing.

    hostname ──▶ its parents, one by one ──▶ the first CAA set found ──▶ judge

RFC 8659 §3 (climbing) and §4 (properties), RFC 8657 (accounturi, validationmethods).
Only for hostnames without a wildcard, so `issuewild` says nothing here.
"""

from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass

from hearthgate.home.certificates.errors import CaaForbidsError

_CRITICAL = 128
_KNOWN_TAGS = frozenset({"issue", "issuewild", "iodef", "contactemail", "contactphone"})
_METHOD = "http-01"

Record = tuple[int, str, str]  # flags, tag in lower case, value
Lookup = Callable[[str], Awaitable[list[Record] | None]]


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who is going to issue."""

    names: tuple[str, ...]  # caaIdentities of the directory (RFC 8555 §9.7.6)
    account: str | None  # URL of our account; None: not known yet


async def check_caa(hostname: str, issuer: Issuer, lookup: Lookup) -> None:
    """Raise CaaForbidsError if the relevant CAA set forbids it.

    An authority that does not say which names it goes by is not checked.
    """
    if not issuer.names:
        return
    labels = hostname.split(".")
    for start in range(len(labels)):
        domain = ".".join(labels[start:])
        records = await lookup(domain)
        if records is None:
            return  # could not be found out: the authority will say
        if records:
            _judge(domain, records, issuer)
            return


def _judge(domain: str, records: Collection[Record], issuer: Issuer) -> None:
    for flags, tag, value in records:
        if flags & _CRITICAL and tag not in _KNOWN_TAGS:
            raise _forbidden(domain, f"{flags} {tag} {value!r}", issuer)
    issue = [value for _flags, tag, value in records if tag == "issue"]
    if issue and not any(_allows(value, issuer) for value in issue):
        raise _forbidden(domain, ", ".join(f'issue "{one}"' for one in issue), issuer)


def _allows(value: str, issuer: Issuer) -> bool:
    domain, *rest = (part.strip() for part in value.split(";"))
    if domain.lower().rstrip(".") not in [name.lower() for name in issuer.names]:
        return False
    for parameter in rest:
        key, _equals, wanted = parameter.partition("=")
        match key.strip().lower():
            case "accounturi" if issuer.account not in (None, wanted.strip()):
                return False
            case "validationmethods" if _METHOD not in _methods(wanted):
                return False
    return True


def _methods(text: str) -> list[str]:
    return [method.strip().lower() for method in text.split(",")]


def _forbidden(domain: str, record: str, issuer: Issuer) -> CaaForbidsError:
    return CaaForbidsError(domain=domain, record=record, issuer=issuer.names[0])
