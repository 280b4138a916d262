"""What the edge serves: a hostname, its service, its certificate, its access policy.

    Sequence[Route] ─▶ checked() ─▶ tuple[Route, …], sorted, safe to write into a file

Everything that a user or the network named passes `checked` before it can reach a
configuration. It refuses; it never repairs. Reads no files.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
import ipaddress
import itertools
from pathlib import Path
import re
from typing import Final

from hearthgate.home.edge.errors import EdgeRefusedError
from hearthgate.home.model import Access, Scheme, Target
from hearthgate.home.protocols import protocol_mistake
from hearthgate.wire.constants import DEFAULT_RELAY_PORT
from hearthgate.wire.names import HostnameInvalidError, fold_hostname, normalise_host

# SHA-crypt only: every libcrypt of the last fifteen years knows it.
_HASH: Final = re.compile(
    r"\$[56]\$(?:rounds=[0-9]{4,9}\$)?[./A-Za-z0-9]{1,16}\$[./A-Za-z0-9]{43,86}\Z",
    re.ASCII,
)
_USERNAME_MAX_BYTES: Final = 256
_PORT_MAX: Final = 65535


@dataclass(frozen=True, slots=True)
class Route:
    """One public hostname and where it leads."""

    hostname: str  # lower case A-labels, no trailing dot
    target: Target
    certificate: Path  # PEM: chain and key
    access: Access | None
    name: str  # for the log; never enters the configuration
    public_port: int = DEFAULT_RELAY_PORT  # of the relay: what visitors type
    tells_visitor: bool = False  # the service gets PROXY protocol headers, version 2
    protocols: tuple[str, ...] = ()  # to which it may switch, beside WebSocket

    def policy(self) -> tuple[object, ...]:
        """Return what, when it changes, ends connections that began under it."""
        return self.target, self.access, self.tells_visitor, self.protocols


def checked(routes: Iterable[Route]) -> tuple[Route, ...]:
    """Return the routes sorted by hostname, all fit for a configuration.

    Raises EdgeRefusedError for the first one that is not.
    """
    ordered = sorted(routes, key=lambda route: route.hostname)
    for route in ordered:
        _check(route)
    for one, next_one in itertools.pairwise(ordered):
        if one.hostname == next_one.hostname:
            raise EdgeRefusedError(reason=f"{one.hostname} is there twice")
    return tuple(ordered)


def is_address(host: str) -> bool:
    """Tell whether the host is an IP address. A zone (fe80::1%eth0) is none."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return not (isinstance(address, ipaddress.IPv6Address) and address.scope_id)


def _check(route: Route) -> None:
    # A hostname never has an underscore, so our own section names, which have one, can
    # never be taken.
    if not _is_spelled(fold_hostname, route.hostname):
        raise EdgeRefusedError(reason=f"{route.hostname!r} is not a hostname")
    _check_target(route)
    _check_port(route.hostname, route.public_port)
    if route.access is not None:
        _check_access(route.hostname, route.access)
    for protocol in route.protocols:
        if protocol_mistake(protocol) is not None:
            raise EdgeRefusedError(reason=f"{route.hostname}: no protocol {protocol!r}")


def _check_target(route: Route) -> None:
    target = route.target
    if target.scheme not in (Scheme.HTTP, Scheme.HTTPS):
        raise EdgeRefusedError(reason=f"{route.hostname}: unknown scheme")
    # Names of digits and dots, which HAProxy would take for addresses, are none.
    if not is_address(target.host) and not _is_spelled(normalise_host, target.host):
        raise EdgeRefusedError(
            reason=f"{route.hostname}: {target.host!r} is neither an address nor a name"
        )
    _check_port(route.hostname, target.port)


def _is_spelled(normalise: Callable[[str], str], name: str) -> bool:
    """Tell whether a name is one in the spelling that is compared."""
    try:
        return name.isascii() and normalise(name) == name
    except HostnameInvalidError:
        return False


def _check_port(hostname: str, port: int) -> None:
    if not (type(port) is int and 0 < port <= _PORT_MAX):
        raise EdgeRefusedError(reason=f"{hostname}: no port {port!r}")


def _check_access(hostname: str, access: Access) -> None:
    username = access.username
    if (
        not 0 < len(username.encode("utf-8", "replace")) <= _USERNAME_MAX_BYTES
        or ":" in username
        or not username.isprintable()
    ):
        raise EdgeRefusedError(reason=f"{hostname}: the user name cannot be used")
    if not _HASH.match(access.password_hash):
        raise EdgeRefusedError(reason=f"{hostname}: the password hash cannot be used")
