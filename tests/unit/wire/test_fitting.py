"""Whatever a relay has to say, its reader takes it."""

import dataclasses

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from hearthgate.wire.constants import CONTROL_MESSAGE_MAX_BYTES
from hearthgate.wire.fitting import fitted, grant_fits
from hearthgate.wire.messages import (
    ControlMessageError,
    Forwarded,
    Granted,
    Message,
    Need,
    Published,
    Refused,
    Welcome,
    read_message,
    write_message,
)
from hearthgate.wire.ports import PortRange, Ports

SENTENCE = "This relay does not let your home use it. " * 8
MANY = tuple(PortRange(1024 + 2 * n, 1024 + 2 * n) for n in range(1000))
LONG = tuple(f"{'x' * 60}.{n}.{'y' * 60}.example.com" for n in range(1000))
WELCOME = Welcome(
    protocol=1,
    session_id=bytes(16),
    generation=1,
    channel_key=bytes(32),
    home="x" * 40,
    domains=LONG,
    addresses=("2001:db8:1111:2222:3333:4444:5555:6666",) * 16,
    channels_max=1_000_000,
    software="0.1.0",
    features=("forwards",) * 8,
    tcp=MANY,
    udp=MANY,
)


def read_back(message: Message) -> Message:
    text = write_message(message)
    assert len(text) <= CONTROL_MESSAGE_MAX_BYTES
    return read_message(text)


@pytest.mark.parametrize(
    "message",
    [
        Forwarded(1, {f"tcp/{n}": SENTENCE for n in range(2000, 3000)}),
        Published(1, {f"n{n}.example.com": SENTENCE for n in range(1000)}),
        Published(1, {f"n{n}.example.com": '"' * 400 for n in range(1000)}),
        Published(1, {"a.example.com": "x" * 2000}),
        WELCOME,
        Granted(LONG, MANY, MANY),
        Need(1_000_000, 1 << 63),
    ],
    ids=lambda message: type(message).__name__,
)
def test_what_is_too_long_is_cut_until_it_is_read(message: Message) -> None:
    with pytest.raises((AssertionError, ControlMessageError)):
        read_back(message)
    told = fitted(message)
    assert type(read_back(told)) is type(message)
    assert fitted(told) == told


def test_all_refused_forwards_are_told_if_need_be_with_shorter_sentences() -> None:
    refused = {f"tcp/{n}": SENTENCE for n in range(2000, 3000)}
    told = fitted(Forwarded(7, refused))
    assert isinstance(told, Forwarded)
    assert (told.id, told.refused.keys()) == (7, refused.keys())
    assert all(why.startswith("This relay") for why in told.refused.values())


def test_names_that_are_too_many_by_themselves_become_one_refusal() -> None:
    told = fitted(Published(7, dict.fromkeys(LONG, SENTENCE)))
    assert isinstance(told, Refused)
    assert (told.id, told.code) == (7, "too_many_hostnames")
    assert "1000 of your hostnames" in told.message
    assert read_back(told) == told


def test_what_fits_is_left_as_it_is() -> None:
    for message in (
        Published(1, {"a.example.com": SENTENCE}),
        Forwarded(1, {"tcp/25565": SENTENCE}),
        Granted(("a.example.com",), MANY[:200], ()),
        dataclasses.replace(WELCOME, domains=(), tcp=(), udp=(), channels_max=64),
        Need(4096, 5),
    ):
        assert fitted(message) == message


def test_a_grant_that_is_cut_keeps_its_first_domains() -> None:
    told = fitted(WELCOME)
    assert isinstance(told, Welcome)
    assert 0 < len(told.domains) < len(LONG)
    assert told.domains == LONG[: len(told.domains)]
    assert (told.tcp, told.channels_max) == (MANY[:200], 4096)


def test_a_grant_fits_up_to_what_a_welcome_carries() -> None:
    assert grant_fits(LONG[:300], Ports(tcp=MANY[:200], udp=MANY[:200]))
    assert not grant_fits(LONG, Ports())
    assert not grant_fits((), Ports(udp=MANY[:201]))


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,60}\.example\.com", fullmatch=True),
        st.text(st.characters(exclude_categories=["C", "Z"]), max_size=700),
        max_size=300,
    )
)
def test_any_refusals_are_read(refused: dict[str, str]) -> None:
    told = read_back(fitted(Published(1, refused)))
    assert isinstance(told, Published)
    assert told.refused.keys() == refused.keys()
