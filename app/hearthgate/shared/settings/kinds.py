"""Kinds of values that settings take, each with the words for what it allows.

    Kind.read(whatever was given)  ──▶  the value, or ValueError

What is given is text from the environment or a flag, or whatever YAML made of it. Pure
functions; the settings loader says where a wrong value came from.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
import ipaddress
from pathlib import Path
import re
from typing import Generic, TypeVar

from hearthgate.wire.names import (
    HostnameInvalidError,
    normalise_host,
    normalise_hostname,
)

V = TypeVar("V")
E = TypeVar("E", bound=StrEnum)

_DURATION = re.compile(r"(?:(\d+(?:\.\d+)?)(ms|s|m|h|d))")
_DURATION_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_SIZE_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_PORT_MAX = 65535
_SECRET_MAX = 1024
_TRUE = frozenset({"true", "yes", "on", "1"})
_FALSE = frozenset({"false", "no", "off", "0"})


@dataclass(frozen=True, slots=True)
class Kind(Generic[V]):
    """How to read one kind of value, and how to say what is allowed."""

    read: Callable[[object], V]  # raises ValueError
    allowed: str  # ends the sentence "allowed is …"
    secret: bool = False  # the value must not be shown, not even a wrong one


class Secret(str):
    """Text whose repr hides it, so that it can't get into a log by accident."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret(…)"


@dataclass(frozen=True, slots=True)
class HostPort:
    """An address to listen at or to dial."""

    host: str  # lower case, IPv6 without brackets; empty: all addresses
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _text(value: object) -> str:
    """Return text; a number that YAML read is text for whoever wanted text."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError("not text")  # noqa: TRY004 (wrong input, not a wrong type)
    text = str(value).strip()
    if not text.isprintable():
        raise ValueError("control characters")
    return text


def read_bool(value: object) -> bool:
    """Read true/false, yes/no, on/off, 1/0 in any case."""
    if isinstance(value, bool):
        return value
    word = _text(value).lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise ValueError("neither true nor false")


def read_duration(value: object) -> float:
    """Read seconds: 90, "90s", "1h30m", "500ms". A bare number is seconds."""
    text = _text(value).lower().replace(" ", "")
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = _DURATION.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("not a duration")
    return sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts)


def read_size(value: object) -> int:
    """Read bytes: 65536, "64KiB" (1024), "64kB" (1000), "1.5G" (1000)."""
    match = _SIZE.fullmatch(_text(value))
    if match is None:
        raise ValueError("not a size")
    number, letter, binary = match.groups()
    if binary and not letter:
        raise ValueError("not a size")
    return int(
        float(number) * (1024 if binary else 1000) ** _SIZE_POWERS[letter.lower()]
    )


def read_host(value: object) -> str:
    """Read an IP address or a name; returns it lower case, IPv6 without brackets."""
    text = _text(value).lower()
    if text.startswith("[") and text.endswith("]"):
        return str(ipaddress.IPv6Address(text[1:-1]))
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return _named(normalise_host, text)


def _named(normalise: Callable[[str], str], text: str) -> str:
    try:
        return normalise(text)
    except HostnameInvalidError as err:
        raise ValueError(str(err.fields["reason"])) from err


def read_host_port(value: object, default_port: int | None = None) -> HostPort:
    """Read "host:port", "[::1]:443", ":443" and, with a default, a bare host."""
    text = _text(value)
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        if default_port is None:
            raise ValueError("no port")
        return HostPort(read_host(text), default_port)
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("IPv6 without brackets")
    if not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > _PORT_MAX:
        raise ValueError("not a port")
    return HostPort(read_host(host) if host else "", int(port))


def integer(low: int, high: int) -> Kind[int]:
    """Return the kind of whole numbers from low to high, both included."""

    def read(value: object) -> int:
        text = _text(value)
        if not re.fullmatch(r"-?[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError("not in range")
        return int(text)

    return Kind(read, f"a whole number from {low} to {high}")


def duration(low_s: float, high_s: float) -> Kind[float]:
    """Return the kind of durations in seconds between two bounds, both included."""

    def read(value: object) -> float:
        seconds = read_duration(value)
        if not low_s <= seconds <= high_s:
            raise ValueError("not in range")
        return seconds

    return Kind(read, f'a duration like "90s" from {low_s:g} to {high_s:g} seconds')


def size(low: int, high: int) -> Kind[int]:
    """Return the kind of sizes in bytes between two bounds, both included."""

    def read(value: object) -> int:
        number = read_size(value)
        if not low <= number <= high:
            raise ValueError("not in range")
        return number

    return Kind(read, f'a size like "64KiB" from {low} to {high} bytes')


def one_of(words: type[E]) -> Kind[E]:
    """Return the kind of the words of an enumeration, in any case."""
    return Kind(
        lambda value: words(_text(value).lower()),
        "one of " + ", ".join(str(word) for word in words),
    )


def list_of(kind: Kind[V]) -> Kind[tuple[V, ...]]:
    """Return the kind of lists: a YAML list, or text with commas."""

    def read(value: object) -> tuple[V, ...]:
        if isinstance(value, list | tuple):
            return tuple(kind.read(one) for one in value)
        parts = (part.strip() for part in _text(value).split(","))
        return tuple(kind.read(part) for part in parts if part)

    return Kind(read, f"a list, each {kind.allowed}", secret=kind.secret)


def host_port(default_port: int | None = None) -> Kind[HostPort]:
    """Return the kind of addresses; default_port allows to leave the port away."""
    return Kind(
        lambda value: read_host_port(value, default_port),
        'host:port like "192.0.2.1:443" or "[2001:db8::1]:443"',
    )


def text(max_length: int, pattern: str = ".+", allowed: str = "") -> Kind[str]:
    """Return the kind of texts on one line that match a pattern as a whole."""

    def read(value: object) -> str:
        found = _text(value)
        if len(found) > max_length or not re.fullmatch(pattern, found):
            raise ValueError("not allowed")
        return found

    return Kind(read, allowed or f"a text of at most {max_length} characters")


def _read_path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    found = _text(value)
    if not found:
        raise ValueError("empty")
    return Path(found).expanduser()


def _read_secret(value: object) -> Secret:
    found = _text(value)
    if not found or len(found) > _SECRET_MAX:
        raise ValueError("empty or too long")
    return Secret(found)


BOOL = Kind(read_bool, "true or false")
PORT = integer(1, _PORT_MAX)
PORT_OR_ANY = integer(0, _PORT_MAX)  # 0: the system picks a free one
HOST = Kind(read_host, "an IP address or a host name")
HOSTNAME = Kind(
    lambda value: _named(normalise_hostname, _text(value)),
    "a hostname like home.example.com",
)
PATH = Kind(_read_path, "a path")
SECRET = Kind(_read_secret, "a text of 1 to 1024 characters", secret=True)
EMAIL = text(254, r"[^@\s]{1,64}@[^@\s]+\.[^@\s]+", "an email address")
URL = text(2048, r"https?://[^/\s@]+(/\S*)?", "an address that starts with https://")
