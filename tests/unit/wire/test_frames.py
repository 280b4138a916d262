"""Frames of sealed channels: what is sealed is opened once, in order, and whole."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st
import pytest

from hearthgate.wire import frames as sealed
from hearthgate.wire.frames import (
    FRAME_MAX_BYTES,
    Frame,
    FrameForgedError,
    FrameKind,
    FrameOpener,
    FrameSealer,
    StreamOpen,
    read_stream_open,
    sealed_keys,
    write_stream_open,
)
from hearthgate.wire.proxy import proxy_header

CHANNEL_KEY = bytes(range(32))
TO_RELAY, TO_HOME = sealed_keys(CHANNEL_KEY, 7)
HEAD_BYTES, TAG_BYTES = 3, 16


def frames_of(opener: FrameOpener, data: bytes, step: int = 0) -> list[Frame]:
    """Feed data, whole or in steps; return what came out."""
    found: list[Frame] = []
    for start in range(0, len(data), step or len(data) or 1):
        found += opener.feed(memoryview(data)[start : start + (step or len(data))])
    return found


def written(sealer: FrameSealer, *messages: tuple[FrameKind, bytes]) -> bytes:
    return b"".join(b"".join(sealer.seal(*message)) for message in messages)


def test_a_frame_has_its_parts_where_they_are_documented() -> None:
    frame = written(FrameSealer(TO_HOME), (FrameKind.DATA, b"hello"))
    assert frame[:HEAD_BYTES] == bytes([FrameKind.DATA, 0, 5])
    assert len(frame) == HEAD_BYTES + 5 + TAG_BYTES
    assert b"hello" not in frame


@pytest.mark.parametrize("step", [1, 2, 3, 7, 19, 20, 1000, 0])
def test_frames_in_any_pieces_are_the_same(step: int) -> None:
    messages = [
        (FrameKind.OPEN, b"who"),
        (FrameKind.DATA, b"x" * 300),
        (FrameKind.ACCEPT, b""),
        (FrameKind.END, b"bye"),
    ]
    data = written(FrameSealer(TO_HOME), *messages)
    assert frames_of(FrameOpener(TO_HOME), data, step) == messages


def test_every_prefix_waits_for_more() -> None:
    data = written(FrameSealer(TO_HOME), (FrameKind.DATA, b"hello"))
    for size in range(len(data)):
        opener = FrameOpener(TO_HOME)
        assert frames_of(opener, data[:size]) == []
        assert frames_of(opener, data[size:]) == [(FrameKind.DATA, b"hello")]


@pytest.mark.parametrize("place", range(HEAD_BYTES + 5 + TAG_BYTES))
def test_no_byte_can_be_changed(place: int) -> None:
    data = bytearray(written(FrameSealer(TO_HOME), (FrameKind.DATA, b"hello")))
    data[place] ^= 1
    found: list[Frame] = []
    try:
        found = frames_of(FrameOpener(TO_HOME), bytes(data))
    except FrameForgedError:
        return
    assert found == []  # a length that asks for more


def test_a_frame_counts_once_and_in_its_place() -> None:
    sealer = FrameSealer(TO_HOME)
    one, other = (written(sealer, (FrameKind.DATA, text)) for text in (b"a", b"b"))
    opener = FrameOpener(TO_HOME)
    assert frames_of(opener, one) == [(FrameKind.DATA, b"a")]
    with pytest.raises(FrameForgedError):
        frames_of(opener, one)
    with pytest.raises(FrameForgedError):
        frames_of(FrameOpener(TO_HOME), other)


def test_a_frame_is_for_one_channel_and_one_direction() -> None:
    data = written(FrameSealer(TO_HOME), (FrameKind.DATA, b"hello"))
    others = [TO_RELAY, *sealed_keys(CHANNEL_KEY, 8), *sealed_keys(bytes(32), 7)]
    assert len({TO_HOME, *others}) == 6
    for key in others:
        with pytest.raises(FrameForgedError):
            frames_of(FrameOpener(key), data)


def test_a_frame_that_is_too_long_is_refused_before_it_has_come() -> None:
    head = bytes([FrameKind.DATA]) + (FRAME_MAX_BYTES + 1).to_bytes(2)
    with pytest.raises(FrameForgedError):
        frames_of(FrameOpener(TO_HOME), head)


@given(st.binary(max_size=200))
def test_noise_is_refused_or_waits(noise: bytes) -> None:
    with contextlib.suppress(FrameForgedError):
        assert frames_of(FrameOpener(TO_HOME), noise) == []


def test_a_long_stream_becomes_frames_and_the_last_one_ends_it() -> None:
    data = bytes(range(256)) * (2 * FRAME_MAX_BYTES // 256) + b"tail"
    parts = FrameSealer(TO_HOME).seal_all(memoryview(data), is_end=True)
    found = frames_of(FrameOpener(TO_HOME), b"".join(parts))
    assert [kind for kind, _ in found] == [
        FrameKind.DATA,
        FrameKind.DATA,
        FrameKind.END,
    ]
    assert b"".join(inside for _, inside in found) == data


def test_an_end_without_bytes_is_one_frame() -> None:
    parts = FrameSealer(TO_HOME).seal_all(memoryview(b""), is_end=True)
    assert frames_of(FrameOpener(TO_HOME), b"".join(parts)) == [(FrameKind.END, b"")]


def test_both_ends_take_the_next_key_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealed, "_FRAMES_PER_KEY", 3)
    messages = [(FrameKind.DATA, bytes([number])) for number in range(10)]
    data = written(FrameSealer(TO_HOME), *messages)
    assert frames_of(FrameOpener(TO_HOME), data) == messages
    monkeypatch.setattr(sealed, "_FRAMES_PER_KEY", 4)
    with pytest.raises(FrameForgedError):
        frames_of(FrameOpener(TO_HOME), data)


@pytest.mark.parametrize("visitor", ["192.0.2.7", "2001:db8::7"])
@pytest.mark.parametrize("asks", [True, False])
def test_an_open_says_who_came_where(visitor: str, *, asks: bool) -> None:
    proxy = proxy_header((visitor, 40_000), ("203.0.113.5", 25_565))
    opened = StreamOpen(25_565, proxy, asks)
    assert read_stream_open(write_stream_open(opened)) == opened


@pytest.mark.parametrize("size", [0, 1, 2, 3, 30, 32, 54, 56])
def test_an_open_of_another_size_is_none(size: int) -> None:
    assert read_stream_open(bytes(size)) is None
