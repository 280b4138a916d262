"""What an agent can be told from outside; see shared/settings/.

    data: /var/lib/hearthgate       web: {host, port}         log: {level, format}
    password                        acme: {directory, …}      tunnel: {channels_min, …}
    dns_servers                     discovery: {enabled, …}   edge: {program, maxconn}
    hass: {supervisor, …}           mqtt: {host, …}

Every default works without any setting. What the user clicks on the page is no setting
but state: see home/state/.
"""

# ruff: noqa: RUF009 (`setting` and `section` are dataclasses.field with a kind)
from dataclasses import dataclass
from pathlib import Path

from hearthgate.shared.process.log import LogFormat, LogLevel
from hearthgate.shared.settings.kinds import (
    BOOL,
    EMAIL,
    HOST,
    PATH,
    PORT,
    PORT_OR_ANY,
    SECRET,
    URL,
    HostPort,
    Secret,
    host_port,
    integer,
    list_of,
    one_of,
    text,
)
from hearthgate.shared.settings.loader import section, setting

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"

# What the add-on offers as its options: the schema in config.yaml, with dots. No more:
# an option that none can choose there is not chosen by anybody.
ADD_ON_OPTIONS = ("log.level", "acme.email", "acme.staging", "tunnel.seal")


@dataclass(frozen=True, slots=True)
class WebOptions:
    """Where the page is served when the home stands alone."""

    host: str = setting(HOST, "0.0.0.0")  # the household opens it from any device
    port: int = setting(PORT_OR_ANY, 8099)
    # More names under which the page may be opened, such as a reverse proxy's.
    hosts: tuple[str, ...] = setting(list_of(HOST), ())


@dataclass(frozen=True, slots=True)
class AcmeOptions:
    """Which certificate authority signs, and as whom we ask."""

    directory: str | None = setting(URL, None)  # None: Let's Encrypt
    staging: bool = setting(BOOL, default=False)  # Let's Encrypt's, for trying out
    email: str | None = setting(EMAIL, None)  # None: an account without contact
    ca_file: Path | None = setting(PATH, None)  # trust for the directory's own HTTPS
    # External account binding (RFC 8555 §7.3.4), which some authorities demand.
    eab_key_id: str | None = setting(text(512), None)
    eab_hmac_key: Secret | None = setting(SECRET, None)  # base64url, as they give it

    def __post_init__(self) -> None:
        """Refuse what can't go together."""
        if self.staging and self.directory is not None:
            raise ValueError(
                "acme.staging is for Let's Encrypt and can't be used together with "
                "acme.directory"
            )
        if (self.eab_key_id is None) != (self.eab_hmac_key is None):
            raise ValueError("acme.eab_key_id and acme.eab_hmac_key need each other")

    @property
    def directory_url(self) -> str:
        """Return the address of the directory in use."""
        if self.directory is not None:
            return self.directory
        return LETS_ENCRYPT_STAGING if self.staging else LETS_ENCRYPT


@dataclass(frozen=True, slots=True)
class DiscoveryOptions:
    """Whether and where to look for services."""

    enabled: bool = setting(BOOL, default=True)
    # Names or addresses of network interfaces; empty: all of them.
    interfaces: tuple[str, ...] = setting(list_of(text(64)), ())


@dataclass(frozen=True, slots=True)
class EdgeOptions:
    """The HAProxy that ends TLS."""

    program: str = setting(text(4096), "haproxy")  # a name in PATH or a path
    # A visitor costs the edge about 34 KB plus its TLS state: 4,000 stay far below
    # 500 MB, which a small board can spare, and are more than a household's line has.
    maxconn: int = setting(integer(10, 100_000), 4000)


@dataclass(frozen=True, slots=True)
class TunnelOptions:
    """Parked channels per relay; the pool moves between the two with the traffic."""

    channels_min: int = setting(integer(1, 1024), 4)
    channels_max: int = setting(integer(1, 1024), 64)
    # Visitors' TLS shows which name they want. This hides it from whoever is between
    # home and relay, and costs encrypting everything twice.
    seal: bool = setting(BOOL, default=False)

    def __post_init__(self) -> None:
        """Refuse a pool that has no size."""
        if self.channels_min > self.channels_max:
            raise ValueError(
                f"tunnel.channels_min ({self.channels_min}) must not be above "
                f"tunnel.channels_max ({self.channels_max})"
            )


@dataclass(frozen=True, slots=True)
class HassOptions:
    """How an add-on reaches Home Assistant; only tests change more than the token."""

    supervisor: str = setting(URL, "http://supervisor")
    # None: no add-on. The Supervisor gives it as SUPERVISOR_TOKEN, new at every start.
    token: Secret | None = setting(SECRET, None)
    ingress_peer: str = setting(HOST, "172.30.32.2")  # the Supervisor, on its network


@dataclass(frozen=True, slots=True)
class MqttOptions:
    """The broker through which Home Assistant gets switches and sensors."""

    host: str | None = setting(HOST, None)  # None: the Supervisor's, if it has one
    port: int = setting(PORT, 1883)
    username: str | None = setting(text(1024), None)
    password: Secret | None = setting(SECRET, None)
    tls: bool = setting(BOOL, default=False)
    # Where Home Assistant looks for new devices: a setting of its MQTT integration.
    discovery_prefix: str = setting(
        text(128, r"[A-Za-z0-9_/-]+", "letters, digits, _, - and /"), "homeassistant"
    )


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What is logged, and how it looks."""

    level: LogLevel = setting(one_of(LogLevel), LogLevel.INFO)
    format: LogFormat = setting(one_of(LogFormat), LogFormat.TEXT)


@dataclass(frozen=True, slots=True)
class HomeSettings:
    """All settings of an agent."""

    data: Path = setting(PATH, Path("/var/lib/hearthgate"))  # state, keys, certificates
    password: Secret | None = setting(SECRET, None)  # of the page; None: keep or make
    # Asked about a hostname before a certificate is ordered; empty: the system's.
    dns_servers: tuple[HostPort, ...] = setting(list_of(host_port(53)), ())
    web: WebOptions = section(WebOptions)
    acme: AcmeOptions = section(AcmeOptions)
    discovery: DiscoveryOptions = section(DiscoveryOptions)
    edge: EdgeOptions = section(EdgeOptions)
    tunnel: TunnelOptions = section(TunnelOptions)
    hass: HassOptions = section(HassOptions)
    mqtt: MqttOptions = section(MqttOptions)
    log: LogOptions = section(LogOptions)
