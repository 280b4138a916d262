"""Every bound of discovery, with the reason beside it.

Anything on the network may send mDNS, and a page may be anything, so all of these are
reached one day. Holds numbers only; who counts says so in the log, once per period.
"""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address

from hearthgate.home.discovery.errors import InterfaceNotAnAddressError

__all__ = ["KIB", "DiscoveryLimits", "DiscoverySettings"]

KIB = 1024


@dataclass(frozen=True, slots=True)
class DiscoveryLimits:
    """How much of each thing. Tests pass smaller ones; nothing else does."""

    # --- announcements ---
    # A large home announces 50 to 100 instances. Five times that, and the page still
    # draws in one go.
    instances: int = 256
    # One device can't fill the table. A Synology or a Supervisor host has about ten.
    instances_per_address: int = 32
    # Names that wait for their records. At 0.5 KiB each this is 256 KiB at worst.
    pending: int = 512
    # A flood of changes costs at most so many looks at the records.
    read_per_s: float = 100.0
    # Names that are asked for at the same time. Each asks two or three times.
    resolving: int = 16
    resolve_deadline_s: float = 3.0  # RFC 6762 §5.2 spaces the first queries by 1 s
    # Records of a device's host name that are looked at, its newest. A machine with
    # IPv6, Docker and a VPN has a dozen.
    records_per_server: int = 32
    # RFC 6763 §6.2 advises 1300 bytes; four times that is no honest device.
    txt_max_bytes: int = 5 * KIB
    txt_max_keys: int = 64
    text_max_chars: int = 80  # a DNS label is 63 bytes; a title may be a bit longer

    # --- the table ---
    # Types of one device are announced together, their answers spread by up to 120 ms
    # (RFC 6762 §6) and lost packets come a second later. Merging waits that long.
    settle_s: float = 1.5
    # A device that changes its port says goodbye first. Wait before saying it is gone.
    linger_s: float = 4.0
    # After the network changed, what isn't announced again by then is gone.
    confirm_s: float = 30.0
    interfaces_every_s: float = 10.0
    # Instances that found the table full get another chance that often.
    again_every_s: float = 60.0
    warn_every_s: float = 3600.0

    # --- probes ---
    probes: int = 4  # at the same time: small devices, and we are in no hurry
    probes_asked: int = 2  # more, for what a user waits for
    connect_deadline_s: float = 2.5  # less than the next, to tell silence from slowness
    probe_deadline_s: float = 3.0
    probe_every_s: float = 300.0  # times 0.8 to 1.2
    probe_failed_every_s: float = 60.0  # times 0.8 to 1.2
    probe_soonest_s: float = 10.0  # between two probes of one service
    body_max_bytes: int = 256 * KIB  # the head of the fattest page seen is 40 KiB
    # Status line and headers, with interim answers. Grafana and its like send 4 KiB.
    head_max_bytes: int = 32 * KIB
    # Beyond the body itself: sizes of chunks and trailers.
    framing_max_bytes: int = 64 * KIB
    http_events: int = 4096  # interim answers and chunks; few send chunks of 64 bytes
    redirects: int = 4  # login pages need two or three
    icon_max_bytes: int = 128 * KIB
    icon_max_pixels: int = 1024  # per side; 128 KiB of PNG can unpack to 4 GiB
    icon_tries: int = 3
    icons_deadline_s: float = 3.0
    icons: int = 512  # files; 64 MiB at worst
    icons_new: int = 64  # so many new ones make us clean at once
    icons_clean_every_s: float = 3600.0
    icons_keep_s: float = 7 * 24 * 3600.0  # unused for so long: removed


@dataclass(frozen=True, slots=True)
class DiscoverySettings:
    """What a user chooses. Raises InterfaceNotAnAddressError."""

    # IPv4 addresses of this machine to search on; empty: all that lead to a LAN.
    # With a loopback address (demo, tests) services on loopback are shown, too.
    interfaces: tuple[str, ...] = ()
    limits: DiscoveryLimits = DiscoveryLimits()

    def __post_init__(self) -> None:
        """Check at the door."""
        for interface in self.interfaces:
            try:
                IPv4Address(interface)
            except AddressValueError as err:
                raise InterfaceNotAnAddressError(interface=interface) from err

    @property
    def loopback(self) -> bool:
        """Whether services on loopback are wanted."""
        return any(IPv4Address(each).is_loopback for each in self.interfaces)
