"""The relay's own key, and the small authority that signs homes' certificates.

    relay.key, relay.crt    what agents pin: SHA-256 of the public key is in each code
    authority.key, .crt     signs one client certificate per home, at pairing

Made once, kept in the data folder with mode 0600. These certificates are for the
control connection alone; none of them names a published hostname.
"""

import contextlib
from dataclasses import dataclass
import datetime as dt
import hashlib
from pathlib import Path
import ssl

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from hearthgate.relay.errors import CertificateRequestInvalidError, KeyDamagedError
from hearthgate.shared.storage.folders import private_folder
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    StateNotReadableError,
    read_capped,
    write_private,
)
from hearthgate.wire.constants import CONTROL_NAME

# Trust ends by revoking the home, not by a date: a relay that was forgotten for years,
# or one with a wrong clock, must still let its homes in.
_LIFETIME = dt.timedelta(days=365 * 30)
_CLOCK_SKEW = dt.timedelta(days=2)
_REQUEST_MAX_CHARACTERS = 4096
_FILE_MAX_BYTES = 16 * 1024  # a key and a certificate are about 1 KiB each
_UNREADABLE = (ValueError, InvalidSignature, UnsupportedAlgorithm, x509.InvalidVersion)


def fingerprint(key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the SHA-256 of a key's SubjectPublicKeyInfo (RFC 5280 §4.1.2.7)."""
    info = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return hashlib.sha256(info).digest()


def certificate_id(der: bytes) -> str:
    """Return what a home is known by: the SHA-256 of its client certificate."""
    return hashlib.sha256(der).hexdigest()


@dataclass(frozen=True, slots=True)
class SignedHome:
    """A home's client certificate, and how to recognise it."""

    certificate: str  # PEM
    id: str  # certificate_id


class Keys:
    """The relay's keys. Making it blocks; signing takes a fraction of a millisecond."""

    def __init__(self, folder: Path, *, may_make: bool) -> None:
        """Read the keys from a folder, or make them there if that is allowed.

        New keys shut every home out, so whoever has homes does not allow it. Raises
        StateNotWritableError, KeyDamagedError.
        """
        private_folder(folder)
        self._folder = folder
        self._may_make = may_make
        self._key = self._own_key("relay")
        self._authority_key = self._own_key("authority")
        self._certificate = self._own_certificate(
            "relay", self._key, CONTROL_NAME, is_authority=False
        )
        self._authority = self._own_certificate(
            "authority", self._authority_key, "Hearthgate homes", is_authority=True
        )
        self.fingerprint = fingerprint(self._key.public_key())

    def control_context(self) -> ssl.SSLContext:
        """Return the TLS context of the control endpoint.

        A client certificate is optional, because a home that pairs has none yet.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self._path("relay.crt"), self._path("relay.key"))
        context.load_verify_locations(self._path("authority.crt"))
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def sign(self, request_pem: str, home: str) -> SignedHome:
        """Sign a home's certificate request (PKCS #10, RFC 2986).

        Only the key of the request counts; the name is ours to give.
        Raises CertificateRequestInvalidError.
        """
        key = _request_key(request_pem)
        certificate = _certificate(
            subject=home,
            key=key,
            issuer=self._authority.subject,
            signer=self._authority_key,
            is_authority=False,
        )
        return SignedHome(
            certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
            id=certificate_id(certificate.public_bytes(serialization.Encoding.DER)),
        )

    def _path(self, name: str) -> Path:
        return self._folder / name

    def _own_key(self, name: str) -> ec.EllipticCurvePrivateKey:
        path = self._path(f"{name}.key")
        raw = _read(path)
        if raw is not None:
            return _parse_key(path, raw)
        if not self._may_make:
            raise KeyDamagedError(path=path, reason="it is missing")
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(
            path,
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
        )
        return key

    def _own_certificate(
        self, name: str, key: ec.EllipticCurvePrivateKey, cn: str, *, is_authority: bool
    ) -> x509.Certificate:
        path = self._path(f"{name}.crt")
        raw = _read(path)
        with contextlib.suppress(ValueError):  # then a new one does as well
            found = x509.load_pem_x509_certificate(raw or b"")
            if found.public_key() == key.public_key():
                return found
        made = _certificate(
            subject=cn,
            key=key.public_key(),
            issuer=None,
            signer=key,
            is_authority=is_authority,
        )
        write_private(path, made.public_bytes(serialization.Encoding.PEM))
        return made


def _read(path: Path) -> bytes | None:
    try:
        return read_capped(path, _FILE_MAX_BYTES)
    except NotAFileError as err:
        raise KeyDamagedError(path=path, reason=err) from err
    except StateNotReadableError as err:
        raise KeyDamagedError(path=path, reason="it is unreadable") from err


def _parse_key(path: Path, raw: bytes) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise KeyDamagedError(path=path, reason="it is unreadable") from err
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyDamagedError(path=path, reason="it holds another kind of key")
    return key


def _request_key(request_pem: str) -> ec.EllipticCurvePublicKey:
    try:
        request = x509.load_pem_x509_csr(
            request_pem[:_REQUEST_MAX_CHARACTERS].encode("ascii", "replace")
        )
        key = request.public_key()
        valid = request.is_signature_valid
    except _UNREADABLE as err:
        raise CertificateRequestInvalidError(reason="it is unreadable") from err
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise CertificateRequestInvalidError(reason="its key is no P-256 key")
    if not isinstance(key.curve, ec.SECP256R1):
        raise CertificateRequestInvalidError(reason="its key is no P-256 key")
    if not valid:
        raise CertificateRequestInvalidError(reason="its signature is wrong")
    return key


def _certificate(
    *,
    subject: str,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name | None,
    signer: ec.EllipticCurvePrivateKey,
    is_authority: bool,
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_SKEW)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()),
            critical=False,
        )
    )
    if not is_authority:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.CLIENT_AUTH]
                if issuer
                else [ExtendedKeyUsageOID.SERVER_AUTH]
            ),
            critical=False,
        )
    return builder.sign(signer, hashes.SHA256())
