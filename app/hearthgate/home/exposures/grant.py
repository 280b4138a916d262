"""Check what a relay's grant allows, before the relay has to refuse it."""

from hearthgate.home.errors import HostnameNotGrantedError, NothingGrantedError
from hearthgate.wire.names import is_below, normalise_hostname


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


def check_new(hostname: str, domains: tuple[str, ...]) -> None:
    """Raise HostnameInvalidError for a new name that IDNA 2008 does not allow.

    The domain is what the relay grants, and may be older than these rules.
    """
    granted = [domain for domain in domains if is_below(hostname, domain)]
    label = hostname.removesuffix(max(granted, key=len, default=""))
    if label:
        normalise_hostname(f"{label}example" if granted else hostname)
