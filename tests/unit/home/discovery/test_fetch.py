"""Bodies are unpacked by hand, so that a small one can't become a large one."""

import gzip
import zlib

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.home.discovery.fetch import _unpack

PAGE = b"<title>Attic</title>" * 20


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("packed", "encoding"),
    [
        (PAGE, ""),
        (PAGE, "identity"),
        (gzip.compress(PAGE, mtime=0), "gzip"),
        (zlib.compress(PAGE), "deflate"),
        (raw_deflate(PAGE), "deflate"),
    ],
)
def test_each_usual_encoding_is_unpacked(packed: bytes, encoding: str) -> None:
    assert _unpack(packed, encoding, 10_000) == PAGE


def test_a_bomb_gives_one_byte_more_than_the_cap_at_most() -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(_unpack(bomb, "gzip", 1000)) == 1001


def test_a_body_cut_short_gives_what_is_there() -> None:
    assert _unpack(gzip.compress(PAGE, mtime=0)[:-12], "gzip", 10_000)[:7] == b"<title>"


def test_an_encoding_that_was_not_asked_for_gives_nothing() -> None:
    assert _unpack(PAGE, "br", 10_000) == b""


@given(st.binary(), st.sampled_from(["gzip", "deflate"]))
def test_no_bytes_raise(raw: bytes, encoding: str) -> None:
    assert len(_unpack(raw, encoding, 100)) <= 101
