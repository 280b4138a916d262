"""The messages of the control connection: JSON objects in WebSocket text frames.

    agent                                   relay
      │── hello {protocols} ──────────────────▶│
      │◀────────────── welcome {session, key} ─│   or refused, and the connection closes
      │── publish {hostnames} ────────────────▶│   the whole set, each time it changes
      │◀──────────────────── published {…} ────│
      │── forwards {forwards} ────────────────▶│   the whole set of ports, likewise
      │◀──────────────────── forwarded {…} ────│
      │◀──── granted {domains, tcp, udp} ──────│   the owner has changed the grant
      │── answer / drop_answer ───────────────▶│   ACME HTTP-01, RFC 8555 §8.3
      │◀──────────────────────── done {id} ────│   or refused {id, code, message}
      │◀──────── need {count, stale_before} ───│   visitors wait: dial channels
      │◀──────────────────── goodbye {reason} ─│   replaced, revoked, stopping

What is read is validated here and nowhere else. Unknown keys are ignored, so that a
newer side may add some; an unknown type or a bad value is a ControlMessageError. So
messages that came later are sent only to who has said that it knows them (features).
The flow in words: docs/protocol.md §3.
"""

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
import json
import re
from typing import Any

import voluptuous as vol

from hearthgate.errors import HearthgateError
from hearthgate.wire.constants import (
    CHANNEL_KEY_BYTES,
    CONTROL_MESSAGE_MAX_BYTES,
    SESSION_ID_BYTES,
)
from hearthgate.wire.names import HOSTNAME_MAX, HostnameInvalidError, fold_hostname
from hearthgate.wire.ports import (
    PortRange,
    PortsInvalidError,
    Protocol,
    read_ports,
)

HOSTNAMES_MAX = 1000  # in one message; a relay's own limit is lower
FORWARDS_MAX = 1000
REFUSED_MAX = 1000
REASON_MAX = 500  # characters of a sentence
RANGES_MAX = 200
CHANNELS_MAX = 4096
_ID_MAX = (1 << 53) - 1  # what every JSON reader keeps exact (RFC 8259 §6)
SERIAL_MAX = _ID_MAX
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}")  # RFC 8555 §8.3: base64url
# What fold_hostname surely leaves as it is.
_PLAIN = re.compile(
    r"(?:(?!-)[a-z0-9-]{1,63}(?<!-)\.)+(?=[a-z0-9-]{1,63}\Z)[a-z][a-z0-9-]*(?<!-)"
)
_KEY_AUTHORIZATION = re.compile(r"[A-Za-z0-9_-]{1,256}\.[A-Za-z0-9_-]{1,128}")


class ControlMessageError(HearthgateError):
    """Raise if the other side sent what the protocol does not allow."""

    code = "control_message"
    message = (
        "The other side sent a message that the protocol does not allow: {reason}."
    )
    hint = "Update Hearthgate on both sides."


class Feature(StrEnum):
    """What was added to protocol 1 later. Unknown ones are ignored."""

    FORWARDS = "forwards"  # forwards, forwarded, granted, and sealed channels
    DATAGRAMS = "datagrams"  # UDP forwards
    MACHINES = "machines"  # a hello's machine and claim count
    SEALING = "sealing"  # so does its seals


@dataclass(frozen=True, slots=True, order=True)
class Forward:
    """A public port that leads to a home."""

    protocol: Protocol
    port: int

    def __str__(self) -> str:
        return f"{self.protocol}/{self.port}"


class GoodbyeReason(StrEnum):
    """Why a relay ends a session."""

    REPLACED = "replaced"  # the same home has connected again
    REVOKED = "revoked"  # the home may not come back
    STOPPING = "stopping"  # the relay restarts; come back
    MISBEHAVED = "misbehaved"  # a limit or the protocol was broken


class Claim(StrEnum):
    """Whether an agent wants to be its home if another one already is."""

    USUAL = "usual"  # the relay decides by the machine
    YIELDS = "yields"  # it was replaced: only if nobody else is there
    INSISTS = "insists"  # a person has said so


@dataclass(frozen=True, slots=True)
class Hello:
    """First message of an agent."""

    protocols: tuple[int, ...]  # versions that it speaks, best first
    software: str  # for the log
    features: tuple[str, ...] = ()
    machine: str = ""  # tells two machines with the same keys apart; empty: not said
    claim: Claim = Claim.USUAL
    seals: bool = False  # wants web visitors over sealed channels too


@dataclass(frozen=True, slots=True)
class Welcome:
    """First message of a relay: the session has begun."""

    protocol: int  # the version that both speak
    session_id: bytes
    generation: int  # counts the sessions of this home; the highest is the valid one
    channel_key: bytes = field(repr=False)
    home: str  # the name that the relay knows this home by
    domains: tuple[str, ...]  # granted: each name and all below
    addresses: tuple[str, ...]  # where the relay's ports 80 and 443 are, public
    channels_max: int  # parked at once
    software: str
    features: tuple[str, ...] = ()
    tcp: tuple[PortRange, ...] = ()  # granted
    udp: tuple[PortRange, ...] = ()
    datagram_port: int = 0  # UDP, at the address of the control connection


@dataclass(frozen=True, slots=True)
class Publish:
    """An agent's whole set of public hostnames."""

    id: int
    hostnames: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a set: refused hostnames with a sentence each."""

    id: int
    refused: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Forwards:
    """An agent's whole set of forwards."""

    id: int
    forwards: tuple[Forward, ...]


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What became of a set of forwards: refused ones with a sentence each."""

    id: int
    refused: Mapping[str, str]  # by the text of the forward


@dataclass(frozen=True, slots=True)
class Granted:
    """The grant as it is from now on."""

    domains: tuple[str, ...]
    tcp: tuple[PortRange, ...]
    udp: tuple[PortRange, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """An ACME HTTP-01 answer that the relay shall show on port 80."""

    id: int
    hostname: str
    token: str
    key_authorization: str


@dataclass(frozen=True, slots=True)
class DropAnswer:
    """An ACME answer that is no longer needed."""

    id: int
    hostname: str
    token: str


@dataclass(frozen=True, slots=True)
class Done:
    """A request was carried out."""

    id: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A request, or with id 0 the whole session, was refused."""

    id: int
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Need:
    """Visitors wait for channels."""

    count: int  # dial so many now
    stale_before: int = 0  # channels with a lower serial are dead: close them


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The relay ends the session."""

    reason: GoodbyeReason


Message = (
    Hello
    | Welcome
    | Publish
    | Published
    | Forwards
    | Forwarded
    | Granted
    | Answer
    | DropAnswer
    | Done
    | Refused
    | Need
    | Goodbye
)


def _hostname(value: object) -> str:
    # Only A-labels come over the wire, so nobody can have us compute them.
    if not isinstance(value, str) or len(value) > HOSTNAME_MAX or not value.isascii():
        raise vol.Invalid("expected a hostname in lower-case A-labels")
    if _PLAIN.fullmatch(value):
        return value  # as nearly all are; a tenth of the time
    try:
        name = fold_hostname(value)
    except HostnameInvalidError as err:
        raise vol.Invalid("expected a hostname") from err
    if name != value:
        raise vol.Invalid("expected a hostname in lower-case A-labels")
    return name


def read_forward(value: object) -> Forward:
    """Return a forward from its text. Raises vol.Invalid."""
    protocol, _, port = value.partition("/") if isinstance(value, str) else ("", "", "")
    try:
        ports = read_ports(port)
        if str(ports.first) != port:  # a range, or with zeros in front
            raise vol.Invalid("expected a forward such as tcp/25565")
        return Forward(Protocol(protocol), ports.first)
    except (ValueError, PortsInvalidError) as err:
        raise vol.Invalid("expected a forward such as tcp/25565") from err


def _range(value: object) -> PortRange:
    try:
        return read_ports(value if isinstance(value, str) else "")
    except PortsInvalidError as err:
        raise vol.Invalid("expected ports such as 25565 or 5000-5010") from err


def _bytes(length: int) -> Callable[[object], bytes]:
    def decode(value: object) -> bytes:
        if not isinstance(value, str):
            raise vol.Invalid("expected base64 text")
        try:
            data = base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as err:
            raise vol.Invalid("expected base64 text") from err
        if len(data) != length:
            raise vol.Invalid(f"expected {length} bytes")
        return data

    return decode


def _integer(low: int, high: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        # bool is an int in Python, never in the protocol.
        if not isinstance(value, int) or isinstance(value, bool):
            raise vol.Invalid("expected a whole number")
        if not low <= value <= high:
            raise vol.Invalid(f"expected a number from {low} to {high}")
        return value

    return read


def _tuple_of(
    item: Callable[[object], object], most: int
) -> Callable[[object], tuple[object, ...]]:
    """Return what checks a list: its length first, then up to the first bad item.

    voluptuous' own lists look at every item and keep an error for each, which takes a
    quarter of a second for one message of bad ones.
    """

    def read(value: object) -> tuple[object, ...]:
        if not isinstance(value, list) or len(value) > most:
            raise vol.Invalid(f"expected a list of at most {most}")
        return tuple(item(one) for one in value)

    return read


def _refusals(name: Callable[[object], str]) -> Callable[[object], Mapping[str, str]]:
    """Return what checks sentences by name, likewise."""
    sentence = _text(REASON_MAX)

    def read(value: object) -> Mapping[str, str]:
        if not isinstance(value, dict) or len(value) > REFUSED_MAX:
            raise vol.Invalid(f"expected at most {REFUSED_MAX} refusals")
        return {name(one): sentence(why) for one, why in value.items()}

    return read


def _text(most: int) -> Callable[[object], str]:
    def read(value: object) -> str:
        # It ends up in logs, where a line end would begin a line of somebody's own.
        if not isinstance(value, str) or len(value) > most or not value.isprintable():
            raise vol.Invalid(
                f"expected text of at most {most} characters, none of them for control"
            )
        return value

    return read


_ID = _integer(0, _ID_MAX)
_HOSTNAMES = _tuple_of(_hostname, HOSTNAMES_MAX)
_FEATURES = _tuple_of(_text(32), 64)
_RANGES = _tuple_of(_range, RANGES_MAX)
_SCHEMAS: dict[str, tuple[type[Message], dict[Any, object]]] = {
    "hello": (
        Hello,
        {
            "protocols": vol.All(
                _tuple_of(_integer(1, 1_000_000), 16), vol.Length(min=1)
            ),
            "software": _text(64),
            vol.Optional("features", default=list): _FEATURES,
            vol.Optional("machine", default=""): _text(64),
            vol.Optional("claim", default=Claim.USUAL): vol.Coerce(Claim),
            vol.Optional("seals", default=False): bool,
        },
    ),
    "welcome": (
        Welcome,
        {
            "protocol": _integer(1, 1_000_000),
            "session_id": _bytes(SESSION_ID_BYTES),
            "generation": _integer(1, _ID_MAX),
            "channel_key": _bytes(CHANNEL_KEY_BYTES),
            "home": _text(64),
            "domains": _HOSTNAMES,
            "addresses": _tuple_of(_text(64), 16),
            "channels_max": _integer(1, CHANNELS_MAX),
            "software": _text(64),
            vol.Optional("features", default=list): _FEATURES,
            vol.Optional("tcp", default=list): _RANGES,
            vol.Optional("udp", default=list): _RANGES,
            vol.Optional("datagram_port", default=0): _integer(0, 65535),
        },
    ),
    "publish": (Publish, {"id": _ID, "hostnames": _HOSTNAMES}),
    "published": (
        Published,
        {"id": _ID, "refused": _refusals(_hostname)},
    ),
    "forwards": (
        Forwards,
        {"id": _ID, "forwards": _tuple_of(read_forward, FORWARDS_MAX)},
    ),
    "forwarded": (
        Forwarded,
        {"id": _ID, "refused": _refusals(_text(16))},
    ),
    "granted": (Granted, {"domains": _HOSTNAMES, "tcp": _RANGES, "udp": _RANGES}),
    "answer": (
        Answer,
        {
            "id": _ID,
            "hostname": _hostname,
            "token": vol.Match(_TOKEN.pattern + r"\Z"),
            "key_authorization": vol.Match(_KEY_AUTHORIZATION.pattern + r"\Z"),
        },
    ),
    "drop_answer": (
        DropAnswer,
        {
            "id": _ID,
            "hostname": _hostname,
            "token": vol.Match(_TOKEN.pattern + r"\Z"),
        },
    ),
    "done": (Done, {"id": _ID}),
    "refused": (Refused, {"id": _ID, "code": _text(64), "message": _text(1000)}),
    "need": (
        Need,
        {
            "count": _integer(0, CHANNELS_MAX),
            "stale_before": _integer(0, SERIAL_MAX),
        },
    ),
    "goodbye": (Goodbye, {"reason": vol.Coerce(GoodbyeReason)}),
}
_TYPES = {cls: name for name, (cls, _) in _SCHEMAS.items()}
_VALIDATORS = {
    name: vol.Schema(fields, required=True) for name, (_, fields) in _SCHEMAS.items()
}


def write_message(message: Message) -> str:
    """Return a message as the text of one frame."""
    fields = {name: getattr(message, name) for name in message.__slots__}
    return json.dumps(
        {"type": _TYPES[type(message)], **fields}, default=_plain, separators=(",", ":")
    )


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, Forward | PortRange):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no place in a control message")


def read_message(text: str) -> Message:
    """Return the message in a frame. Raises ControlMessageError."""
    if len(text) > CONTROL_MESSAGE_MAX_BYTES:
        raise ControlMessageError(reason="it is too long")
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise ControlMessageError(reason="it is no JSON") from err
    kind = data.get("type") if isinstance(data, dict) else None
    if not isinstance(kind, str) or kind not in _SCHEMAS:
        raise ControlMessageError(reason="its type is unknown")
    made, fields = _SCHEMAS[kind]
    try:
        names = [str(name) for name in fields]
        known = {name: data[name] for name in names if name in data}
        return made(**_VALIDATORS[kind](known))
    except vol.Invalid as err:
        # The error names fields, which may be texts of the other side.
        raise ControlMessageError(reason=f"{kind}: {str(err)[:200]}") from err
