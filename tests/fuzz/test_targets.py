"""Each parser that faces the network takes anything: it reads it or refuses it."""

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from tests.fuzz.targets import TARGETS, Target

EVERY = pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)


def mutated(seed: bytes, data: st.DataObject) -> bytes:
    """Change, cut, double and fill in some places of what is right."""
    made = bytearray(seed)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(made)))
        end = data.draw(st.integers(at, min(at + 8, len(made))))
        made[at:end] = data.draw(
            st.one_of(
                st.binary(max_size=4),
                st.sampled_from([b"\xff\xff", b"\0\0", b'"', b"[[[", b"1e999"]),
                st.just(bytes(made[at:end]) * 3),
            )
        )
    return bytes(made)


@EVERY
def test_what_is_right_is_read(target: Target) -> None:
    for seed in target.seeds:
        target.read(seed)


@EVERY
@settings(deadline=None)
@given(noise=st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(target: Target, noise: bytes) -> None:
    target.read(noise)


@EVERY
@settings(deadline=None)
@given(data=st.data())
def test_what_is_almost_right_is_read_or_refused(
    target: Target, data: st.DataObject
) -> None:
    target.read(mutated(data.draw(st.sampled_from(target.seeds)), data))


@EVERY
@settings(deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_is_read_or_refused(target: Target, text: str) -> None:
    target.read(text.encode(errors="surrogatepass"))


@pytest.mark.parametrize(
    "name", ["message", "pairing_request", "take_over", "api_body"]
)
def test_deep_nests_are_refused(name: str) -> None:
    TARGETS[name].read(b"[" * 60_000)
    TARGETS[name].read(b'{"a":' * 10_000)
