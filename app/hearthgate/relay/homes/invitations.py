"""Make pairing codes, and put them where a person sees them."""

from dataclasses import dataclass
import io
import time

from hearthgate.relay.errors import RelayAddressMissingError
from hearthgate.relay.homes.keys import Keys
from hearthgate.relay.homes.registry import Registry
from hearthgate.wire.names import describe_hostname, parse_address
from hearthgate.wire.pairing import EXPIRY_MAX, PairingCode, write_pairing_code
from hearthgate.wire.ports import NO_PORTS, Ports

INVITE_LIFETIME_S = 24 * 3600


@dataclass(frozen=True, slots=True)
class Invitation:
    """A pairing code and what it allows."""

    code: str
    name: str
    domains: tuple[str, ...]
    expires: int  # Unix time
    ports: Ports = NO_PORTS


async def invite(
    registry: Registry,
    keys: Keys,
    address: str | None,
    *,
    name: str,
    domains: tuple[str, ...],
    lifetime_s: int = INVITE_LIFETIME_S,
    ports: Ports = NO_PORTS,
) -> Invitation:
    """Make a pairing code for a home.

    Raises RelayAddressMissingError and what Registry.invite raises.
    """
    if address is None:
        raise RelayAddressMissingError
    host, port = parse_address(address)
    secret = await registry.invite(name, domains, lifetime_s, ports)
    made = next(one for one in registry.invites if one.name == name)
    # What the code says is for people; it is the registry that decides.
    expires = min(made.expires, EXPIRY_MAX)
    code = PairingCode(host, port, keys.fingerprint, secret, expires)
    text = write_pairing_code(code)
    return Invitation(text, name, made.domains, made.expires, made.ports)


def invitation_text(invitation: Invitation) -> str:
    """Return an invitation with its QR code, as lines for a terminal or a log."""
    import segno  # noqa: PLC0415  a relay that runs for years makes few codes

    picture = io.StringIO()
    segno.make(invitation.code, error="l").terminal(picture, compact=True, border=2)
    expires = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(invitation.expires))
    domains = ", ".join(
        f"{describe_hostname(one)} and names below" for one in invitation.domains
    )
    if invitation.ports:
        domains = f"{domains}, ports {invitation.ports}"
    return (
        f"{picture.getvalue()}\n"
        f"Pairing code for the home “{invitation.name}” ({domains}):\n\n"
        f"    {invitation.code}\n\n"
        f"It works once, until {expires}. Paste it on Hearthgate's page at home, or "
        "run there: hearthgate home pair CODE\n"
    )
