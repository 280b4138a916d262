"""Files with certificates and keys, byte by byte."""

import contextlib
import datetime as dt

from acme.client import _renewal_info_path_component
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from hearthgate.home.certificates import pem

NAME = "home.example.com"


def issue(key: ec.EllipticCurvePrivateKey, serial: int = 0x8765) -> str:
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    issuer = ec.generate_private_key(ec.SECP256R1())
    leaf = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=90))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=True)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()),
            critical=False,
        )
        .sign(issuer, hashes.SHA256())
    )
    return leaf.public_bytes(serialization.Encoding.PEM).decode()


KEY = pem.new_key()
WHOLE = pem.combine(issue(KEY), KEY)


def test_what_was_combined_is_read_back() -> None:
    leaf = pem.read_combined(WHOLE, NAME)
    assert leaf.not_after - leaf.not_before == 90 * 86400
    assert leaf.serial == "8765"


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(WHOLE) - 30))
def test_no_prefix_is_taken_for_a_whole_file(cut: int) -> None:
    with pytest.raises(pem.UnfitError):
        pem.read_combined(WHOLE[:cut], NAME)


@settings(max_examples=60, deadline=None)
@given(noise=st.binary(max_size=300), at=st.integers(0, len(WHOLE)))
def test_noise_is_unfit_or_harmless(noise: bytes, at: int) -> None:
    with contextlib.suppress(pem.UnfitError):
        pem.read_combined(WHOLE[:at] + noise + WHOLE[at + len(noise) :], NAME)


def test_a_key_that_does_not_belong_is_found() -> None:
    with pytest.raises(pem.UnfitError, match="belong together"):
        pem.read_combined(pem.combine(issue(KEY), pem.new_key()), NAME)


def test_another_name_is_found() -> None:
    with pytest.raises(pem.UnfitError, match=r"is for home\.example\.com"):
        pem.read_combined(WHOLE, "other.example.com")


def test_a_key_of_another_kind_is_refused() -> None:
    key = rsa.generate_private_key(65537, 2048)
    data = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with pytest.raises(pem.UnfitError, match="P-256"):
        pem.key_from_pem(data)


@pytest.mark.parametrize("serial", [1, 0x7F, 0x80, 0xFF, 0x8000, 0x7FFF, 2**158 + 5])
def test_the_renewal_id_equals_what_the_acme_library_makes(serial: int) -> None:
    text = issue(KEY, serial)
    expected = _renewal_info_path_component(
        x509.load_pem_x509_certificate(text.encode())
    )
    assert pem.read_combined(pem.combine(text, KEY), NAME).renewal_id == expected


def test_a_request_has_the_name_where_browsers_look_and_no_subject() -> None:
    request = pem.make_request(KEY, NAME)
    names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    assert names.value.get_values_for_type(x509.DNSName) == [NAME]
    assert not list(request.subject)
    assert request.is_signature_valid
