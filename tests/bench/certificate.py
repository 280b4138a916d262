"""Make the one certificate that every edge of a benchmark shows.

ECDSA P-256 under a small own authority, so that handshakes cost the same on every way.
"""

from dataclasses import dataclass
import datetime as dt
import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

__all__ = ["Credentials", "make_credentials"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What an edge shows and what a visitor trusts."""

    combined: Path  # chain and key in one PEM, mode 0600
    authority: Path


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _sign(
    subject: x509.Name,
    key: ec.EllipticCurvePublicKey,
    issuer: x509.Name,
    signer: ec.EllipticCurvePrivateKey,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=60))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer, hashes.SHA256())


def make_credentials(folder: Path, hostnames: list[str]) -> Credentials:
    """Write an authority and one certificate for all hostnames into `folder`."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    key = ec.generate_private_key(ec.SECP256R1())
    ca_name = _name("Hearthgate benchmark authority")
    ca = _sign(
        ca_name,
        ca_key.public_key(),
        ca_name,
        ca_key,
        [(x509.BasicConstraints(ca=True, path_length=0), True)],
    )
    names = x509.SubjectAlternativeName([x509.DNSName(name) for name in hostnames])
    leaf = _sign(
        _name(hostnames[0]), key.public_key(), ca_name, ca_key, [(names, False)]
    )
    authority, combined = folder / "authority.pem", folder / "edge.pem"
    authority.write_bytes(ca.public_bytes(Encoding.PEM))
    with os.fdopen(os.open(combined, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as out:
        out.write(leaf.public_bytes(Encoding.PEM))
        out.write(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return Credentials(combined=combined, authority=authority)
