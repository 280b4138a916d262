"""Keys, requests and the file that the edge reads.

    leaf ── chain ── private key      one PEM file per hostname, as HAProxy wants it

Pure functions over bytes; nothing here touches the disk or the network.
"""

import base64
from dataclasses import dataclass
import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

_KEY_MARK = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
# A leaf with its chain has about 5 KB. Ten certificates are more than any chain.
PEM_MAX_BYTES = 256 * 1024


class UnfitError(Exception):
    """Raise if a PEM file is not a certificate with its key. Says what is wrong."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """What we need to know of a certificate."""

    not_before: float  # Unix time
    not_after: float
    serial: str  # hexadecimal
    renewal_id: str | None  # RFC 9773 §4.1; None: it names no issuer key


def new_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_to_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return the private key as unencrypted PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def key_from_pem(data: bytes) -> ec.EllipticCurvePrivateKey:
    """Return the P-256 key in data. Raises UnfitError."""
    try:
        key = serialization.load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as err:
        raise UnfitError("it holds no readable private key") from err
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.key_size != 256:  # noqa: PLR2004 (P-256)
        raise UnfitError("its private key is not an ECDSA P-256 key")
    return key


def make_request(
    key: ec.EllipticCurvePrivateKey, hostname: str
) -> x509.CertificateSigningRequest:
    """Return a request for one hostname.

    Without a common name: the newer profiles refuse one, and all put the name where
    browsers look, in the subjectAltName.
    """
    names = x509.SubjectAlternativeName([x509.DNSName(hostname)])
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(names, critical=False)
        .sign(key, hashes.SHA256())
    )


def combine(chain_pem: str, key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return chain and key as one file."""
    return chain_pem.strip().encode() + b"\n" + key_to_pem(key)


def read_combined(data: bytes, hostname: str) -> Leaf:
    """Check that data is a certificate for hostname with its own key.

    Says nothing about time. Raises UnfitError.
    """
    mark = _KEY_MARK.search(data)
    if mark is None:
        raise UnfitError("it holds no private key")
    key = key_from_pem(data[mark.start() :])
    try:
        leaf = x509.load_pem_x509_certificates(data[: mark.start()])[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
        covered = names.value.get_values_for_type(x509.DNSName)
        fits = leaf.public_key() == key.public_key()
        renewal_id = _renewal_id(leaf)
    except (ValueError, x509.ExtensionNotFound, UnsupportedAlgorithm) as err:
        raise UnfitError("it holds no readable certificate") from err
    if not fits:
        raise UnfitError("its certificate and its private key do not belong together")
    if hostname not in [name.lower() for name in covered]:
        raise UnfitError(f"its certificate is for {', '.join(covered) or 'no name'}")
    return Leaf(
        not_before=leaf.not_valid_before_utc.timestamp(),
        not_after=leaf.not_valid_after_utc.timestamp(),
        serial=f"{leaf.serial_number:x}",
        renewal_id=renewal_id,
    )


def _renewal_id(leaf: x509.Certificate) -> str | None:
    """Return key identifier of the issuer and serial, base64url (RFC 9773 §4.1)."""
    try:
        issuer = leaf.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    if issuer.value.key_identifier is None:
        return None
    # DER integers are signed: a serial whose top bit is set gets a zero in front.
    size = leaf.serial_number.bit_length() // 8 + 1
    serial = leaf.serial_number.to_bytes(size, "big")
    return f"{_base64url(issuer.value.key_identifier)}.{_base64url(serial)}"


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
