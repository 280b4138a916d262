"""Check what a relay's grant allows, before the relay has to refuse it."""

from hearthgate.home.errors import HostnameNotGrantedError, NothingGrantedError
from hearthgate.wire.names import is_below


def check_grant(hostname: str, domains: tuple[str, ...]) -> None:
    """Raise HostnameNotGrantedError unless a hostname is a domain or below one.

    Both are normalised. No domains at all is a NothingGrantedError.
    """
    if not domains:
        raise NothingGrantedError(hostname=hostname)
    if not any(is_below(hostname, domain) for domain in domains):
        raise HostnameNotGrantedError(
            hostname=hostname, allowed=", ".join(domains), first=domains[0]
        )
