"""Names and passwords: what is accepted, and that only a hash is kept."""

import re
import unicodedata

import pytest

from hearthgate.home.access import AccessError, hash_password, make_access, matches


def test_hash_is_salted_sha_crypt_and_matches_only_its_password() -> None:
    one, two = hash_password("correct horse"), hash_password("correct horse")
    assert one != two
    assert re.fullmatch(r"\$6\$[./0-9A-Za-z]{16}\$[./0-9A-Za-z]{86}", one)
    assert matches("correct horse", one)
    assert matches("correct horse", two)
    assert not matches("Correct horse", one)


def test_hash_is_the_one_that_another_implementation_gives() -> None:
    """Made by OpenSSL: passwd -6 -salt abc x."""
    known = (
        "$6$abc$K4v3HcZ8yAmpRfxML6S46NCcqy9r4/KdbQpFvqSWsBf4dgySOEOo1DHJTrmn2BsJ"
        "K2aNmPN8Tfb826D2o9.z51"
    )
    assert matches("x", known)


@pytest.mark.parametrize("broken", ["", "x", "$6$", "$9$abc$def", "*0", "\0"])
def test_broken_hash_matches_nothing(broken: str) -> None:
    assert not matches("", broken)
    assert not matches("a password", broken)


def test_password_is_kept_in_one_normal_form() -> None:
    """Browsers send NFC, keyboards of some systems type NFD (RFC 7617 §2.1)."""
    typed = unicodedata.normalize("NFD", "häuschen")
    assert matches(
        unicodedata.normalize("NFC", typed), make_access("a", typed).password_hash
    )
    assert make_access(unicodedata.normalize("NFD", "ä"), "a password").username == "ä"


@pytest.mark.parametrize(
    ("username", "password"),
    [
        ("", "a password"),
        ("a:b", "a password"),
        ("a\nb", "a password"),
        (" anna", "a password"),
        ("anna ", "a password"),
        ("a\u202eb", "a password"),
        ("\ud800", "a password"),
        ("a" * 65, "a password"),
        ("anna", ""),
        ("anna", "1234567"),
        ("anna", "a" * 129),
        ("anna", "a pass\0word"),
        ("anna", "a pass\nword"),
        ("anna", "\ud800" * 8),
    ],
)
def test_name_or_password_that_cannot_work_is_refused_with_a_reason(
    username: str, password: str
) -> None:
    with pytest.raises(AccessError) as caught:
        make_access(username, password)
    assert caught.value.fields["reason"]
    assert not password or password not in str(caught.value)


def test_password_never_shows_in_what_is_kept() -> None:
    assert "a password" not in repr(make_access("anna", "a password"))
