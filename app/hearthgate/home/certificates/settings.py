"""Which certificate authority is asked, how, and for how long we wait for it."""

from dataclasses import dataclass, field
import hashlib
from pathlib import Path
from urllib.parse import urlsplit

LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"
LETS_ENCRYPT_STAGING = "https://acme-staging-v02.api.letsencrypt.org/directory"


@dataclass(frozen=True, slots=True)
class ExternalAccount:
    """Ties our account to one that the user has at the authority (RFC 8555 §7.3.4)."""

    kid: str
    hmac_key: str = field(repr=False)  # base64url, as the authority hands it out


@dataclass(frozen=True, slots=True)
class AcmeLimits:
    """How long anything may take. All in seconds."""

    # A TCP connection that takes longer is not going to work.
    connect_s: float = 10.0
    # Silence during one answer. Let's Encrypt answers within one or two seconds, ten
    # under load.
    silence_s: float = 20.0
    # One request with its repetitions after a badNonce.
    call_s: float = 45.0
    # A whole order: authorities try a proof several times, over half a minute.
    order_s: float = 240.0
    # Showing or withdrawing one answer at the relay: a message and its reply.
    answer_s: float = 15.0
    # One DNS question with its repetitions. Resolvers themselves give up after five.
    dns_s: float = 6.0
    # Three slow orders must not keep a fourth hostname waiting for long, and a home
    # with fifty hostnames must not open fifty orders at once.
    orders: int = 3
    # With every second good nonce refused, 60 tries fail once in 10^18 requests.
    nonce_tries: int = 60


@dataclass(frozen=True, slots=True)
class AcmeSettings:
    """What the user chose. Raises ValueError if the directory is not an https URL."""

    directory: str = LETS_ENCRYPT
    staging: bool = False  # only means something for Let's Encrypt
    email: str | None = None
    ca_file: Path | None = None  # trust root of a private directory's own TLS
    dns_servers: tuple[tuple[str, int], ...] = ()  # IP address, port; (): the system's
    profile: str | None = None  # e.g. shortlived; None: the authority's default
    external_account: ExternalAccount | None = None
    limits: AcmeLimits = field(default_factory=AcmeLimits)

    def __post_init__(self) -> None:
        """Refuse what would send an account's requests in the clear."""
        parts = urlsplit(self.directory)
        if parts.scheme != "https" or not parts.hostname:
            raise ValueError(f"{self.directory!r} is not an https URL")

    @property
    def directory_url(self) -> str:
        """Return the directory that is really asked."""
        if self.staging and self.directory == LETS_ENCRYPT:
            return LETS_ENCRYPT_STAGING
        return self.directory

    @property
    def authority(self) -> str:
        """Return the host of the directory, as errors name it."""
        return urlsplit(self.directory_url).hostname or self.directory_url

    @property
    def folder_name(self) -> str:
        """Return a name of its own for each directory, so that they share nothing.

        This is what keeps certificates of a staging directory from being served after
        a switch to production.
        """
        digest = hashlib.sha256(self.directory_url.encode()).hexdigest()[:8]
        host = "".join(c if c.isalnum() or c in ".-" else "_" for c in self.authority)
        return f"{host}-{digest}"
