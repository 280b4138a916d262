"""Who this home is to one relay: its own key, and the certificate that the relay gave.

relays/ID/home.pem   the key, made here, and what the relay's authority signed for it

home.pem is one file, mode 0600, so that pairing again replaces both or neither. The key
never leaves.
"""

from pathlib import Path
import ssl

from aiohttp import Fingerprint, ServerFingerprintMismatch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from hearthgate.shared.storage.folders import private_folder, remove_tree
from hearthgate.shared.storage.private_files import (
    NotAFileError,
    StateError,
    Temporary,
    read_capped,
    write_private,
)

_SHA256_BYTES = 32
_ROOM_BYTES = 20_000  # key and certificate; a relay's answer allows 16,384 for one


class PinnedKey(Fingerprint):
    """Accept a TLS connection only if the other side has the pinned key.

    Compares the SHA-256 of the SubjectPublicKeyInfo (RFC 7469 §2.4), so that a relay
    may make itself a new certificate with the same key. aiohttp calls `check` before
    it sends a request.
    """

    def __init__(self, fingerprint: bytes) -> None:
        super().__init__(fingerprint)
        self._pin = fingerprint

    def check(self, transport: object) -> None:
        """Raise ServerFingerprintMismatch unless the key is the pinned one."""
        tls = transport.get_extra_info("ssl_object")  # type: ignore[attr-defined]
        der = tls.getpeercert(binary_form=True) if tls else None
        found = _fingerprint(der) if der else b"\0" * _SHA256_BYTES
        if found != self._pin:
            raise ServerFingerprintMismatch(self._pin, found, "relay", 0)


def _fingerprint(der: bytes) -> bytes:
    digest = hashes.Hash(hashes.SHA256())
    key = x509.load_der_x509_certificate(der).public_key()
    digest.update(
        key.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return digest.finalize()


def relay_context() -> ssl.SSLContext:
    """Return the TLS context towards a relay: its key is pinned, not its name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Identity:
    """The key and certificate for one relay. Blocking: use it in a thread."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / "home.pem"

    def context(self) -> ssl.SSLContext:
        """Return a TLS context that shows this identity. Raises OSError, SSLError."""
        try:
            read_capped(self._path, _ROOM_BYTES)  # OpenSSL would wait at a named pipe
        except (NotAFileError, StateError) as err:
            raise OSError(f"{self._path}: {err}") from err
        context = relay_context()
        context.load_cert_chain(self._path)
        return context

    def check_room(self) -> None:
        """Raise StateError if an identity could not be kept."""
        self._make_folder()
        with Temporary(self._path, b"\n" * _ROOM_BYTES):
            pass

    def save(self, key: ec.EllipticCurvePrivateKey, certificate_pem: str) -> str:
        """Keep a key and its certificate; return the certificate's SHA-256, hex.

        Raises StateError, ValueError.
        """
        certificate = x509.load_pem_x509_certificate(certificate_pem.encode("ascii"))
        if certificate.public_key() != key.public_key():
            raise ValueError("the certificate is for another key")
        self._make_folder()
        key_pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        signed = certificate.public_bytes(serialization.Encoding.PEM)
        write_private(self._path, key_pem + signed)
        return certificate.fingerprint(hashes.SHA256()).hex()

    def _make_folder(self) -> None:
        private_folder(private_folder(self.folder.parent) / self.folder.name)

    def remove(self) -> None:
        """Delete what is kept. Raises OSError."""
        remove_tree(self.folder)


def make_key() -> ec.EllipticCurvePrivateKey:
    """Return a fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def certificate_request(key: ec.EllipticCurvePrivateKey) -> str:
    """Return a request for a client certificate, as PEM (RFC 2986)."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hearthgate home")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    signed = request.sign(key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode("ascii")
