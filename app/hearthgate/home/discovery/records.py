"""Read the records of one instance out of zeroconf's cache, however many there are.

    cache ──SRV──▶ server and port ──A, AAAA──▶ a few addresses ──▶ Announcement
          ──TXT──▶ pairs                                          or None: incomplete

zeroconf's own ServiceInfo compares each address of a server with all others, for every
instance and each time that a record changes. The cache holds 10,000 records, so one
packet of a stranger could hold up the loop for minutes. Here a fixed number of records
is looked at. Pure but for `question`, whose packet the caller sends.
"""

from collections.abc import Mapping
from ipaddress import ip_address
import itertools

from zeroconf import current_time_millis
from zeroconf._cache import DNSCache
from zeroconf._dns import DNSAddress, DNSQuestion, DNSService, DNSText
from zeroconf._protocol.outgoing import DNSOutgoing

from hearthgate.home.discovery.limits import DiscoveryLimits
from hearthgate.home.discovery.sighting import Announcement

__all__ = ["Key", "question", "read_records", "read_txt"]

_A, _TXT, _AAAA, _SRV = 1, 16, 28, 33  # RFC 1035 §3.2.2, RFC 3596, RFC 2782
_CLASS_IN = 1
_QUERY = 0  # flags
_IP_BYTES = frozenset({4, 16})
Key = tuple[str, str]  # service type as in the catalog, instance name as it came


def read_records(
    cache: DNSCache, name: str, key: Key, limits: DiscoveryLimits
) -> Announcement | None:
    """Return what the records at hand say of an instance; None if some are missing."""
    now = current_time_millis()
    service = cache.get_by_details(name, _SRV, _CLASS_IN)
    text = cache.get_by_details(name, _TXT, _CLASS_IN)
    if not isinstance(service, DNSService) or service.is_expired(now):
        return None
    # Every instance has a TXT record (RFC 6763 §6), also if there is nothing to say.
    if not isinstance(text, DNSText) or text.is_expired(now):
        return None
    addresses = _addresses(cache, service.server, limits, now)
    if not addresses:
        return None
    return Announcement(
        service_type=key[0],
        instance=key[1],
        server=service.server,
        port=service.port,
        addresses=addresses,
        txt=read_txt(text.text, limits),
    )


def _addresses(
    cache: DNSCache, server: str, limits: DiscoveryLimits, now: float
) -> tuple[str, ...]:
    """Return the addresses of a server that came last."""
    records = cache.async_entries_with_name(server)
    newest = itertools.islice(reversed(records), limits.records_per_server)
    return tuple(
        str(ip_address(record.address))
        for record in newest
        if isinstance(record, DNSAddress)
        and len(record.address) in _IP_BYTES
        and not record.is_expired(now)
    )


def read_txt(raw: bytes, limits: DiscoveryLimits) -> Mapping[str, str]:
    """Return the pairs of a TXT record by lower-case key; empty if it is too much.

    The first of a key counts, and a key without a value is left out (RFC 6763 §6.4).
    """
    pairs: dict[str, str] = {}
    if len(raw) > limits.txt_max_bytes:
        return pairs
    at = 0
    for _ in range(limits.txt_max_keys):
        if at >= len(raw):
            break
        end = at + 1 + raw[at]
        key, equals, value = raw[at + 1 : end].partition(b"=")
        at = end
        if key and equals:
            name = key.decode("ascii", "replace").lower()
            pairs.setdefault(name, value.decode("utf-8", "replace"))
    return pairs


def question(cache: DNSCache, name: str) -> DNSOutgoing:
    """Return a query for what an instance lacks: SRV, TXT and addresses."""
    service = cache.get_by_details(name, _SRV, _CLASS_IN)
    server = service.server if isinstance(service, DNSService) else name
    out = DNSOutgoing(_QUERY)
    for asked, kinds in (
        (name, (_SRV, _TXT)),
        (server, (_A, _AAAA)),
    ):
        for kind in kinds:
            # Not QU: a unicast answer reaches only one of the programs that share
            # port 5353 on this machine, and it need not be us.
            out.add_question(DNSQuestion(asked, kind, _CLASS_IN))
    return out
