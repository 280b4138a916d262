"""Control messages: what is written is read, and what else is there is refused."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
import pytest

from hearthgate.wire.constants import CONTROL_MESSAGE_MAX_BYTES
from hearthgate.wire.messages import (
    Answer,
    Claim,
    ControlMessageError,
    Done,
    DropAnswer,
    Forward,
    Forwarded,
    Forwards,
    Goodbye,
    GoodbyeReason,
    Granted,
    Hello,
    Message,
    Need,
    Publish,
    Published,
    Refused,
    Welcome,
    read_message,
    write_message,
)
from hearthgate.wire.ports import PortRange, Protocol

Json = dict[str, Any]

MESSAGES: tuple[Message, ...] = (
    Hello((1,), "0.1.0"),
    Hello((3, 2, 1), "", ("forwards", "colours")),
    Hello((1,), "0.1.0", ("forwards",), "a machine", Claim.INSISTS, seals=True),
    Welcome(
        protocol=1,
        session_id=bytes(range(16)),
        generation=3,
        channel_key=bytes(range(32)),
        home="cottage",
        domains=("cottage.example.com", "xn--mller-kva.example"),
        addresses=("203.0.113.5", "2001:db8::5"),
        channels_max=64,
        software="0.1.0",
        features=("forwards",),
        tcp=(PortRange(25565, 25565),),
        udp=(PortRange(51820, 51830), PortRange(60000, 60000)),
        datagram_port=443,
    ),
    Publish(1, ()),
    Publish(2, ("a.example.com", "b.example.com")),
    Published(2, {}),
    Published(2, {"a.example.com": "Another home on this relay holds a.example.com."}),
    Forwards(1, ()),
    Forwards(2, (Forward(Protocol.TCP, 25565), Forward(Protocol.UDP, 51820))),
    Forwarded(2, {"tcp/25565": "Something else listens there."}),
    Granted(("a.example.com",), (PortRange(1, 65535),), ()),
    Answer(3, "a.example.com", "tok-en_1", "tok-en_1.thumb-print_"),
    DropAnswer(4, "a.example.com", "tok-en_1"),
    Done((1 << 53) - 1),
    Refused(0, "protocol_unknown", "This relay speaks “1”."),
    Need(0, 17),
    Need(4096),
    *(Goodbye(reason) for reason in GoodbyeReason),
    *(Hello((1,), "0.1.0", (), "0a1b2c3d", claim) for claim in Claim),
)


def written(message: Message) -> Json:
    found: Json = json.loads(write_message(message))
    return found


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_what_is_written_is_read_again(message: Message) -> None:
    assert read_message(write_message(message)) == message


def test_a_welcome_looks_as_documented() -> None:
    assert written(MESSAGES[3]) == {
        "type": "welcome",
        "protocol": 1,
        "session_id": "AAECAwQFBgcICQoLDA0ODw==",
        "generation": 3,
        "channel_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "home": "cottage",
        "domains": ["cottage.example.com", "xn--mller-kva.example"],
        "addresses": ["203.0.113.5", "2001:db8::5"],
        "channels_max": 64,
        "software": "0.1.0",
        "features": ["forwards"],
        "tcp": ["25565"],
        "udp": ["51820-51830", "60000"],
        "datagram_port": 443,
    }


@pytest.mark.parametrize("message", MESSAGES, ids=lambda one: type(one).__name__)
def test_keys_of_a_newer_side_are_ignored(message: Message) -> None:
    newer = {**written(message), "colour": "blue", "more": {"deep": [1, None]}}
    assert read_message(json.dumps(newer)) == message


def fields() -> list[tuple[Message, str]]:
    return [(one, name) for one in MESSAGES for name in written(one)]


LATER = {"features", "tcp", "udp", "datagram_port", "machine", "claim", "seals"}


def test_what_came_later_may_be_missing() -> None:
    for message in MESSAGES:
        if isinstance(message, Hello | Welcome):
            kept = {k: v for k, v in written(message).items() if k not in LATER}
            older = read_message(json.dumps(kept))
            assert isinstance(older, Hello | Welcome)
            assert older.features == ()


@pytest.mark.parametrize(
    "forward", ["tcp/0", "tcp/65536", "tcp/1-2", "tcp/01", "sctp/1", "1", "tcp/", 5]
)
def test_what_is_no_forward_is_refused(forward: object) -> None:
    with pytest.raises(ControlMessageError):
        read_message(json.dumps({"type": "forwards", "id": 1, "forwards": [forward]}))


def needed() -> list[tuple[Message, str]]:
    return [
        (one, name)
        for one, name in fields()
        if name not in LATER or not isinstance(one, Hello | Welcome)
    ]


@pytest.mark.parametrize(("message", "name"), needed())
def test_a_missing_field_is_refused(message: Message, name: str) -> None:
    data = written(message)
    del data[name]
    with pytest.raises(ControlMessageError):
        read_message(json.dumps(data))


@pytest.mark.parametrize(("message", "name"), fields())
def test_a_field_of_another_kind_is_refused(message: Message, name: str) -> None:
    data = written(message)
    kind = type(data[name])
    others: list[object] = [
        None,
        True,
        1.5,
        "x" * 70_000,
        "\n",
        [None],
        [[]],
        {"a": "b"},
        -1,
        1 << 53,
    ]
    for other in others:
        if kind is dict and isinstance(other, dict):
            continue  # what it says of names that are none is ignored
        if kind is bool and isinstance(other, bool):
            continue
        with pytest.raises(ControlMessageError):
            read_message(json.dumps({**data, name: other}))


_HELLO: Json = {"type": "hello", "protocols": [1], "software": ""}
_PUBLISH: Json = {"type": "publish", "id": 1, "hostnames": []}
_ANSWER: Json = {
    "type": "answer",
    "id": 1,
    "hostname": "a.example.com",
    "token": "t",
    "key_authorization": "t.k",
}


@pytest.mark.parametrize(
    "data",
    [
        {**_HELLO, "protocols": []},
        {**_HELLO, "protocols": [0]},
        {**_HELLO, "protocols": [1_000_001]},
        {**_HELLO, "protocols": list(range(1, 18))},
        {**_HELLO, "software": "x" * 65},
        {**_HELLO, "software": "1.0\n2026-01-01 ERROR relay: forged"},
        {**_HELLO, "software": "\x1b[2J"},
        {**_HELLO, "software": "\ud800"},
        {**_PUBLISH, "hostnames": ["A.example.com"]},
        {**_PUBLISH, "hostnames": ["a.example.com."]},
        {**_PUBLISH, "hostnames": ["203.0.113.5"]},
        {**_PUBLISH, "hostnames": ["localhost"]},
        {**_PUBLISH, "hostnames": ["*.example.com"]},
        {**_PUBLISH, "hostnames": ["a.example.com", None]},
        {**_PUBLISH, "hostnames": "a.example.com"},
        {**_PUBLISH, "hostnames": [f"a{n}.io" for n in range(1001)]},
        {**_PUBLISH, "id": -1},
        {**_PUBLISH, "id": 1 << 53},
        {**_PUBLISH, "id": "1"},
        {**_ANSWER, "token": ""},
        {**_ANSWER, "token": "../../x"},
        {**_ANSWER, "token": "t\n"},
        {**_ANSWER, "token": "t" * 257},
        {**_ANSWER, "key_authorization": "t"},
        {**_ANSWER, "key_authorization": "t.k\r\nX: y"},
        {**_ANSWER, "key_authorization": "t.k.k"},
        {"type": "goodbye", "reason": "tired"},
        {"type": "need", "count": 4097, "stale_before": 0},
        {"type": "need", "count": -1, "stale_before": 0},
        {"type": "HELLO", "protocols": [1], "software": ""},
        {"type": ["hello"], "protocols": [1], "software": ""},
        {"type": {}},
        {"type": None},
        {},
    ],
    ids=lambda data: json.dumps(data)[:60],
)
def test_a_bad_value_is_refused(data: Json) -> None:
    with pytest.raises(ControlMessageError):
        read_message(json.dumps(data))


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "hello", "{", '{"type":', "[]", "null", "1", '"hello"', "NaN"),
        *("[" * 60_000, '{"type":' * 8_000, "9" * 5_000, '{"type":"done","id":1e999}'),
        '{"type":"done","id":' + "9" * 5_000 + "}",
        '{"type":"done","id":NaN}',
        '{"type":"done","id":1}{"type":"done","id":1}',
        '{"type":"done","id":1,"x":"' + "y" * CONTROL_MESSAGE_MAX_BYTES + '"}',
    ],
    ids=lambda text: text[:20] or "empty",
)
def test_what_is_no_message_is_refused(text: str) -> None:
    with pytest.raises(ControlMessageError):
        read_message(text)


def test_a_message_of_exactly_the_bound_is_read() -> None:
    frame = '{"type":"done","id":1,"x":"'
    text = frame + "y" * (CONTROL_MESSAGE_MAX_BYTES - len(frame) - 2) + '"}'
    assert read_message(text) == Done(1)


def test_an_error_does_not_repeat_what_the_other_side_sent() -> None:
    """It goes into the log, where a line end would begin a forged line."""
    data = {**_PUBLISH, "hostnames": ["a\n2026-01-01 ERROR forged.example.com"]}
    with pytest.raises(ControlMessageError) as caught:
        read_message(json.dumps(data))
    assert "forged" not in str(caught.value)


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_NAMES = sorted({name for one in MESSAGES for name in written(one)})


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(MESSAGES),
    st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=3),
)
def test_any_change_gives_a_message_or_an_error(message: Message, more: Json) -> None:
    try:
        read = read_message(json.dumps({**written(message), **more}))
    except ControlMessageError:
        return
    assert read_message(write_message(read)) == read


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_any_text_gives_a_message_or_an_error(text: str) -> None:
    with pytest.raises(ControlMessageError):
        read_message(text)


def test_the_channel_key_is_not_shown() -> None:
    assert "channel_key" not in repr(MESSAGES[3])
