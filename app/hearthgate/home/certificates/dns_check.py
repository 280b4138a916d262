"""Look at a hostname's DNS before the authority does, to say what is missing.

    system resolver ──▶ judge ──fine──▶ go on
                          │ not fine: perhaps cached, or overridden on the LAN
                          ▼
    the domain's own name servers ──▶ judge ──▶ go on, or a DnsError

Only a certain fault stops an order: what cannot be found out is logged and left to the
authority. Proves nothing; the authority looks for itself.
"""

import asyncio
from collections.abc import Collection
from dataclasses import dataclass
import ipaddress
import logging
from typing import Any

import dns.asyncresolver
import dns.exception
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from hearthgate.home.certificates import errors
from hearthgate.home.certificates.authoritative import find_addresses
from hearthgate.home.certificates.small_answers import small_answers

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """What a hostname resolves to. None: could not be found out."""

    v4: frozenset[str] | None
    v6: frozenset[str] | None

    @property
    def known(self) -> frozenset[str]:
        """Return all that were found."""
        return (self.v4 or frozenset()) | (self.v6 or frozenset())


class DnsCheck:
    """Ask about hostnames. May be used by several tasks at once."""

    def __init__(
        self, servers: tuple[tuple[str, int], ...], *, question_s: float
    ) -> None:
        """Ask these servers (IP address, port), or the system's if there are none."""
        self._servers = servers
        self._question_s = question_s

    async def check_addresses(self, hostname: str, relay: Collection[str]) -> None:
        """Raise DnsError if hostname does not lead to one of the relay's addresses.

        relay empty: only checks that it leads somewhere.
        """
        expected = frozenset(normal(address) for address in relay)
        fault = judge(hostname, await self._addresses(hostname), expected)
        if fault is None:
            return
        if not self._servers:
            fault = await self._second_opinion(hostname, expected, fault)
        if fault is not None:
            raise fault

    async def caa(self, domain: str) -> list[tuple[int, str, str]] | None:
        """Return the CAA records of exactly this name; None: could not be found out."""
        try:
            answer = await self._ask(domain, dns.rdatatype.CAA)
        except dns.exception.DNSException as err:
            _LOGGER.info("%s: CAA records unknown: %s", domain, err)
            return None
        return [
            (one.flags, one.tag.decode("ascii", "replace").lower(), _text(one.value))
            for one in answer
        ]

    async def _addresses(self, hostname: str) -> Addresses:
        v4, v6 = await asyncio.gather(
            self._family(hostname, dns.rdatatype.A),
            self._family(hostname, dns.rdatatype.AAAA),
        )
        return Addresses(v4, v6)

    async def _family(
        self, hostname: str, kind: dns.rdatatype.RdataType
    ) -> frozenset[str] | None:
        try:
            answer = await self._ask(hostname, kind)
        except dns.exception.DNSException as err:
            _LOGGER.warning("%s: %s records unknown: %s", hostname, kind.name, err)
            return None
        return frozenset(normal(one.address) for one in answer)

    async def _ask(self, name: str, kind: dns.rdatatype.RdataType) -> list[Any]:
        """Return the records, none if there are none; aliases are followed.

        What fields they have depends on their kind, which dnspython does not type.
        Raises DNSException if that could not be found out.
        """
        resolver = dns.asyncresolver.Resolver(configure=not self._servers)
        if self._servers:
            resolver.nameservers = [
                dns.nameserver.Do53Nameserver(host, port)
                for host, port in self._servers
            ]
        try:
            return list(
                await resolver.resolve(
                    dns.name.from_text(name),
                    kind,
                    search=False,
                    lifetime=self._question_s,
                    backend=small_answers(),
                )
            )
        except (dns.resolver.NoAnswer, dns.resolver.NXDOMAIN):
            return []

    async def _second_opinion(
        self, hostname: str, expected: frozenset[str], fault: errors.DnsError
    ) -> errors.DnsError | None:
        """Return the fault as the world sees it, None if the world sees none."""
        try:
            async with asyncio.timeout(2 * self._question_s):
                found = await find_addresses(hostname, question_s=self._question_s / 2)
        except (dns.exception.DNSException, TimeoutError, OSError) as err:
            _LOGGER.info("%s: its name servers do not answer: %s", hostname, err)
            return None if _only_local(fault, expected) else fault
        seen = judge(hostname, Addresses(*found), expected)
        if seen is None:
            _LOGGER.info(
                "%s: its name servers are right, the DNS of this home is not: %s",
                hostname,
                fault,
            )
        return seen


def judge(
    hostname: str, found: Addresses, expected: frozenset[str]
) -> errors.DnsError | None:
    """Return what is wrong with these addresses, None if nothing is for certain."""
    records = ", ".join(
        f"{hostname} {'AAAA' if ':' in one else 'A'} {one}" for one in sorted(expected)
    )
    if not found.known:
        if found.v4 is None or found.v6 is None:
            return None
        wanted = records or f"{hostname} A, with the address of your relay"
        return errors.NoRecordError(hostname=hostname, records=wanted)
    if not expected or found.known <= expected:
        return None
    foreign = sorted(found.known - expected)
    if not found.known & expected:
        if found.v4 is None or found.v6 is None:
            return None
        return errors.PointsElsewhereError(
            hostname=hostname,
            found=", ".join(foreign),
            expected=", ".join(sorted(expected)),
            records=records,
        )
    v6 = [one for one in foreign if ":" in one]
    kind = errors.ForeignIPv6Error if v6 else errors.AlsoElsewhereError
    return kind(hostname=hostname, found=", ".join(v6 or foreign))


def normal(address: str) -> str:
    """Return an IP address in its usual spelling. Raises ValueError."""
    return str(ipaddress.ip_address(address))


def _only_local(fault: errors.DnsError, expected: frozenset[str]) -> bool:
    """Return whether the home's own DNS seems to send this name to the LAN."""
    found = str(fault.fields.get("found", "")).split(", ")
    if not isinstance(fault, errors.DnsError) or found == [""]:
        return False
    private = all(ipaddress.ip_address(one).is_private for one in found)
    return private and any(ipaddress.ip_address(one).is_global for one in expected)


def _text(value: bytes) -> str:
    return value.decode("ascii", "replace")
