"""What the edge carries besides web services: raw TCP, out of sealed channels.

    sealed channel ─▶ frontend forwards   mutual TLS 1.3 with one relay
                        └─ backend tcp-25565.RELAY.…   one per forward, named by the SNI

Pure functions over values, as in config.py. Which relay may come in is decided by the
certificate: it must be the one of the relay whose part of the names is asked for.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
import re
from typing import Final

from hearthgate.home.edge.errors import EdgeRefusedError
from hearthgate.home.edge.routes import check_address
from hearthgate.home.edge.settings import EdgeSettings
from hearthgate.home.model import Scheme, Target
from hearthgate.wire.constants import SEALED_SUFFIX

SEALED_DOOR_VARIABLE: Final = "HEARTHGATE_SEALED_DOOR"
SEALED_CERTIFICATES: Final = "forwards.list"
_RELAY: Final = re.compile(r"[0-9a-f]{12}\Z", re.ASCII)


def forward_name(relay_id: str, port: int) -> str:
    """Return how the TCP port of a relay is called, on the channel and at the edge."""
    return f"tcp-{port}.{relay_id}.{SEALED_SUFFIX}"


@dataclass(frozen=True, slots=True)
class Forward:
    """A public TCP port of one relay and where it leads."""

    relay_id: str  # 12 hexadecimal digits, from the relay's key
    port: int  # the public one
    target: Target
    tells_visitor: bool  # send the visitor's address by PROXY protocol, version 2
    identity: Path  # PEM: this home's key and certificate, as this relay knows it
    relay_certificate: Path  # PEM: what the relay has to show

    @property
    def name(self) -> str:
        """Return the server name on the channel, which names the backend too."""
        return forward_name(self.relay_id, self.port)

    def policy(self) -> tuple[Target, bool]:
        """Return what, when it changes, ends connections that began under it."""
        return self.target, self.tells_visitor


def checked_forwards(forwards: Iterable[Forward]) -> tuple[Forward, ...]:
    """Return the forwards in order, all fit for a configuration.

    Raises EdgeRefusedError for the first one that is not.
    """
    ordered = sorted(forwards, key=lambda one: (one.relay_id, one.port))
    names: set[str] = set()
    for one in ordered:
        if not _RELAY.match(one.relay_id) or not 0 < one.port < 1 << 16:
            raise EdgeRefusedError(reason=f"{one.name!r} is no forward")
        if one.target.scheme is not Scheme.TCP:
            raise EdgeRefusedError(reason=f"{one.name}: its service is not TCP")
        check_address(one.name, one.target)
        if one.name in names:
            raise EdgeRefusedError(reason=f"{one.name} is there twice")
        names.add(one.name)
    return tuple(ordered)


def certificate_of(relay_id: str) -> str:
    """Return the file in a generation's folder with what this home shows a relay."""
    return f"{relay_id}.sealed.pem"


def authority_of(relay_id: str) -> str:
    """Return the file in a generation's folder with what a relay has to show."""
    return f"{relay_id}.relay.pem"


def files(forwards: Iterable[Forward]) -> dict[str, bytes]:
    """Return what the forwards need in a generation's folder. Blocking.

    Raises EdgeRefusedError.
    """
    contents: dict[str, bytes] = {}
    for one in forwards:
        try:
            contents[certificate_of(one.relay_id)] = one.identity.read_bytes()
            contents[authority_of(one.relay_id)] = one.relay_certificate.read_bytes()
        except OSError as err:
            raise EdgeRefusedError(
                reason=f"a certificate of {one.name} cannot be read: {err.strerror}"
            ) from err
    return contents


def render_sealed_certificates(forwards: Iterable[Forward]) -> str:
    """Return the list of certificates: for the names of one relay only that relay."""
    relays = dict.fromkeys(one.relay_id for one in forwards)
    return "".join(
        f"{certificate_of(one)} [ca-file {authority_of(one)} verify required]"
        f" *.{one}.{SEALED_SUFFIX}\n"
        for one in relays
    )


def render_forwards(
    forwards: tuple[Forward, ...],
    settings: EdgeSettings,
    place: Callable[[Target], str],
) -> Iterator[str]:
    """Return the end of the configuration: a `defaults` of its own comes first."""
    if not forwards:
        return
    yield "defaults"
    yield "  mode tcp"
    idle_ms = round(settings.tunnel_s * 1000)
    yield f"  timeout connect {round(settings.connect_s * 1000)}ms"
    # Both ends of a connection may be silent for hours, also after one of them has
    # said its last word; dead ones are found by TCP keep-alive.
    for name in ("client", "server", "client-fin", "server-fin"):
        yield f"  timeout {name} {idle_ms}ms"
    yield "  retries 1"
    yield "  option contstats"  # what goes on for days counts meanwhile
    yield "  option clitcpka"
    yield "  option srvtcpka"
    yield "frontend forwards"
    yield (
        f'  bind "sockpair@${{{SEALED_DOOR_VARIABLE}}}" accept-proxy ssl'
        f" crt-list {SEALED_CERTIFICATES} strict-sni ssl-min-ver TLSv1.3"
    )
    yield "  use_backend %[ssl_fc_sni,lower]"
    for one in forwards:
        yield f"backend {one.name}"
        told = " send-proxy-v2" if one.tells_visitor else ""
        yield f"  server service {place(one.target)}{told}"
