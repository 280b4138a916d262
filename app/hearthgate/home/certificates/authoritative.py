"""Ask the name servers of a domain themselves, past every cache and every override.

    zone of the name ──▶ its NS ──▶ their addresses ──▶ A and AAAA, aliases followed

This is how certificate authorities look; a record that was added a minute ago is
already there. Raises DNSException where something does not answer.
"""

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from hearthgate.home.certificates.small_answers import small_answers

# A chain of aliases this long is a mistake, and costs four questions a link.
_ALIASES_MAX = 5
# One that answers is enough; asking all of them would take long if the network is bad.
_SERVERS_MAX = 3
_PORT = 53


async def find_addresses(
    hostname: str,
    *,
    question_s: float,
    resolver: dns.asyncresolver.Resolver | None = None,
    port: int = _PORT,
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the IPv4 and the IPv6 addresses. resolver finds the servers."""
    system = resolver or dns.asyncresolver.Resolver()
    system.lifetime = question_s
    name = dns.name.from_text(hostname)
    for _link in range(_ALIASES_MAX):
        servers = await _servers(name, system, port)
        servers.lifetime = question_s
        v4, alias = await _ask(servers, name, dns.rdatatype.A)
        v6, _same = await _ask(servers, name, dns.rdatatype.AAAA)
        if v4 or v6 or alias == name:
            return v4, v6
        name = alias
    raise dns.resolver.YXDOMAIN  # the name grew too long: the nearest word there is


async def _servers(
    name: dns.name.Name, system: dns.asyncresolver.Resolver, port: int
) -> dns.asyncresolver.Resolver:
    """Return a resolver that asks the name servers of the zone of name."""
    zone = await dns.asyncresolver.zone_for_name(
        name, resolver=system, backend=small_answers()
    )
    listed = await system.resolve(
        zone, dns.rdatatype.NS, search=False, backend=small_answers()
    )
    asked = dns.asyncresolver.Resolver(configure=False)
    asked.flags = 0  # no recursion: these servers know, or do not
    for one in list(listed)[:_SERVERS_MAX]:
        found = await system.resolve(
            one.target, dns.rdatatype.A, search=False, backend=small_answers()
        )
        asked.nameservers = [
            *asked.nameservers,
            *(
                dns.nameserver.Do53Nameserver(a.address, port)
                for a in list(found)[:_SERVERS_MAX]
            ),
        ]
    return asked


async def _ask(
    servers: dns.asyncresolver.Resolver,
    name: dns.name.Name,
    kind: dns.rdatatype.RdataType,
) -> tuple[frozenset[str], dns.name.Name]:
    """Return the addresses, and where aliases led, else the name itself."""
    try:
        answer = await servers.resolve(
            name,
            kind,
            search=False,
            raise_on_no_answer=False,
            backend=small_answers(),
        )
    except dns.resolver.NXDOMAIN as err:
        return frozenset(), err.canonical_name
    found = frozenset(one.address for one in answer.rrset or ())
    return found, answer.canonical_name
