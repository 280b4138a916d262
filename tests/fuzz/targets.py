"""What reads bytes from the network, as functions that raise only if they are wrong.

    bytes ──▶ target ──▶ reads, checks what it can of the result, swallows refusals

A refusal is the error that the parser's docstring names; any other one is a bug.
"""

import base64
from collections.abc import Callable
import contextlib
from dataclasses import dataclass, field
import json
import re
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
import voluptuous as vol

from hearthgate.errors import HearthgateError
from hearthgate.home.hass.client import payloads
from hearthgate.home.hass.entities.entities import read_command
from hearthgate.home.web.api import bodies
from hearthgate.home.web.errors import InvalidBodyError, NotJsonError
from hearthgate.relay.doors.control_endpoint import read_pairing
from hearthgate.relay.errors import (
    CertificateRequestInvalidError,
    RequestInvalidError,
)
from hearthgate.relay.homes.keys import _request_key
from hearthgate.relay.owner.admin import _GRANT_BODY, _INVITE_BODY, ports_of
from hearthgate.relay.restart.takeover import TakeOverFailedError, _read, _write
from hearthgate.wire import channel, datagrams, names, pairing, ports
from hearthgate.wire import frames as sealed
from hearthgate.wire import messages as control
from hearthgate.wire.hello import Hello, NeedMore, read_hello
from hearthgate.wire.proxy import proxy_header
from tests.support import hellos

_KEY = bytes(range(32))
_SESSION = bytes(range(16))
_HELLO_MAX = 4096
_TAG = datagrams.session_tag(_SESSION)
_SENDS, _ = datagrams.datagram_keys(_KEY)
_VISITOR = ("203.0.113.9", 40_000)


@dataclass(frozen=True, slots=True)
class Target:
    """A parser, and what it is meant to read."""

    read: Callable[[bytes], None]
    seeds: tuple[bytes, ...] = field(repr=False)


def _hello(data: bytes) -> None:
    found = read_hello(data, max_bytes=_HELLO_MAX)
    if isinstance(found, NeedMore):
        assert 0 < found.missing <= _HELLO_MAX - len(data)
    elif isinstance(found, Hello):
        assert found.size <= len(data)
        name = found.server_name  # need not be a hostname: it is only looked up
        assert name is None or (name.isascii() and name == name.lower())
        assert name is None or name.isprintable()  # it gets into the log


def _preamble(data: bytes) -> None:
    found = channel.read_preamble(data)
    if found is not None and channel.preamble_is_authentic(found, _KEY):
        assert channel.write_preamble(found.session_id, found.serial, _KEY) == data


def _opening(data: bytes) -> None:
    size = channel.opening_size(data)
    if size is not None and len(data) >= size:
        channel.opening_is_sealed(data)
        channel.opening_is_authentic(data[:size], _SESSION, 7, _KEY)


def _message(data: bytes) -> None:
    with contextlib.suppress(control.ControlMessageError, UnicodeDecodeError):
        found = control.read_message(data.decode())
        assert control.read_message(control.write_message(found)) == found


def _pairing_code(data: bytes) -> None:
    with contextlib.suppress(pairing.PairingCodeError):
        found = pairing.read_pairing_code(data.decode(errors="replace"))
        assert pairing.read_pairing_code(pairing.write_pairing_code(found)) == found


def _pairing_request(data: bytes) -> None:
    with contextlib.suppress(RequestInvalidError):
        read_pairing(data)


def _certificate_request(data: bytes) -> None:
    pem = base64.encodebytes(data).decode()
    armoured = (
        f"-----BEGIN CERTIFICATE REQUEST-----\n{pem}-----END CERTIFICATE REQUEST-----\n"
    )
    with contextlib.suppress(CertificateRequestInvalidError):
        _request_key(armoured)
    with contextlib.suppress(CertificateRequestInvalidError):
        _request_key(data.decode(errors="replace"))


def _datagram(data: bytes) -> None:
    datagrams.tag_of(data)
    opener = datagrams.Opener(_SENDS)
    message = opener.open(data)
    assert message is None or opener.open(data) is None
    # Whoever is paired can seal whatever it likes.
    sealed = datagrams.Sealer(_SENDS, _TAG).seal(data)
    assert datagrams.Opener(_SENDS).open(sealed) == (data or None)
    datagrams.read_flow(data)
    found = datagrams.read_open(data)
    if found is not None:
        proxy_header(found.visitor, _VISITOR)


def _sealed(data: bytes) -> None:
    key, _ = sealed.sealed_keys(_KEY, 1)
    with contextlib.suppress(sealed.FrameForgedError):
        sealed.FrameOpener(key).feed(memoryview(data))
    # Whoever is paired can seal whatever it likes.
    parts = sealed.FrameSealer(key).seal_all(memoryview(data), is_end=True)
    frames = sealed.FrameOpener(key).feed(memoryview(b"".join(parts)))
    assert b"".join(inside for _, inside in frames) == data
    opened = sealed.read_stream_open(data)
    assert opened is None or sealed.write_stream_open(opened)[1:] == data[1:]


def _name(data: bytes) -> None:
    text = data.decode(errors="replace")
    with contextlib.suppress(names.HostnameInvalidError):
        found = names.normalise_hostname(text)
        assert names.normalise_hostname(found) == found
    with contextlib.suppress(names.AddressInvalidError):
        host, port = names.parse_address(text)
        assert names.parse_address(names.format_address(host, port)) == (host, port)
    with contextlib.suppress(ports.PortsInvalidError):
        assert str(ports.read_ports(str(ports.read_ports(text))))


def _take_over(data: bytes) -> None:
    with contextlib.suppress(TakeOverFailedError):
        _read(data)


_BODIES = (
    bodies.LOGIN,
    bodies.PAIR,
    bodies.NEW_SERVICE,
    bodies.SERVICE_CHANGE,
    bodies.EXPOSURE,
    bodies.TRUST,
)


def _api_body(data: bytes) -> None:
    for schema in _BODIES:
        with contextlib.suppress(NotJsonError, InvalidBodyError):
            bodies.check_body(data, schema)


def _json(data: bytes) -> Any:  # noqa: ANN401  JSON is anything
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _admin_body(data: bytes) -> None:
    found = _json(data)
    for schema in (_GRANT_BODY, _INVITE_BODY):
        with contextlib.suppress(vol.Invalid, HearthgateError):
            ports_of(schema(found))


_ANSWERS: tuple[Callable[[object], object], ...] = (
    payloads.read_own,
    payloads.read_core,
    payloads.read_started,
    payloads.read_add_on,
    payloads.read_addresses,
    payloads.read_broker,
)


def _supervisor(data: bytes) -> None:
    found = _json(data)
    for read in _ANSWERS:
        with contextlib.suppress(vol.Invalid):
            read(found)


def _mqtt(data: bytes) -> None:
    topic, _, payload = data.partition(b"\0")
    found = read_command("h0", topic.decode(errors="replace"), payload)
    assert found is None or re.fullmatch("[a-z0-9-]+", found[0])


def _request(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    hash_ = hashes.SHA256() if isinstance(key, ec.EllipticCurvePrivateKey) else None
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    made = builder.sign(key, hash_)
    return made.public_bytes(serialization.Encoding.DER)


_P384 = _request(ec.generate_private_key(ec.SECP384R1()))
# id-ecPublicKey (RFC 5480 §2.1.1) with one bit changed: no algorithm has this name.
_UNKNOWN_KEY = _P384.replace(b"\x2a\x86\x48\xce\x3d\x02", b"\x2a\x87\x48\xce\x3d\x02")


def _as_json(*values: object) -> tuple[bytes, ...]:
    return tuple(json.dumps(one).encode() for one in values)


_CODE = pairing.PairingCode("relay.example.com", 443, bytes(32), bytes(16), 1 << 31)
_PROXY = proxy_header(_VISITOR, ("203.0.113.5", 443))
_MESSAGES = tuple(
    control.write_message(one).encode()
    for one in (
        control.Hello((2, 1), "0.1.0", ("forwards",)),
        control.Publish(1, ("a.example.com",)),
        control.Forwards(1, (control.Forward(ports.Protocol.UDP, 51820),)),
        control.Answer(1, "a.example.com", "token", "token.key"),
        control.DropAnswer(2, "a.example.com", "token"),
        control.Need(3, 7),
        control.Goodbye(control.GoodbyeReason.STOPPING),
    )
)
_SECRET = base64.b64encode(bytes(16)).decode()

TARGETS: dict[str, Target] = {
    "hello": Target(
        _hello,
        (
            *hellos.HELLOS.values(),
            *hellos.NAMELESS.values(),
            *hellos.BROKEN.values(),
            *hellos.STRANGERS.values(),
        ),
    ),
    "preamble": Target(_preamble, (channel.write_preamble(_SESSION, 7, _KEY),)),
    "opening": Target(
        _opening, (channel.write_opening(_SESSION, 7, _KEY, _PROXY, b"flight"),)
    ),
    "message": Target(_message, _MESSAGES),
    "pairing_code": Target(
        _pairing_code, (pairing.write_pairing_code(_CODE).encode(),)
    ),
    "pairing_request": Target(
        _pairing_request, _as_json({"secret": _SECRET, "request": "-----BEGIN"})
    ),
    "certificate_request": Target(
        _certificate_request,
        (
            _request(ec.generate_private_key(ec.SECP256R1())),
            _P384,
            _UNKNOWN_KEY,
            _request(ed25519.Ed25519PrivateKey.generate()),
        ),
    ),
    "datagram": Target(
        _datagram,
        (
            datagrams.Sealer(_SENDS, _TAG).seal(b"hello"),
            datagrams.write_open(7, 51820, _VISITOR, b"first"),
            datagrams.write_flow(datagrams.Kind.DATA, 7, b"more"),
        ),
    ),
    "sealed": Target(
        _sealed,
        (
            b"".join(sealed.FrameSealer(_SENDS).seal(sealed.FrameKind.DATA, b"hello")),
            sealed.write_stream_open(
                sealed.StreamOpen(22, proxy_header(_VISITOR, _VISITOR), asks=True)
            ),
        ),
    ),
    "name": Target(
        _name, (b"a.example.com", b"xn--mller-kva.example:8443", b"[2001:db8::1]:1-9")
    ),
    "take_over": Target(
        _take_over,
        (
            _write({"kind": "hello", "version": 1}),
            _write({"kind": "home", "id": "h", "generation": 1, "hostnames": ["a.b"]}),
            _write({"kind": "visitor", "flight": "AAAA"}),
        ),
    ),
    "api_body": Target(
        _api_body,
        _as_json(
            {"password": "correct horse"},
            {"code": "HG1-ABCD"},
            {"name": "Lamp", "url": "http://192.0.2.7:8123/"},
            {"enabled": True, "hostname": "a.example.com", "access": None},
            {"enabled": True, "access": {"username": "anna", "password": "w" * 12}},
            {"enabled": True, "public_port": 22, "proxy_protocol": False},
            {"enabled": True, "protocols": ["tailscale-control-protocol"]},
            {"login_attempts": 5},
        ),
    ),
    "admin_body": Target(
        _admin_body,
        _as_json(
            {"name": "cottage", "domains": ["a.example.com"], "tcp": ["22-80"]},
            {"domains": [], "udp": ["51820"], "remove": True},
        ),
    ),
    "supervisor": Target(
        _supervisor,
        _as_json(
            {"slug": "a", "ip_address": "172.30.33.1", "ingress_port": 8099},
            {"version": "2026.11.0", "ip_address": "172.30.32.1", "port": 8123},
            {"addons": [{"slug": "a", "state": "started"}]},
            {"slug": "a", "name": "A", "webui": "http://[HOST]:[PORT:80]/"},
            {"interfaces": [{"ipv4": {"address": ["192.0.2.1/24"]}, "ipv6": None}]},
            {"host": "core-mosquitto", "port": 1883, "username": "a", "ssl": False},
        ),
    ),
    "mqtt": Target(_mqtt, (b"hearthgate/h0/service/lamp/set\0ON",)),
}
