"""What the user may choose."""

import pytest

from hearthgate.home.certificates import (
    LETS_ENCRYPT,
    LETS_ENCRYPT_STAGING,
    AcmeSettings,
    ExternalAccount,
)
from hearthgate.home.certificates.orders import Step, is_usable
from hearthgate.home.model import Phase


def test_production_is_the_default_and_staging_a_switch() -> None:
    assert AcmeSettings().directory_url == LETS_ENCRYPT
    assert AcmeSettings(staging=True).directory_url == LETS_ENCRYPT_STAGING


def test_staging_and_production_share_no_folder() -> None:
    names = {AcmeSettings(staging=on).folder_name for on in (True, False)}
    assert len(names) == 2


@pytest.mark.parametrize("url", ["http://ca.test/dir", "ca.test", "https:///x", ""])
def test_a_directory_in_the_clear_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        AcmeSettings(directory=url)


def test_the_hmac_key_is_not_shown() -> None:
    settings = AcmeSettings(external_account=ExternalAccount("kid", "secret"))
    assert "secret" not in repr(settings)


def test_steps_are_phases() -> None:
    assert {Phase(step.value) for step in Step} <= set(Phase)


@pytest.mark.parametrize(
    ("hostname", "usable"),
    [
        ("home.example.com", True),
        ("xn--hxa.example.xn--p1ai", True),
        ("a.b", True),
        ("example", False),
        ("*.example.com", False),
        ("../../etc/passwd.com", False),
        ("home.example.com/x", False),
        ("Home.example.com", False),
        ("home..example.com", False),
        ("-a.example.com", False),
        ("192.0.2.1", False),
        ("home.example.com\n", False),
        (".home.example.com", False),
        ("home.example.com.", False),
        ("a" * 64 + ".example.com", False),
        ("", False),
    ],
)
def test_hostnames_are_names_and_safe_as_file_names(
    hostname: str, *, usable: bool
) -> None:
    assert is_usable(hostname) is usable
