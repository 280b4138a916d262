"""What a relay can be told from outside; loaded by `hearthgate.shared.settings.loader`.

    data: /data        address: relay.example.com       log: {level, format, …}
    domain             https_port, http_port, bind      limits: {…}, see limits.py
    public_addresses   drain, linger                    address_suffix
    forward_ports      metrics_host, metrics_port

Only the address has no default that works everywhere: a relay cannot know by which name
the Internet reaches it.
"""

# ruff: noqa: RUF009 (`setting` and `section` are dataclasses.field with a kind)
from dataclasses import dataclass
import ipaddress
from pathlib import Path

from hearthgate.relay.counting.traffic import VisitorLog
from hearthgate.relay.limits import Limits
from hearthgate.shared.process.log import LogFormat, LogLevel
from hearthgate.shared.settings.kinds import (
    BOOL,
    HOST,
    HOSTNAME,
    PATH,
    PORT_OR_ANY,
    Kind,
    duration,
    list_of,
    one_of,
)
from hearthgate.shared.settings.loader import section, setting
from hearthgate.wire.names import (
    AddressInvalidError,
    format_address,
    is_ip,
    parse_address,
)
from hearthgate.wire.ports import PortRange, PortsInvalidError, read_ports


def _read_address(value: object) -> str:
    try:
        host, port = parse_address(str(value))
    except AddressInvalidError as err:
        raise ValueError(str(err)) from err
    return format_address(host, port)


def _read_ip(value: object) -> str:
    return str(ipaddress.ip_address(str(value).strip().strip("[]")))


def _read_ips(value: object) -> tuple[str, ...]:
    found = list_of(Kind(_read_ip, "an IP address")).read(value)
    if len(found) > _ADDRESSES_MAX:
        raise ValueError("too many")
    return found


_ADDRESSES_MAX = 16  # what a welcome carries
_ADDRESSES = Kind(_read_ips, f"a list of at most {_ADDRESSES_MAX} IP addresses")


def _read_forward_ports(value: object) -> PortRange | None:
    if str(value).strip().lower() in ("none", "off", "false"):
        return None
    try:
        return read_ports(str(value))
    except PortsInvalidError as err:
        raise ValueError(str(err)) from err


_FORWARD_PORTS = Kind(_read_forward_ports, "a range of ports like 1024-65535, or none")
_ADDRESS = Kind(_read_address, "an address like relay.example.com or 203.0.113.5:443")


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What the log tells, and how."""

    level: LogLevel = setting(one_of(LogLevel), LogLevel.INFO)
    format: LogFormat = setting(one_of(LogFormat), LogFormat.TEXT)
    # A line for each visitor who left; with or without where it came from.
    visitors: VisitorLog = setting(one_of(VisitorLog), VisitorLog.OFF)
    # False: no address that was refused gets into the log either.
    addresses: bool = setting(BOOL, True)  # noqa: FBT003  a default


@dataclass(frozen=True, slots=True)
class RelaySettings:
    """All settings of a relay."""

    data: Path = setting(PATH, Path("/var/lib/hearthgate-relay"))
    # The name or IP address by which homes reach this relay; port 443 unless it says.
    address: str | None = setting(_ADDRESS, None)
    # What the first home may use; by default home.ADDRESS, or a name made of the IP.
    domain: str | None = setting(HOSTNAME, None)
    # Public DNS in which 203-0-113-5.SUFFIX is 203.0.113.5: names without a domain.
    address_suffix: str = setting(HOSTNAME, "sslip.io")
    # Where hostnames have to point; told to homes, which check it. By default what the
    # address resolves to, as each home sees it.
    public_addresses: tuple[str, ...] = setting(_ADDRESSES, ())
    bind: tuple[str, ...] = setting(_ADDRESSES, ("0.0.0.0", "::"))
    https_port: int = setting(PORT_OR_ANY, 443)
    http_port: int = setting(PORT_OR_ANY, 80)
    # Which public ports grants may hold; nothing listens on them before a home asks.
    # Below are what other programs of the machine need: SSH, mail, DNS.
    forward_ports: PortRange | None = setting(_FORWARD_PORTS, PortRange(1024, 65535))
    # How long a stop waits for transfers that are under way. Docker kills after ten.
    drain: float = setting(duration(0, 3600), 8.0)
    # How long a relay that another process took over lets transfers finish. Nobody
    # waits for it, so it may be long; what never ends by itself connects anew then.
    linger: float = setting(duration(0, 7 * 86_400), 300.0)
    # Prometheus metrics. Off by default: few read them, and whoever is on the machine
    # could see the hostnames. 0 lets the system pick a port.
    metrics_port: int | None = setting(PORT_OR_ANY, None)
    metrics_host: str = setting(HOST, "127.0.0.1")
    log: LogOptions = section(LogOptions)
    limits: Limits = section(Limits)

    def first_domain(self, name: str) -> str | None:
        """Return the domain for the first home; None if the address is not known."""
        return self.domain or self.domain_for(name, self.address)

    def domain_for(self, name: str, address: str | None) -> str | None:
        """Return a home's own part of the relay's name, or of a name of its address.

        Each home gets one below it, so that several can share an address.
        """
        if address is None:
            return None
        host, _ = parse_address(address)
        if is_ip(host):
            host = f"{_as_label(host)}.{self.address_suffix}"
        return f"{name}.{host}"


def _as_label(address: str) -> str:
    """Return an IP address as DNS services of this kind write it, with hyphens."""
    label = address.replace(".", "-").replace(":", "-")
    # No label begins or ends with one (RFC 1123 §2.1): 2001:db8:: is 2001-db8--0.
    return f"{'0' * label.startswith('-')}{label}{'0' * label.endswith('-')}"
