"""A private certificate authority: Pebble, and a DNS server that says what it is told.

    home ──ACME over TLS──▶ pebble ──asks──▶ pebble-challtestsrv (DNS over UDP and TCP)
                              │                        ▲
                              └──HTTP-01──▶ http_port   └── set_a(), set_aaaa(), …

Everything listens on loopback, on ports that were free a moment ago; both processes
die with this one. All of it blocks, a call for milliseconds; set_a and set_aaaa have
twins to await. Imports nothing of pytest or Hearthgate: the demo and the benchmarks
use it too.

Start it from a thread that lives as long as it is needed: Linux sends the children
their signal when the thread that started them ends.
"""

import asyncio
from collections.abc import Callable, Collection
import ctypes
from dataclasses import dataclass
import datetime as dt
import ipaddress
import json
import os
from pathlib import Path
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
from types import TracebackType
from typing import Self
import urllib.error
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.harness.ports import free_port

START_DEADLINE_S = 20.0
STOP_DEADLINE_S = 5.0
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True)
_DAY = dt.timedelta(days=1)
_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=False,
    encipher_only=False,
    decipher_only=False,
)


class PebbleError(Exception):
    """Raise if Pebble could not be started or does not answer."""


@dataclass(frozen=True, slots=True)
class PebbleSettings:
    """How hard Pebble makes it."""

    nonce_reject_percent: int = 0  # of the nonces that are in fact good
    nosleep: bool = True  # False: waits up to 15 s before it validates
    authz_reuse_percent: int = 0  # of valid authorizations; 0: now and then still
    strict: bool = False
    always_valid: bool = False  # True: believes every proof without looking
    external_account: tuple[str, str] | None = None  # kid and HMAC key (base64url)
    blocked_domains: tuple[str, ...] = ()  # refused as rejectedIdentifier
    validity_s: int | None = None  # of what it signs; None: five years
    http_port: int | None = None  # where proofs are looked for; None: a free one
    tls_port: int | None = None


class Pebble:
    """A running Pebble with its DNS. Use as a context manager, or call stop()."""

    def __init__(self, settings: PebbleSettings | None = None) -> None:
        """Start both processes and wait until they answer. Raises PebbleError."""
        self.settings = settings or PebbleSettings()
        self._folder = Path(tempfile.mkdtemp(prefix="pebble-"))
        self._children: list[subprocess.Popen[bytes]] = []
        self.ca_file = self._folder / "api-root.pem"  # trust root of the ACME API only
        self.http_port = self.settings.http_port or free_port()
        self.tls_port = self.settings.tls_port or free_port()
        self._api, self._pebble_management = free_port(), free_port()
        self._dns_port, self._dns_management = free_port(), free_port()
        try:
            self._write_files()
            self._start()
        except BaseException:
            self.stop()
            raise

    @property
    def directory(self) -> str:
        """Return the URL where ACME begins."""
        return f"https://127.0.0.1:{self._api}/dir"

    @property
    def dns(self) -> tuple[str, int]:
        """Return the address of the DNS server that Pebble asks."""
        return "127.0.0.1", self._dns_port

    def root_pem(self) -> bytes:
        """Return the root that signs what is issued; another one after every start."""
        return self._get(f"https://127.0.0.1:{self._pebble_management}/roots/0")

    # --- what the DNS answers ---

    def set_a(self, name: str, ips: Collection[str]) -> None:
        """Replace the A records of a name; an empty collection: none."""
        self._replace("a", name, ips)

    def set_aaaa(self, name: str, ips: Collection[str]) -> None:
        """Replace the AAAA records of a name; an empty collection: none."""
        self._replace("aaaa", name, ips)

    def set_cname(self, name: str, target: str) -> None:
        """Make a name an alias."""
        self._dns_call("set-cname", host=_absolute(name), target=_absolute(target))

    def set_caa(self, name: str, policies: Collection[tuple[str, str]]) -> None:
        """Replace the CAA records of a name by (tag, value) pairs."""
        self._dns_call("clear-caa", host=_absolute(name))
        if policies:
            listed = [{"tag": tag, "value": value} for tag, value in policies]
            self._dns_call("add-caa", host=_absolute(name), policies=listed)

    def set_servfail(self, name: str) -> None:
        """Answer every question about a name with SERVFAIL."""
        self._dns_call("set-servfail", host=_absolute(name))

    async def set_a_async(self, name: str, ips: Collection[str]) -> None:
        """Do the same as set_a without holding up the event loop."""
        await asyncio.to_thread(self.set_a, name, ips)

    async def set_aaaa_async(self, name: str, ips: Collection[str]) -> None:
        """Do the same as set_aaaa without holding up the event loop."""
        await asyncio.to_thread(self.set_aaaa, name, ips)

    # --- life ---

    def restart(self) -> None:
        """Start Pebble again on the same ports: it forgets accounts, orders, roots."""
        _end(self._children.pop())
        self._start_pebble()

    def stop(self) -> None:
        """End and reap both processes and remove the folder. May be called twice."""
        while self._children:
            _end(self._children.pop())
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def log(self) -> str:
        """Return what Pebble printed so far."""
        return (self._folder / "pebble.log").read_text(errors="replace")

    def _write_files(self) -> None:
        certificate, key = self._folder / "api.pem", self._folder / "api.key"
        root, chain, key_pem = make_server_certificate(["localhost", "127.0.0.1"])
        self.ca_file.write_bytes(root)
        certificate.write_bytes(chain)
        key.write_bytes(key_pem)
        settings: dict[str, object] = {
            "listenAddress": f"127.0.0.1:{self._api}",
            "managementListenAddress": f"127.0.0.1:{self._pebble_management}",
            "certificate": str(certificate),
            "privateKey": str(key),
            "httpPort": self.http_port,
            "tlsPort": self.tls_port,
            "ocspResponderURL": "",
            "externalAccountBindingRequired": False,
            "domainBlocklist": list(self.settings.blocked_domains),
        }
        if self.settings.validity_s is not None:
            settings["certificateValidityPeriod"] = self.settings.validity_s
        if self.settings.external_account:
            kid, hmac_key = self.settings.external_account
            settings["externalAccountBindingRequired"] = True
            settings["externalAccountMACKeys"] = {kid: hmac_key}
        (self._folder / "pebble.json").write_text(json.dumps({"pebble": settings}))

    def _start(self) -> None:
        self._run(
            "pebble-challtestsrv",
            *("-dns01", f"127.0.0.1:{self._dns_port}"),
            *("-management", f"127.0.0.1:{self._dns_management}"),
            *("-defaultIPv4", "", "-defaultIPv6", ""),
            *("-http01", "", "-https01", "", "-tlsalpn01", ""),
        )
        self._wait(lambda: self._dns_call("clear-txt", host="ready.test."))
        self._start_pebble()

    def _start_pebble(self) -> None:
        self._run(
            "pebble",
            *("-config", str(self._folder / "pebble.json")),
            *("-dnsserver", f"127.0.0.1:{self._dns_port}"),
            f"-strict={str(self.settings.strict).lower()}",
        )
        self._wait(lambda: self._get(self.directory))

    def _run(self, program: str, *arguments: str) -> None:
        found = shutil.which(program)
        if found is None:
            raise PebbleError(f"{program} is not installed (Debian package pebble)")
        with (self._folder / f"{program}.log").open("ab") as log:
            child = subprocess.Popen(
                [found, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment()},
                preexec_fn=_die_with_parent,  # noqa: PLW1509 (one prctl, no Python lock)
            )
        self._children.append(child)

    def _environment(self) -> dict[str, str]:
        knobs = {
            "PEBBLE_WFE_NONCEREJECT": str(self.settings.nonce_reject_percent),
            "PEBBLE_AUTHZREUSE": str(self.settings.authz_reuse_percent),
        }
        if self.settings.nosleep:
            knobs["PEBBLE_VA_NOSLEEP"] = "1"
        if self.settings.always_valid:
            knobs["PEBBLE_VA_ALWAYS_VALID"] = "1"
        return knobs

    def _wait(self, answers: Callable[[], object]) -> None:
        """Poll until the process started last answers."""
        end = time.monotonic() + START_DEADLINE_S
        while True:
            try:
                answers()
            except (OSError, PebbleError) as err:
                if self._children[-1].poll() is not None or time.monotonic() > end:
                    raise PebbleError(self._last_words()) from err
                time.sleep(0.02)
            else:
                return

    def _last_words(self) -> str:
        logs = sorted(self._folder.glob("*.log"))
        return "\n".join(log.read_text(errors="replace")[-2000:] for log in logs)

    def _replace(self, kind: str, name: str, ips: Collection[str]) -> None:
        self._dns_call(f"clear-{kind}", host=_absolute(name))
        if ips:
            self._dns_call(f"add-{kind}", host=_absolute(name), addresses=list(ips))

    def _dns_call(self, call: str, **body: object) -> bytes:
        url = f"http://127.0.0.1:{self._dns_management}/{call}"
        return _fetch(urllib.request.Request(url, json.dumps(body).encode()))

    def _get(self, url: str) -> bytes:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        return _fetch(urllib.request.Request(url), context)


def make_server_certificate(
    names: Collection[str],
    *,
    not_before: dt.datetime | None = None,
    not_after: dt.datetime | None = None,
) -> tuple[bytes, bytes, bytes]:
    """Return root, leaf and key of a throw-away authority for these names, as PEM."""
    now = dt.datetime.now(dt.UTC)
    start, end = not_before or now - _DAY, not_after or now + 30 * _DAY
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test API root")])
    root = (
        _builder(subject, subject, root_key, min(start, now - _DAY), now + 60 * _DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_SIGNS_CERTIFICATES, critical=True)
        .add_extension(
            x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()),
            critical=False,
        )
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _builder(x509.Name([]), subject, key, start, end)
        .add_extension(
            x509.SubjectAlternativeName([_general_name(name) for name in names]),
            critical=True,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        # Python 3.13 believes in no authority without these two.
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()),
            critical=False,
        )
        .sign(root_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    key_pem = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return root.public_bytes(pem), leaf.public_bytes(pem), key_pem


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    not_before: dt.datetime,
    not_after: dt.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(not_before)
        .not_valid_after(not_after)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _absolute(name: str) -> str:
    return name if name.endswith(".") else f"{name}."


def _fetch(
    request: urllib.request.Request, context: ssl.SSLContext | None = None
) -> bytes:
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    try:
        with opener.open(request, timeout=START_DEADLINE_S) as response:
            content: bytes = response.read()
            return content
    except urllib.error.HTTPError as err:
        with err:
            raise PebbleError(f"{request.full_url}: {err.code} {err.read()!r}") from err


def _die_with_parent() -> None:
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(STOP_DEADLINE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait(STOP_DEADLINE_S)
