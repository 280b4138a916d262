"""What goes on to aiohttp: one request, whole frames, and little at once."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from hearthgate.relay.accept.intake import (
    FrameIntake,
    Intake,
    IntakeError,
    RequestIntake,
)

HEAD = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
TEXT, BINARY, CONTINUATION, CLOSE, PING, PONG = 1, 2, 0, 8, 9, 10
NOTHING_LEFT = "too many control frames"


def frame(
    opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True
) -> bytes:
    """Return a frame as RFC 6455 §5.2 has it."""
    size, mask = len(payload), 0x80 * masked
    if size < 126:
        length = bytes([mask | size])
    elif size < 1 << 16:
        length = bytes([mask | 126]) + size.to_bytes(2)
    else:
        length = bytes([mask | 127]) + size.to_bytes(8)
    return bytes([0x80 * fin | opcode]) + length + bytes(4 * masked) + payload


class Budget:
    """Counts what it is charged for."""

    def __init__(self, frames: int = 1_000_000) -> None:
        self.left = frames
        self.frames = 0
        self.size = 0

    def frame(self) -> str:
        self.frames += 1
        self.left -= 1
        return NOTHING_LEFT if self.left < 0 else ""

    def bytes(self, size: int) -> str:
        self.size += size
        return ""

    def intake(self, *, is_charged: bool = True) -> FrameIntake:
        return FrameIntake(self.frame, self.bytes, is_charged=is_charged)


def pass_all(intake: Intake, data: bytes) -> list[bytes]:
    """Show everything again and again; return the pieces that went on."""
    pieces = []
    rest = memoryview(data)
    while rest:
        size = intake.take(rest)
        if not size:
            break
        pieces.append(bytes(rest[:size]))
        rest = rest[size:]
    return pieces


# --- requests -------------------------------------------------------------------------


@pytest.mark.parametrize("step", [1, 2, 3, 7, len(HEAD)])
def test_nothing_goes_on_behind_the_head_of_a_request(step: int) -> None:
    intake = RequestIntake(1000)
    whole = HEAD + b"GET /second HTTP/1.1\r\n\r\n"
    passed = b""
    for at in range(0, len(whole), step):
        passed += b"".join(pass_all(intake, whole[at : at + step]))
    assert passed == HEAD


def test_a_body_goes_on_as_far_as_it_is_asked_for() -> None:
    intake = RequestIntake(1000)
    assert pass_all(intake, HEAD + b"x" * 50) == [HEAD]
    intake.allow_body(30)
    assert b"".join(pass_all(intake, b"x" * 50)) == b"x" * 30
    assert pass_all(intake, b"x") == []


@pytest.mark.parametrize("step", [1, 10, 100])
def test_a_head_that_does_not_end_is_refused(step: int) -> None:
    intake = RequestIntake(100)
    for _ in range(0, 100 - step, step):
        assert pass_all(intake, b"a" * step) == [b"a" * step]
    with pytest.raises(IntakeError, match="too long"):
        pass_all(intake, b"a" * step)


# --- frames ---------------------------------------------------------------------------


def test_frames_go_on_as_they_are_and_each_is_charged() -> None:
    budget = Budget()
    data = b"".join(
        (
            frame(TEXT),
            frame(BINARY, b"x" * 125),
            frame(TEXT, b"x" * 126),
            frame(PING, b"?"),
            frame(BINARY, b"x" * 70_000),
            frame(PONG, masked=False),
            frame(CLOSE),
        )
    )
    assert b"".join(pass_all(budget.intake(), data)) == data
    assert (budget.frames, budget.size) == (7, len(data))


def test_few_frames_and_few_bytes_go_on_at_once() -> None:
    pieces = pass_all(Budget().intake(), frame(PING) * 1000)
    assert max(map(len, pieces)) <= 16 * len(frame(PING))
    pieces = pass_all(Budget().intake(), frame(BINARY, bytes(1 << 20)))
    assert max(map(len, pieces)) <= 16 * 1024


@pytest.mark.parametrize(
    "piece",
    [
        frame(TEXT, fin=False),
        frame(BINARY, b"{", fin=False),
        frame(CONTINUATION, fin=False),
        frame(CONTINUATION),
    ],
)
@pytest.mark.parametrize("is_charged", [True, False])
def test_a_message_in_pieces_is_refused(piece: bytes, *, is_charged: bool) -> None:
    intake = Budget().intake(is_charged=is_charged)
    pass_all(intake, frame(BINARY, b"whole"))
    with pytest.raises(IntakeError, match="in pieces"):
        pass_all(intake, piece)


def test_a_frame_that_nobody_pays_for_does_not_go_on() -> None:
    intake = Budget(3).intake()
    with pytest.raises(IntakeError, match=NOTHING_LEFT):
        pass_all(intake, frame(PING) * 4)


def test_where_data_is_free_signs_of_life_are_not() -> None:
    budget = Budget()
    pass_all(budget.intake(is_charged=False), frame(BINARY, b"x") * 20 + frame(PING))
    assert budget.frames == 1


def test_bytes_that_nobody_pays_for_do_not_go_on() -> None:
    intake = FrameIntake(lambda: "", lambda size: "too much" if size > 10 else "")
    with pytest.raises(IntakeError, match="too much"):
        pass_all(intake, frame(TEXT, b"x" * 50))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from([TEXT, BINARY, PING]), st.binary(max_size=300))),
    st.randoms(use_true_random=False),
)
def test_it_does_not_matter_how_frames_are_cut(
    frames: list[tuple[int, bytes]], rng: random.Random
) -> None:
    budget = Budget()
    intake = budget.intake()
    rest = data = b"".join(frame(opcode, payload) for opcode, payload in frames)
    passed = b""
    while rest:
        size = rng.randint(1, 40)
        passed += b"".join(pass_all(intake, rest[:size]))
        rest = rest[size:]
    assert passed == data
    assert budget.frames == len(frames)
